"""A build's fit with a learned regressor: its settings, its models, and a clip from frames to motion."""

import pickle

import av
import numpy as np
import pytest
import scipy.sparse
import torch

from multitalk.assets.errors import AssetMissing
from multitalk.assets.fetch import require
from multitalk.extract.errors import Stage
from multitalk.fit_flame.fit import FitDiverged
from multitalk.fit_flame.heads.canonical import canonical_head_model
from multitalk.fit_flame.heads.flame_file import flame_head_model, read_flame
from multitalk.fit_flame.heads.head_model import HeadModelError, LandmarkEmbedding
from multitalk.fit_flame.parameters.decode import project_vertices
from multitalk.fit_flame.parameters.synthetic import landmarks_of, speaking
from multitalk.fit_flame.regressors.smirk import Smirk
from multitalk.flows.building import fitting
from multitalk.flows.building.fitting import FaceToFit, Fitter, regressor_version
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.building.stages import stage_fingerprints

FRAMES = 20


@pytest.fixture(scope="module")
def canonical():
    return canonical_head_model(require("face_landmarker"))


@pytest.fixture(scope="module")
def flame_file(canonical, tmp_path_factory):
    """A file in FLAME's format whose first vertices are the canonical face's; the others stay behind it."""

    def filled(array, shape):
        whole = np.zeros(shape)
        whole[tuple(map(slice, array.shape))] = array
        return whole

    weights = filled(canonical.skinning_weights, (5023, 5))
    weights[len(canonical.v_template) :, 0] = 1
    shapedirs = filled(canonical.shapedirs, (5023, 3, 400))
    shapedirs[: len(canonical.v_template), :, 300 : 300 + canonical.expression_size] = (
        canonical.expressiondirs
    )
    content = {
        "v_template": filled(canonical.v_template, (5023, 3)),
        "f": np.resize(canonical.faces, (9976, 3)).astype(np.uint32),
        "shapedirs": shapedirs,
        "posedirs": np.zeros((5023, 3, 36)),
        "J_regressor": scipy.sparse.csc_matrix(filled(canonical.joint_regressor, (5, 5023))),
        "weights": weights,
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], range(5)], np.uint32),
    }
    path = tmp_path_factory.mktemp("flame") / "generic_model.pkl"
    path.write_bytes(pickle.dumps(content, 2))
    return path


@pytest.fixture(scope="module")
def flame(flame_file, canonical):
    ids = np.arange(468)
    embedding = LandmarkEmbedding(
        ids,
        np.column_stack([ids] * 3),
        np.tile(np.float32([1, 0, 0]), (468, 1)),
        iris_vertices=np.arange(468, 478),
    )
    return flame_head_model(read_flame(flame_file), embedding, "flame_2020")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """SMIRK's file with random weights, but a camera that sees a face."""
    torch.manual_seed(0)
    network = Smirk()
    with torch.no_grad():
        network.pose_encoder.pose_cam_layers[0].bias[3] = 7
    path = tmp_path_factory.mktemp("smirk") / "SMIRK_em1.pt"
    torch.save({f"smirk_encoder.{name}": tensor for name, tensor in network.state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A moving pattern, 512 x 512: what a random network makes of it is all the same."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    rng = np.random.default_rng(0)
    pattern = np.kron(rng.integers(0, 255, (64, 64, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width = stream.height = 512
        stream.pix_fmt = "yuv420p"
        for i in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(np.roll(pattern, 4 * i, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def settings(**regressor):
    return BuildSettings(head_model="flame_2020", regressor=regressor)


def test_the_fit_from_a_regressors_start_ends_where_it_always_does(flame, weights, clip, monkeypatch):
    monkeypatch.setattr(fitting, "load_head_model", lambda name, layout: {"flame_2020": flame}[name])
    truth = speaking(flame, FRAMES)
    landmarks = landmarks_of(truth, flame)[:, :478]
    valid = np.arange(FRAMES) != 7
    landmarks[7] = np.nan
    [alone] = Fitter(BuildSettings(head_model="flame_2020")).fit([FaceToFit(clip, landmarks, valid)])
    fitter = Fitter(settings(name="smirk", weights=weights, batch=8, device="cpu"))
    fitter.check()
    [helped] = fitter.fit([FaceToFit(clip, landmarks, valid)])
    assert helped.landmark_error < 1.05 * alone.landmark_error
    points = [project_vertices(result.motion, flame)[valid, :468] for result in (alone, helped)]
    apart = np.linalg.norm(points[0] - points[1], axis=-1).mean()
    assert apart < 0.003 * alone.interocular_px


def test_the_regressor_alone(flame, weights, clip, monkeypatch):
    monkeypatch.setattr(fitting, "load_head_model", lambda name, layout: {"flame_2020": flame}[name])
    truth = speaking(flame, FRAMES)
    landmarks = landmarks_of(truth, flame)[:, :478]
    only = {"name": "smirk", "use": "only", "weights": weights}
    face = FaceToFit(clip, landmarks, truth.valid)
    [result] = Fitter(settings(**only, max_error=10)).fit([face])
    assert result.motion.head_model == flame.key
    assert result.motion.frame_count == FRAMES
    assert np.ptp(result.motion.shape) > 0
    np.testing.assert_allclose(result.motion.residual.mean(), result.landmark_error, rtol=1e-4)
    [diverged] = Fitter(settings(**only, max_error=0.01)).fit([face])
    assert isinstance(diverged, FitDiverged)
    assert "of the regressor" in str(diverged)


def test_missing_weights_are_told_with_page_and_licence(flame, monkeypatch, tmp_path):
    monkeypatch.setattr(fitting, "load_head_model", lambda name, layout: flame)
    monkeypatch.setenv("MULTITALK_ASSETS", str(tmp_path))
    monkeypatch.setenv("MULTITALK_CACHE", str(tmp_path / "cache"))
    for name, file, licence in (
        ("deca", "deca_model.tar", "non-commercial"),
        ("smirk", "SMIRK_em1.pt", "MIT"),
        ("spectre", "spectre_model.tar", "CC BY-NC-SA"),
    ):
        with pytest.raises(AssetMissing, match=rf"https://drive\.google\.com.*{licence}.*{file}"):
            Fitter(settings(name=name)).check()


def test_other_head_models_are_told_of_before_the_run(weights):
    chosen = {"name": "smirk", "weights": weights}
    with pytest.raises(HeadModelError, match="flame_2020"):
        Fitter(BuildSettings(head_model="canonical", regressor=chosen)).check()


def test_only_what_changes_rows_changes_the_fingerprint(weights):
    plain = BuildSettings()
    assert "regressor" not in plain.model_dump(exclude_none=True)

    def fit(**changes):
        chosen = {"name": "deca", "weights": weights, **changes}
        return stage_fingerprints(BuildSettings(regressor=chosen))[Stage.FIT]

    assert fit() != stage_fingerprints(plain)[Stage.FIT]
    assert fit(batch=2, device="cpu") == fit()
    assert fit(use="only") != fit()
    other = weights.with_name("other.pt")
    other.write_bytes(weights.read_bytes() + b" ")
    assert fit(weights=other) != fit()


def test_rows_name_the_checkpoint(weights):
    version = regressor_version(settings(name="smirk", weights=weights).regressor)
    assert version.startswith("smirk:")
    assert len(version) == len("smirk:") + 16

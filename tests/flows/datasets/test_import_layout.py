"""import --layout multitalk: what export wrote comes back as the same motion, sound and splits."""

import json
import pickle
import shutil
import wave

import numpy as np
import pyarrow.parquet as pq
import pytest

from multitalk.fit_flame.heads.flame_file import flame_head_model, read_flame
from multitalk.fit_flame.heads.head_model import LandmarkEmbedding
from multitalk.fit_flame.parameters.encode import VertexEncoder
from multitalk.flows.commands.main import main
from multitalk.flows.datasets import import_layout
from multitalk.flows.modelling import stored_heads as heads
from multitalk.manifests import open_dataset, paths
from multitalk.manifests.releases.verify import verify
from multitalk.manifests.store import commit_fragment

FRAMES = 10
VIDEOS = [("german", f"de{i}") for i in range(4)] + [("thai", f"th-{i}") for i in range(3)]
CORNERS = LandmarkEmbedding(
    np.array([33, 263]), np.array([[0, 0, 0], [1, 1, 1]]), np.array([[1, 0, 0], [1, 0, 0]], np.float32)
)


@pytest.fixture(scope="module")
def flame_file(tmp_path_factory):
    """A file in FLAME's format: an ellipsoid with smooth directions, and joints about where a head has them."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(5023, 3))
    points *= np.array([0.08, 0.12, 0.1]) / np.linalg.norm(points, axis=1, keepdims=True)
    joints = np.array(
        [[0, -0.12, 0], [0, -0.08, 0], [0, -0.02, 0.02], [0.03, 0.03, 0.07], [-0.03, 0.03, 0.07]]
    )
    near = np.exp(-((points[:, None] - joints) ** 2).sum(-1) / (2 * 0.03**2)) + 1e-9
    centres = points[rng.integers(0, 5023, 436)]
    bumps = np.exp(-((points[:, None] - centres) ** 2).sum(-1) / (2 * 0.03**2))
    directions = 0.002 * bumps[:, None] * rng.normal(size=(3, 436))
    content = {
        "v_template": points,
        "f": rng.integers(0, 5023, (9976, 3)),
        "shapedirs": directions[..., :400],
        "posedirs": directions[..., 400:],
        "J_regressor": near.T / near.T.sum(1, keepdims=True),
        "weights": near / near.sum(1, keepdims=True),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], range(5)]),
    }
    place = tmp_path_factory.mktemp("flame") / "generic_model.pkl"
    place.write_bytes(pickle.dumps(content))
    return place


@pytest.fixture(scope="module")
def model(flame_file):
    return flame_head_model(read_flame(flame_file), CORNERS, "flame_2020")


@pytest.fixture(autouse=True)
def the_model_is_here(model, monkeypatch):
    for module in (heads, import_layout):
        monkeypatch.setattr(module, "load_head_model", lambda name: model)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """A dataset of two languages on that model, and its export."""
    root, out = tmp_path_factory.mktemp("first") / "root", tmp_path_factory.mktemp("out") / "layout"
    rng = np.random.default_rng(1)
    for language, video_id in VIDEOS:
        clip_id = f"{video_id}_0"
        sound = paths.audio_path(root, language, clip_id)
        sound.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(sound), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(rng.integers(-999, 999, 640 * FRAMES).astype("<i2").tobytes())
        motion = {
            "clip_id": clip_id,
            "head_model": model.key,
            "fps": 25.0,
            "shape": rng.normal(size=100).astype(np.float32),
            "expression": rng.normal(size=(FRAMES, 50)).astype(np.float32),
            "jaw": rng.normal([0.15, 0, 0], 0.05, (FRAMES, 3)).astype(np.float32),
            "eyes": rng.normal(0, 0.1, (FRAMES, 6)).astype(np.float32),
            "rotation": rng.normal(0, 0.2, (FRAMES, 3)).astype(np.float32),
            "translation": rng.normal([0, 0, -0.6], 0.02, (FRAMES, 3)).astype(np.float32),
            "camera": np.array([900, 256, 256], np.float32),
            "valid": np.ones(FRAMES, bool),
            "residual": np.zeros(FRAMES, np.float32),
        }
        row = {
            "clip_id": clip_id,
            "status": "ok",
            "frame_count": FRAMES,
            "duration_sec": FRAMES / 25,
            "audio_path": sound.relative_to(root).as_posix(),
            "head_model": model.key,
            "fit_landmark_error": 0.01,
        }
        commit_fragment(root, language, video_id, [row], motion_rows=[motion], fingerprint="f")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heads, "load_head_model", lambda name: model)
        assert main(["filter", "--root", str(root), "--policy", "imported"]) == 0
        assert main(["release", "--root", str(root), "--name", "v1"]) == 0
        options = ["--release", "v1", "--layout", "multitalk", "--out", str(out)]
        assert main(["export", "--root", str(root), *options]) == 0
    return root, out


def run(source, root, *more):
    return main(["import", str(source), "--layout", "multitalk", "--root", str(root), *more])


def test_what_went_out_comes_in_the_same(exported, tmp_path, capsys):
    first, out = exported
    root = tmp_path / "root"
    assert run(out, root, "--release", "v1", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["result"]["clips"] == len(VIDEOS)
    assert summary["worst_error_mm"] < 1e-3
    assert verify(root) == []
    before, after = open_dataset(first), open_dataset(root)
    for language, video_id in VIDEOS:
        clip_id = f"{video_id}_0"
        old, new = before.motion(clip_id), after.motion(clip_id)
        for name, tolerance in (("expression", 2e-4), ("jaw", 1e-6), ("eyes", 1e-6)):
            np.testing.assert_allclose(new[name], old[name], atol=tolerance)
        assert not new["shape"].any()
        sounds = [paths.audio_path(place, language, clip_id).read_bytes() for place in (first, root)]
        assert sounds[0] == sounds[1]
    splits = [
        {row["clip_id"]: (row["language"], row["split"]) for row in pq.read_table(file).to_pylist()}
        for file in (place / "releases/v1/manifest.parquet" for place in (first, root))
    ]
    assert splits[0] == splits[1]
    assert {split for _, split in splits[0].values()} == {"train", "val", "test"}
    assert after.clips().transcript.isna().all()
    assert run(out, root) == 0
    assert f"0 clips taken in, 0 failed, {len(VIDEOS)} done before" in capsys.readouterr().out


def test_a_heads_pose_is_found_where_it_was_left_in(model):
    from multitalk.fit_flame.parameters.decode import decode

    rng = np.random.default_rng(2)
    motion = VertexEncoder(model)(np.repeat(model.v_template[None], 6, 0)).motion
    motion.expression[:] = rng.normal(size=motion.expression.shape)
    motion.rotation[:] = rng.normal(0, 0.4, (6, 3))
    motion.translation[:, :2] = rng.normal(0, 0.1, (6, 2))
    found = VertexEncoder(model)(
        decode(motion, model) + np.array([0, 0, 1], np.float32), head_pose=True
    )  # the virtual camera's distance
    assert found.error_mm.max() < 1e-3
    for name in ("rotation", "translation", "jaw"):
        np.testing.assert_allclose(getattr(found.motion, name), getattr(motion, name), atol=1e-5)
    np.testing.assert_allclose(found.motion.expression, motion.expression, atol=5e-4)


def test_clips_that_the_model_can_not_show_are_fit_diverged(exported, tmp_path, capsys):
    source = shutil.copytree(exported[1], tmp_path / "source")
    place = source / "npy/German_de0_0.npz"
    with np.load(place) as file:
        vertices = file["verts"]
    np.savez(place, verts=vertices + np.random.default_rng(0).normal(0, 0.004, vertices.shape))
    assert run(source, tmp_path / "root") == 0
    assert "fit_diverged: 1 clips" in capsys.readouterr().out
    clips = open_dataset(tmp_path / "root").clips().set_index("clip_id")
    assert clips.error_code["de0_0"] == "fit_diverged"
    assert "mm from what flame_2020 can show (limit 1 mm)" in clips.error_message["de0_0"]
    assert clips.accepted.sum() == len(VIDEOS) - 1


def test_another_releases_template_and_hostile_pickles_are_refused(exported, tmp_path, capsys):
    source = shutil.copytree(exported[1], tmp_path / "source")
    template = pickle.loads((source / "templates.pkl").read_bytes())["id"]
    for content, message in (
        ({"id": template + 0.001}, "not the mean face of flame_2020"),
        ({"id": template[:100]}, "no template 'id'"),
        ([template], "no template 'id'"),
        ({"id": shutil.rmtree}, "was refused"),
    ):
        (source / "templates.pkl").write_bytes(pickle.dumps(content))
        assert run(source, tmp_path / "root") == 2
        assert message in capsys.readouterr().err
    (source / "train.txt").unlink()
    assert run(source, tmp_path / "root", "--release", "v1") == 2
    assert run(source, tmp_path / "root", "--device", "abacus") == 2
    assert "--device abacus can not be used here" in capsys.readouterr().err
    assert not (tmp_path / "root").exists()


def test_without_a_flame_file_the_message_says_where_to_get_it(exported, tmp_path, capsys, monkeypatch):
    from multitalk.flows.modelling.head_models import load_head_model

    for name in ("MULTITALK_CACHE", "MULTITALK_ASSETS"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(import_layout, "load_head_model", load_head_model)
    assert run(exported[1], tmp_path / "root") == 1
    message = capsys.readouterr().err
    assert "flame_2020 is needed" in message
    assert "https://flame.is.tue.mpg.de" in message

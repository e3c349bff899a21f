"""Training's `val/lve` and evaluation's `lve_squared` are one number: both measure the same lips of a head model."""

import numpy as np
import pytest
import torch

from multitalk.assets.errors import AssetError
from multitalk.assets.fetch import require
from multitalk.eval.ground_truth import FolderTruth
from multitalk.eval.motion.evaluate_motion import evaluate_motion
from multitalk.eval.motion.regions import RegionError, regions_for
from multitalk.eval.settings import MotionEvaluationSettings
from multitalk.fit_flame.heads.canonical import canonical_head_model
from multitalk.fit_flame.heads.head_model import HeadModel, LandmarkEmbedding
from multitalk.fit_flame.landmarks.lips import FLAME_VERTICES, lip_vertices
from multitalk.ground.landmark_layout import LIPS, MESH_COUNT
from multitalk.training.model.face_decoder import FaceDecoder

FRAMES = 12


def made_up_head(vertices: int) -> HeadModel:
    """Noise with a jaw, and MediaPipe's mesh embedded in its first triangles."""
    random = np.random.default_rng(5)

    def normal(*shape: int) -> np.ndarray:
        return random.normal(0, 0.01, shape).astype(np.float32)

    weights = np.zeros((vertices, 5), np.float32)
    weights[:, 2] = 1
    corners = np.stack([random.permutation(vertices)[:3] for _ in range(MESH_COUNT)])
    embedding = LandmarkEmbedding(
        np.arange(MESH_COUNT), corners, random.dirichlet(np.ones(3), MESH_COUNT).astype(np.float32)
    )
    return HeadModel(
        name="made_up",
        hash="0123456789abcdef",
        v_template=normal(vertices, 3) * 10,
        faces=np.zeros((1, 3), np.int64),
        shapedirs=normal(vertices, 3, 2),
        expressiondirs=normal(vertices, 3, 3),
        posedirs=normal(vertices, 3, 36),
        joint_regressor=np.full((5, vertices), 1 / vertices, np.float32),
        skinning_weights=weights,
        embedding=embedding,
    )


def canonical() -> HeadModel:
    try:
        return canonical_head_model(require("face_landmarker"))
    except AssetError as error:
        pytest.skip(str(error))


HEADS = {
    "flame": lambda: made_up_head(FLAME_VERTICES),
    "canonical": canonical,
    "other": lambda: made_up_head(700),
}


@torch.no_grad()
@pytest.mark.parametrize("kind", HEADS)
def test_training_and_evaluation_report_the_same_lip_vertex_error(kind, tmp_path):
    head = HEADS[kind]()
    face, random = FaceDecoder(head), np.random.default_rng(1)
    for folder in ("truth", "model"):
        (tmp_path / folder).mkdir()
    errors = []
    for clip in "abc":
        size = (1, FRAMES, face.motion_values)
        true, predicted = (
            face(torch.from_numpy(random.normal(0, 0.3, size).astype(np.float32))) for _ in range(2)
        )
        errors.append(face.lip_error(predicted, true).item())  # as the validation step does
        for folder, offsets in (("truth", true), ("model", predicted)):
            vertices = head.v_template + offsets.view(FRAMES, -1, 3).numpy()
            np.save(tmp_path / folder / f"{clip}.npy", vertices)

    class Truth(FolderTruth):
        head_model = head

    settings = MotionEvaluationSettings(bootstrap_draws=100, metrics=("lve_squared",))
    result = evaluate_motion(Truth(tmp_path / "truth"), {"model": tmp_path / "model"}, settings)
    figures = {(figure.pooling, figure.group): figure.value for figure in result.figures["model"]}
    assert figures["clip", "all"] == pytest.approx(np.mean(errors), rel=1e-5)
    assert result.regions.lips.vertices.tolist() == lip_vertices(head).tolist()


def test_lips_of_the_canonical_head_are_its_lip_landmarks():
    assert lip_vertices(canonical()).tolist() == sorted(set(LIPS))


def test_a_head_model_without_lip_landmarks_has_no_regions():
    head = made_up_head(700)
    head.embedding.landmarks[:] = 1
    with pytest.raises(RegionError, match="no vertices"):
        regions_for(700, head_model=head)

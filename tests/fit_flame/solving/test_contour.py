"""The outline's landmarks go with the head's yaw."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from multitalk.fit_flame.fit import FitSettings, fit_clip
from multitalk.fit_flame.landmarks.embedding import (
    CONTOUR_LANDMARKS,
    contour_row,
    read_contour_embedding,
    read_mediapipe_embedding,
)
from multitalk.fit_flame.parameters.synthetic import landmarks_of, speaking
from multitalk.fit_flame.parity import golden_flame
from multitalk.fit_flame.solving.batch import prepare
from multitalk.fit_flame.solving.contour import at_yaw, narrowed
from multitalk.fit_flame.solving.initial import first_guess
from multitalk.fit_flame.solving.landmark_basis import landmark_basis

FRAMES = 25
YAWS = (-30, 0, 30)
OUTLINE = np.array(CONTOUR_LANDMARKS)
VERTICES = {yaw: np.roll(OUTLINE, yaw // 30) for yaw in YAWS}  # it slides along the outline as the head turns


@pytest.fixture(scope="module")
def sliding(head):
    """The canonical model whose outline slides."""
    staying = np.setdiff1d(np.arange(468), OUTLINE)
    vertices = np.concatenate([staying, *VERTICES.values()])
    embedding = replace(
        head.embedding,
        landmarks=np.concatenate([staying, np.tile(OUTLINE, 3)]),
        vertices=np.repeat(vertices[:, None], 3, axis=1),
        barycentric=np.tile(np.array([1, 0, 0], np.float32), (len(vertices), 1)),
        yaw=np.append(np.full(len(staying), np.nan), np.repeat(np.radians(YAWS), 17)).astype(np.float32),
    )
    return replace(head, embedding=embedding)


@pytest.fixture(scope="module")
def turning(head):
    return speaking(head, FRAMES, turn_deg=35)


@pytest.fixture(scope="module")
def detected(head, turning):
    points = landmarks_of(turning, head)
    seen = points.copy()
    for t in range(FRAMES):
        seen[t, OUTLINE] = points[t, VERTICES[_step(turning.rotation[t])]]
    return seen


def _step(rotation):
    x = Rotation.from_rotvec(rotation).as_matrix()
    yaw = np.degrees(np.arctan2(-x[2, 0], np.hypot(x[0, 0], x[1, 0])))
    return min(YAWS, key=lambda step: abs(step - yaw))


def test_a_turning_outline_is_followed(head, sliding, turning, detected):
    assert {_step(r) for r in turning.rotation} == {0, 30}
    still = replace(head.embedding, yaw=None)
    followed = fit_clip(detected, turning.valid, sliding)
    ignored = fit_clip(detected, turning.valid, replace(head, embedding=still))
    assert followed.landmark_error < 0.003
    assert followed.landmark_error < 0.7 * ignored.landmark_error


def test_only_the_nearest_yaw_counts_and_the_others_are_left_out(sliding, turning, detected):
    basis = landmark_basis(sliding, torch.device("cpu"))
    batch = prepare(basis, FitSettings(), [detected], [turning.valid], None, 512)
    turns = torch.as_tensor(Rotation.from_euler("y", [[-50], [-10], [20]], degrees=True).as_matrix())[
        None
    ].float()
    confidence = at_yaw(basis, batch.seen._replace(confidence=batch.seen.confidence[:, :3]), turns).confidence
    for t, yaw in enumerate((-30, 0, 30)):
        counted = basis.yaw[confidence[0, t].numpy() > 0]
        assert np.unique(counted[~np.isnan(counted)]).tolist() == pytest.approx([np.radians(yaw)])
        assert len(counted) == 468

    guess = first_guess(basis, at_yaw(basis, batch.seen, None), batch.valid)
    less, fewer = narrowed(basis, batch.seen, guess.rotation, batch.valid)
    assert len(less.landmarks) == 468 + 17
    assert less.yaw[~np.isnan(less.yaw)].min() == 0
    names = [basis.landmarks[batch.seen.pairs].tolist(), less.landmarks[fewer.pairs].tolist()]
    assert names[0] == names[1]
    depths = [basis.landmarks[batch.seen.depth_rows].tolist(), less.landmarks[fewer.depth_rows].tolist()]
    assert depths[0] == depths[1]


def test_the_published_contour_is_read_for_every_yaw(shared):
    folder = shared / "flame"
    faces = golden_flame(folder).faces
    contour = read_contour_embedding(folder / "landmark_embedding.npy", faces)
    read = read_mediapipe_embedding(folder / "mediapipe_landmark_embedding.npz", faces, contour)
    steps = np.unique(read.yaw[105:])
    assert len(read.landmarks) == 105 + 17 * len(steps)
    rows = contour_row(Rotation.from_euler("y", steps[:, None]).as_matrix())
    for step, row in zip(steps, rows, strict=True):
        np.testing.assert_array_equal(read.vertices[read.yaw == step], faces[contour.contour_faces[row]])

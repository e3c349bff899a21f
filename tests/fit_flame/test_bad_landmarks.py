"""Clips that nothing can be fitted to, alone and beside others; and landmarks that are partly unknown."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from multitalk.fit_flame.clip_fit import fit_batch
from multitalk.fit_flame.fit import FitDiverged, FitSettings, fit_clip
from multitalk.fit_flame.parameters.synthetic import landmarks_of, speaking
from multitalk.fit_flame.solving.gaze import _nearest
from multitalk.fit_flame.solving.initial import _nearest_valid

FRAMES = 12
VALID = np.ones(FRAMES, bool)


@pytest.fixture(scope="module")
def truth(head):
    return speaking(head, FRAMES)


@pytest.fixture(scope="module")
def points(head, truth):
    return landmarks_of(truth, head)


@pytest.fixture(scope="module")
def result(head, points):
    return fit_clip(points, VALID, head)


def _same(found, wanted):
    for name in ("expression", "jaw", "rotation", "translation", "eyes", "residual", "shape"):
        np.testing.assert_allclose(getattr(found.motion, name), getattr(wanted.motion, name), atol=0, rtol=0)


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, 1e25], ids=["nan", "infinite", "one point", "huge"])
def test_a_clip_without_a_face_diverges_and_spoils_no_other(head, points, result, bad):
    good, wrong = fit_batch([points, points * np.float32(bad)], [VALID, VALID], head, FitSettings())
    assert isinstance(wrong, FitDiverged)
    assert str(wrong) == "no frame of the clip has usable landmarks"
    _same(good, result)


def test_nonsense_beside_a_clip_hardly_moves_it(head, points, result):
    """The scale that says when a face rests is each clip's own."""
    nonsense = np.random.default_rng(0).uniform(0, 1e4, points.shape).astype(np.float32)
    good, wrong, other = fit_batch([points, nonsense, nonsense], [VALID] * 3, head, FitSettings())
    assert isinstance(wrong, FitDiverged)
    assert isinstance(other, FitDiverged)
    np.testing.assert_allclose(good.motion.expression, result.motion.expression, atol=3e-2)
    np.testing.assert_allclose(good.motion.jaw, result.motion.jaw, atol=1e-3)


def test_a_single_frame_beside_a_longer_clip(head, points):
    longer, single = fit_batch([points, points[:1]], [VALID, VALID[:1]], head, FitSettings())
    assert longer.motion.frame_count == FRAMES
    assert single.motion.frame_count == 1
    assert single.jitter == 0
    assert single.landmark_error < 0.002


def test_confidence_that_is_not_known_counts_as_none(head, points):
    landmarks, valid = points.copy(), VALID.copy()
    landmarks[5], valid[5] = np.nan, False
    confidence = np.ones((FRAMES, 478), np.float32)
    wanted = fit_clip(landmarks, valid, head, confidence=confidence)
    confidence[5] = np.nan
    _same(fit_clip(landmarks, valid, head, confidence=confidence), wanted)
    confidence[7, 10] = 0
    wanted = fit_clip(landmarks, valid, head, confidence=confidence)
    confidence[7, 10] = np.nan
    _same(fit_clip(landmarks, valid, head, confidence=confidence), wanted)


def test_landmarks_that_nobody_trusts_are_none(head, points):
    confidence = np.zeros((FRAMES, 478), np.float32)
    with pytest.raises(FitDiverged, match="no frame"):
        fit_clip(points, VALID, head, confidence=confidence)
    confidence[1:] = 1
    found = fit_clip(points, VALID, head, confidence=confidence)
    assert found.motion.valid.tolist() == [False] + [True] * (FRAMES - 1)


def test_a_face_without_irises_is_fitted(head, points, result):
    blind = points.copy()
    blind[:, 468:] = np.nan
    found = fit_clip(blind, VALID, head)
    np.testing.assert_array_equal(found.motion.expression, result.motion.expression)
    assert found.motion.valid.all()
    assert not found.motion.eyes.any()


def test_an_eye_without_iris_looks_as_in_the_nearest_frame(head, points, result):
    winking = points.copy()
    winking[4, 473:] = np.nan
    found = fit_clip(winking, VALID, head).motion.eyes
    np.testing.assert_array_equal(found[4, :3], found[3, :3])
    np.testing.assert_array_equal(np.delete(found, 4, axis=0), np.delete(result.motion.eyes, 4, axis=0))
    np.testing.assert_array_equal(found[4, 3:], result.motion.eyes[4, 3:])


def test_the_mean_face_is_kept(head, points):
    landmarks = [points, points[:5]]
    for found in fit_batch(landmarks, [VALID, VALID[:5]], head, FitSettings(shape=False)):
        assert found.motion.shape.shape == (head.shape_size,)
        assert not found.motion.shape.any()
        assert found.landmark_error < 0.05


def test_the_error_of_a_mean_face_is_that_of_the_decoded_mesh(head, points):
    from multitalk.fit_flame.parameters.decode import project_vertices

    found = fit_clip(points, VALID, head, FitSettings(shape=False))
    drawn = project_vertices(found.motion, head)[:, :468]
    per_frame = np.linalg.norm(drawn - points[:, :468, :2], axis=-1).mean(axis=1) / found.interocular_px
    np.testing.assert_allclose(found.motion.residual, per_frame, atol=2e-5)


@pytest.mark.parametrize("limits", [(60, 20), (0, 60), (20, 180), (-5, 20), (float("nan"), 20)])
def test_a_field_of_view_is_a_range_of_angles(limits):
    with pytest.raises(ValidationError, match="between 0 and 180 degrees"):
        FitSettings(field_of_view_deg=limits)


def test_the_nearest_frame_is_the_earlier_of_two():
    rng = np.random.default_rng(0)
    for count in (1, 2, 3, 50):
        valid = rng.random((40, count)) < rng.random((40, 1))
        valid[np.arange(40), rng.integers(0, count, 40)] = True
        found = _nearest_valid(torch.from_numpy(valid))
        for row, nearest in zip(valid, found.numpy(), strict=True):
            seen, frames = np.flatnonzero(row), np.arange(count)
            wanted = seen[np.abs(frames[:, None] - seen).argmin(axis=1)]
            np.testing.assert_array_equal(nearest, wanted)
            np.testing.assert_array_equal(_nearest(seen, count), wanted)


def test_the_nearest_frame_of_hours_needs_little_memory():
    count = 1_000_000  # 11 hours; a table of every frame by every other would take 8 TB
    nearest = _nearest_valid(torch.ones(1, count, dtype=torch.bool))
    assert torch.equal(nearest[0], torch.arange(count))
    np.testing.assert_array_equal(_nearest(np.arange(count), count), np.arange(count))

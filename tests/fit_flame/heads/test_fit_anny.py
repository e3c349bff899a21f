"""The fit of ARKit's weights, on heads whose weights are known."""

from dataclasses import replace

import numpy as np
import pytest

from multitalk.fit_flame.fit import FitResult, FitSettings, fit_clip
from multitalk.fit_flame.heads.arkit import GAZE
from multitalk.fit_flame.parameters.decode import decode, project
from multitalk.fit_flame.parameters.motion import Motion, MotionError
from multitalk.fit_flame.refining.gaze_weights import gaze_weights, with_open_eyes
from multitalk.ground.arkit_names import ARKIT
from multitalk.ground.landmark_layout import LANDMARK_COUNT
from multitalk.manifests.tables import motion_table, row_arrays

FRAMES = 40


def _course(name: str, frames: int = FRAMES) -> np.ndarray:
    course = np.zeros((frames, 52), np.float32)
    course[8:28, ARKIT.index(name)] = 0.6 * np.sin(np.linspace(0, np.pi, 20))
    return course


def _spoken(anny) -> np.ndarray:
    """(T, 52) a jaw that opens and shuts, a smile, a blink, a pucker."""
    weights = np.zeros((FRAMES, 52), np.float32)
    weights[:, ARKIT.index("jawOpen")] = 0.25 * (1 - np.cos(np.linspace(0, 4 * np.pi, FRAMES)))
    for name in ("mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "eyeBlinkRight"):
        weights += _course(name)
    weights[:, ARKIT.index("mouthPucker")] = np.roll(
        _course("mouthPucker")[:, ARKIT.index("mouthPucker")], 12
    )
    return weights


@pytest.fixture(scope="module")
def spoken(anny):
    """A motion and its 478 landmarks."""
    rng = np.random.default_rng(2)
    shape = np.zeros(anny.shape_size, np.float32)
    shape[:30] = 0.4 * rng.normal(size=30)
    rotation = np.zeros((FRAMES, 3), np.float32)
    rotation[:, 1] = 0.2 * np.sin(np.linspace(0, 3, FRAMES))
    motion = Motion(
        head_model=anny.key,
        fps=25.0,
        shape=shape,
        expression=_spoken(anny),
        jaw=np.zeros((FRAMES, 3), np.float32),
        eyes=np.zeros((FRAMES, 6), np.float32),
        rotation=rotation,
        translation=np.tile(np.array([0, 0, -0.8], np.float32), (FRAMES, 1)),
        camera=np.array([1000, 256, 256], np.float32),
        valid=np.ones(FRAMES, bool),
        residual=np.zeros(FRAMES, np.float32),
        correction=np.zeros((FRAMES, anny.correction_size), np.float32),
    )
    vertices = decode(motion, anny)
    corners = vertices[:, anny.embedding.vertices] * anny.embedding.barycentric[..., None]
    landmarks = np.zeros((FRAMES, LANDMARK_COUNT, 3), np.float32)
    landmarks[:, :468, :2] = project(corners.sum(axis=2), motion.camera)
    landmarks[:, 468:, :2] = project(vertices[:, anny.embedding.iris_vertices], motion.camera)
    landmarks[:, :468, 2] = -1000 * corners.sum(axis=2)[..., 2] / 0.8
    return motion, landmarks


@pytest.fixture(scope="module")
def fitted(spoken, anny) -> FitResult:
    _, landmarks = spoken
    return fit_clip(landmarks, np.ones(FRAMES, bool), anny, FitSettings())


def test_weights_are_weights(fitted):
    weights = fitted.motion.expression
    assert weights.shape == (FRAMES, 52)
    assert weights.min() >= 0
    assert weights.max() <= 1
    assert not weights[:, ARKIT.index("tongueOut")].any()
    assert not fitted.motion.jaw.any()
    closing, opening = (weights[:, ARKIT.index(name)] for name in ("mouthClose", "jawOpen"))
    assert (closing <= opening + 1e-6).all()


def test_it_fits_its_own_heads(fitted):
    assert fitted.landmark_error < 0.004
    assert fitted.landmark_error_lips < 0.004


@pytest.mark.parametrize("name", ["jawOpen", "mouthSmileLeft", "eyeBlinkLeft", "mouthPucker"])
def test_it_finds_what_was_done(name, spoken, fitted):
    true, found = (m.expression[:, ARKIT.index(name)] for m in (spoken[0], fitted.motion))
    assert np.corrcoef(true, found)[0, 1] > 0.9


def test_frames_without_landmarks_are_filled(spoken, anny):
    _, landmarks = spoken
    valid = np.ones(FRAMES, bool)
    valid[15:20] = False
    gone = landmarks.copy()
    gone[15:20] = np.nan
    motion = fit_clip(gone, valid, anny, FitSettings()).motion
    assert np.isfinite(motion.expression).all()
    assert motion.expression.min() >= 0
    assert motion.expression.max() <= 1
    assert np.isfinite(motion.correction).all()


def test_the_mean_face_can_be_kept(spoken, anny):
    motion = fit_clip(spoken[1], np.ones(FRAMES, bool), anny, FitSettings(shape=False)).motion
    assert not motion.shape.any()
    assert motion.expression.max() <= 1


def test_the_correction_is_stored_apart(spoken, anny):
    motion, _ = spoken
    shifted = replace(motion, correction=motion.correction + 1)
    assert np.abs(decode(shifted, anny) - decode(motion, anny)).max() > 1e-4
    with pytest.raises(MotionError, match="correction"):
        replace(motion, correction=np.zeros((3, 2), np.float32))
    rows = [
        {"clip_id": name, **m.to_arrays()}
        for name, m in (("a", motion), ("b", replace(motion, correction=None)))
    ]
    table = motion_table(rows)
    np.testing.assert_array_equal(row_arrays(table, 0)["correction"], motion.correction)
    assert row_arrays(table, 1)["correction"] is None


def test_eyes_that_look_down_have_the_weight(anny):
    eyes = np.zeros((2, 6), np.float32)
    eyes[0, [0, 3]] = 0.1  # both down
    eyes[1, [1, 4]] = 0.1  # both to the person's left
    down, left = gaze_weights(anny.rules, eyes)
    assert {GAZE[k] for k in np.flatnonzero(down)} == {"eyeLookDownLeft", "eyeLookDownRight"}
    assert {GAZE[k] for k in np.flatnonzero(left)} == {"eyeLookOutLeft", "eyeLookInRight"}


def test_a_blink_is_no_gaze(spoken):
    _, landmarks = spoken
    seen = with_open_eyes(landmarks)
    assert np.isnan(seen[18, 468:]).all()
    assert np.isfinite(seen[0]).all()
    assert np.isfinite(landmarks).all()

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from multitalk.fit_flame.clip_fit import fit_batch
from multitalk.fit_flame.fit import FitDiverged, FitSettings, fit_clip
from multitalk.fit_flame.parameters.decode import decode, project_vertices
from multitalk.fit_flame.parameters.motion import MotionError
from multitalk.fit_flame.parameters.synthetic import landmarks_of, speaking

VALID = np.ones(40, bool)


@pytest.fixture(scope="module")
def truth(head):
    return speaking(head)


@pytest.fixture(scope="module")
def result(head, truth):
    return fit_clip(landmarks_of(truth, head), truth.valid, head)


def test_finds_the_landmarks_of_a_known_motion(head, truth, result):
    assert result.landmark_error < 0.002
    assert result.landmark_error_lips < 0.002
    wanted, found = project_vertices(truth, head), project_vertices(result.motion, head)
    assert np.linalg.norm(wanted - found, axis=-1)[:, :468].mean() < 0.002 * result.interocular_px


def test_error_is_that_of_the_decoded_mesh(head, truth, result):
    """The fit's own bookkeeping agrees with decoding its motion through the forward model and the camera."""
    detected = landmarks_of(truth, head)[:, :468]
    drawn = project_vertices(result.motion, head)[:, :468]
    per_frame = np.linalg.norm(drawn - detected, axis=-1).mean(axis=1) / result.interocular_px
    np.testing.assert_allclose(result.motion.residual, per_frame, atol=2e-5)


def test_head_and_jaw_turn_as_they_did(truth, result):
    turned = result.motion.rotation - truth.rotation
    assert np.abs(turned - turned.mean(axis=0)).max() < np.radians(2)
    opening = np.corrcoef(result.motion.jaw[:, 0], truth.jaw[:, 0])[0, 1]
    assert opening > 0.95


def test_same_input_same_bytes(head, truth, result):
    again = fit_clip(landmarks_of(truth, head), truth.valid, head)
    for name, array in result.motion.to_arrays().items():
        np.testing.assert_array_equal(array, getattr(again.motion, name))


def test_noise_is_averaged_out(head, truth):
    found = fit_clip(landmarks_of(truth, head, noise_px=1.5), truth.valid, head).motion
    error = np.linalg.norm(project_vertices(found, head) - project_vertices(truth, head), axis=-1)[:, :468]
    assert np.sqrt((error**2).mean()) < 0.5 * 1.5 * np.sqrt(2)


def test_gaps_stay_gaps(head, truth):
    landmarks, valid = landmarks_of(truth, head), truth.valid.copy()
    valid[[0, 17, 18, 19, 39]] = False
    landmarks[~valid] = np.nan
    found = fit_clip(landmarks, valid, head)
    np.testing.assert_array_equal(found.motion.valid, valid)
    assert np.isnan(found.motion.residual[~valid]).all()
    assert all(
        np.isfinite(a).all()
        for a in (found.motion.rotation, found.motion.expression, found.motion.translation)
    )
    assert found.landmark_error < 0.003


def test_static_face_is_quiet_and_a_moving_mouth_keeps_its_amplitude(head, truth):
    still = replace(
        truth,
        **{
            name: np.repeat(getattr(truth, name)[:1], 40, axis=0)
            for name in ("expression", "jaw", "rotation", "translation")
        },
    )
    noisy = landmarks_of(still, head, noise_px=0.3)
    alone = fit_clip(noisy, VALID, head, FitSettings(chain_iterations=0)).jitter
    together = fit_clip(noisy, VALID, head).jitter
    assert together < alone / 3

    moving = landmarks_of(truth, head, noise_px=0.3)
    found = project_vertices(fit_clip(moving, VALID, head).motion, head)
    true = landmarks_of(truth, head)

    def amplitude(points):
        gap = np.linalg.norm(points[:, 13] - points[:, 14], axis=-1)
        spectrum = np.abs(np.fft.rfft((gap - gap.mean()) * np.hanning(40)))
        return spectrum[np.argmin(np.abs(np.fft.rfftfreq(40, 1 / 25) - 5))]

    assert amplitude(found) > 0.95 * amplitude(true)


def test_outliers_do_not_pull(head, truth):
    landmarks = landmarks_of(truth, head)
    clean = landmarks.copy()
    landmarks[:, ::40] += 60
    found = project_vertices(fit_clip(landmarks, VALID, head).motion, head)
    kept = np.setdiff1d(np.arange(468), np.arange(0, 468, 40))
    assert np.linalg.norm(found - clean, axis=-1)[:, kept].mean() < 1.0


def test_confidence_zero_is_not_looked_at(head, truth):
    landmarks = landmarks_of(truth, head)
    confidence = np.ones((40, 478), np.float32)
    confidence[:, 10] = 0
    spoilt = landmarks.copy()
    spoilt[:, 10] = 5000
    a = fit_clip(spoilt, VALID, head, confidence=confidence).motion
    assert np.linalg.norm(project_vertices(a, head)[:, :468] - landmarks[:, :468], axis=-1).mean() < 0.7


def test_nonsense_diverges(head):
    rng = np.random.default_rng(0)
    noise = rng.uniform(0, 512, (20, 478, 3)).astype(np.float32)
    with pytest.raises(FitDiverged, match="inter-ocular"):
        fit_clip(noise, np.ones(20, bool), head)
    with pytest.raises(FitDiverged, match="no frame"):
        fit_clip(noise, np.zeros(20, bool), head)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_the_shortest_clips(head, truth, frames):
    found = fit_clip(landmarks_of(truth, head)[:frames], VALID[:frames], head)
    assert found.motion.frame_count == frames
    assert found.landmark_error < 0.005


def test_a_batch_of_clips_is_each_clip(head, truth, result):
    landmarks = landmarks_of(truth, head)
    both = fit_batch([landmarks, landmarks[:25]], [VALID, VALID[:25]], head, FitSettings())
    np.testing.assert_allclose(both[0].motion.expression, result.motion.expression, atol=2e-2)
    assert both[1].motion.frame_count == 25
    assert both[1].landmark_error < 0.002


def test_eyes_look_where_the_irises_are(head, truth):
    t = np.arange(40)
    eyes = np.zeros((40, 6), np.float32)
    eyes[:, 1] = eyes[:, 4] = 0.3 * np.sin(t / 5)  # both sideways
    eyes[:, 0] = eyes[:, 3] = 0.1 * np.cos(t / 7)
    landmarks, valid = landmarks_of(replace(truth, eyes=eyes), head), VALID.copy()
    valid[7] = False
    landmarks[7] = np.nan
    found = fit_clip(landmarks, valid, head).motion
    drift = (found.eyes - eyes)[valid]
    assert np.abs(drift - drift.mean(axis=0)).max() < np.radians(3)
    assert np.abs(drift.mean(axis=0)).max() < np.radians(6)
    np.testing.assert_array_equal(found.eyes[7], found.eyes[6])
    drawn = project_vertices(found, head)[valid]
    assert np.linalg.norm(drawn - landmarks[valid], axis=-1)[:, [468, 473]].mean() < 0.3


def test_motion_of_another_model_is_refused(head, result):
    other = replace(head, hash="0" * 16)
    with pytest.raises(MotionError, match="belong to head model"):
        decode(result.motion, other)


def test_export_leaves_identity_and_pose_out(head, result):
    neutral = decode(result.motion, head, neutral_shape=True, head_pose=False)
    moved = np.linalg.norm(neutral - head.v_template, axis=-1)
    assert moved.max() < 0.05
    assert np.abs(neutral.mean(axis=(0, 1)) - head.v_template.mean(axis=0)).max() < 0.01


def test_settings_need_no_torch():
    code = "import sys, multitalk.fit_flame.fit; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

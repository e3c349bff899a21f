"""Stretches and percentiles of frames whose quality is known."""

import numpy as np
import pytest

from multitalk.filters.worst_frames import longest_run, worst_fit, worst_frames


def test_longest_run():
    assert longest_run(np.array([], bool)) == 0
    assert longest_run(np.array([False, False])) == 0
    assert longest_run(np.array([True, False, True, True, False])) == 2
    assert longest_run(np.array([True] * 4)) == 4


def test_stretches_of_bad_frames():
    frames = 40
    landmarks = np.zeros((frames, 478, 3), np.float32)
    landmarks[:, 263, 0] = np.linspace(100, 139, frames)
    angles = np.zeros((frames, 3), np.float32)
    angles[5:9, 0], angles[20:26, 1] = -50, 40
    sharpness = np.full(frames, 0.5)
    sharpness[30:37] = 0.2
    covered = np.zeros(frames, bool)
    covered[[2, 3, 12]] = True
    unseen = slice(7, 9)
    landmarks[unseen], angles[unseen], sharpness[unseen] = np.nan, np.nan, np.nan
    worst = worst_frames(landmarks, angles, sharpness, covered)
    assert (worst.unseen_run, worst.blurred_run, worst.turned_run, worst.covered_run) == (2, 7, 6, 2)
    assert worst.sharpness_p10 == pytest.approx(0.2)
    assert worst.face_size_px_p10 == pytest.approx(103.7, abs=0.1)


def test_the_worst_of_a_fit():
    residual = np.full(50, 0.008)
    residual[10:14], residual[:2] = 0.05, np.nan
    worst = worst_fit(residual)
    assert worst.fit_landmark_error_p90 == pytest.approx(0.008)
    assert worst.misfit_run == 4
    assert worst_fit(np.full(3, np.nan)).fit_landmark_error_p90 is None

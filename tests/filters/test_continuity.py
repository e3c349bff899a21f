"""Jump cuts, fast turns and frozen pictures in landmarks that are drawn, and on a portrait that moves."""

import numpy as np
import pytest

from multitalk.filters.continuity import frozen_ratio, jump_cuts, movement

FRAMES = 60
OVAL = np.random.default_rng(0).uniform(-80, 80, (478, 3)).astype(np.float32)
OVAL[[33, 263]] = [[-50, -20, 0], [50, -20, 0]]


def moving(x, noise=0.05):
    """A face at x (T,) pixels, its landmarks with noise."""
    landmarks = np.repeat(OVAL[None] + np.float32(256), len(x), axis=0)
    landmarks[..., 0] += np.asarray(x, np.float32)[:, None]
    return landmarks + np.random.default_rng(1).normal(0, noise, landmarks.shape).astype(np.float32)


def changing(frames=FRAMES, usual=0.005):
    return usual * np.random.default_rng(2).uniform(0.7, 1.3, frames)


def swaying(frames=FRAMES):
    return 4 * np.sin(np.arange(frames) / 4)


def test_a_jump_of_face_and_picture_is_a_cut():
    x, changes = swaying(), changing()
    x[30:] += 12
    changes[30] = 0.04
    assert jump_cuts(movement(moving(x)), changes) == [30]


def test_a_fast_turn_is_none():
    x, changes = swaying(), changing()
    x[28:33] += [10, 25, 40, 55, 60]
    x[33:] += 60
    changes[28:33] = [0.03, 0.05, 0.05, 0.05, 0.03]
    assert movement(moving(x))[29] > 0.1
    assert jump_cuts(movement(moving(x)), changes) == []


def test_what_moves_alone_is_none():
    x, flash = swaying(), changing()
    flash[30] = 0.1
    assert jump_cuts(movement(moving(x)), flash) == []
    x[30:] += 12
    assert jump_cuts(movement(moving(x)), changing()) == []


def test_frames_without_a_face_are_no_cuts():
    landmarks = moving(swaying())
    landmarks[20:25] = np.nan
    assert jump_cuts(movement(landmarks), changing()) == []
    assert frozen_ratio(movement(np.full_like(landmarks, np.nan))) == 0


@pytest.mark.parametrize(("still", "share"), [(0, 0), (4, 0), (20, 20 / 59), (59, 1)])
def test_frozen_frames_are_counted(still, share):
    x = swaying()
    x[: still + 1] = x[still]
    landmarks = moving(x, noise=0)
    landmarks += np.random.default_rng(3).normal(0, 0.02, landmarks.shape).astype(np.float32)
    assert frozen_ratio(movement(landmarks)) == pytest.approx(share, abs=0.02)


def test_every_picture_shown_twice_is_not_frozen():
    assert frozen_ratio(movement(moving(np.repeat(swaying(30), 2), noise=0))) == 0

"""One person before one camera has one shape and one focal length, whatever single frames say."""

from dataclasses import replace

import numpy as np
import pytest

from multitalk.fit_flame.clip_fit import fit_batch
from multitalk.fit_flame.fit import FitSettings
from multitalk.fit_flame.landmarks.likeness import persons
from multitalk.fit_flame.parameters.decode import decode
from multitalk.fit_flame.parameters.synthetic import FOCAL, landmarks_of, speaking
from multitalk.fit_flame.solving.key_frames import candidates
from multitalk.ground import landmark_layout as layout

FRAMES = 24
VALID = np.ones(FRAMES, bool)


@pytest.fixture(scope="module")
def clips(head):
    """Two clips of one video: the second is cut so that a pixel of the video is 1.5 of its own."""
    truth = [speaking(head, FRAMES, turn_deg=20), speaking(head, FRAMES, mouth_hz=3, turn_deg=10)]
    larger = truth[1].camera * np.float32([1.5, 1, 1])
    return [landmarks_of(truth[0], head), landmarks_of(replace(truth[1], camera=larger), head)]


@pytest.fixture(scope="module")
def together(head, clips):
    return fit_batch(clips, [VALID] * 2, head, FitSettings(), persons=[0, 0], scales=[1, 1.5])


def test_clips_of_one_person_share_shape_and_focal_length(together):
    first, second = (result.motion for result in together)
    np.testing.assert_array_equal(first.shape, second.shape)
    assert second.camera[0] == np.float32(1.5 * np.float64(first.camera[0]))
    assert max(result.landmark_error for result in together) < 0.003


def test_clips_of_different_persons_share_nothing(head, clips, together):
    [alone] = fit_batch(clips[:1], [VALID], head, FitSettings())
    apart = fit_batch(clips, [VALID] * 2, head, FitSettings())
    for name, array in alone.motion.to_arrays().items():
        np.testing.assert_array_equal(array, getattr(apart[0].motion, name))
    assert not np.array_equal(apart[0].motion.shape, apart[1].motion.shape)


def slipped(landmarks, frames):
    """A mesh that has fallen onto nose and cheeks in some frames."""
    spoilt = landmarks.copy()
    for frame in frames:
        middle = landmarks[frame].mean(axis=0)
        spoilt[frame] = middle + 0.7 * (landmarks[frame] - middle)
    return spoilt


def test_frames_in_which_the_face_slipped_move_no_other(head, clips, together):
    bad = [7, 8, 15]
    spoilt = [slipped(clips[0], bad), clips[1]]
    found = fit_batch(spoilt, [VALID] * 2, head, FitSettings(), persons=[0, 0], scales=[1, 1.5])
    good = np.setdiff1d(np.arange(FRAMES), [6, 7, 8, 9, 14, 15, 16])
    for one, wanted, frames in zip(found, together, (good, np.arange(FRAMES)), strict=True):
        assert one.motion.camera[0] == pytest.approx(wanted.motion.camera[0], rel=0.03)
        depth = one.motion.translation[frames, 2] / wanted.motion.translation[frames, 2]
        np.testing.assert_allclose(depth, 1, atol=0.03)


def test_a_slipped_face_is_no_candidate_and_a_turn_is_one(head, clips):
    import torch

    from multitalk.fit_flame.solving.batch import prepare
    from multitalk.fit_flame.solving.landmark_basis import landmark_basis

    basis = landmark_basis(head, torch.device("cpu"))
    for bad in ([], [7, 8, 15]):
        batch = prepare(basis, FitSettings(), [slipped(clips[0], bad)], [VALID], None, 512)
        usable = candidates(basis, batch.seen, batch.valid)[0].numpy()
        assert (3 + np.flatnonzero(~usable[3:-3])).tolist() == bad


def with_depth(motion, head):
    """Landmarks (T, 478, 3) as a detector gives them, z away from the viewer."""
    depth = -decode(motion, head)[..., 2:]
    depth = (depth - depth.mean(axis=1, keepdims=True)) * FOCAL / 0.5
    return np.concatenate([landmarks_of(motion, head), depth], axis=2).astype(np.float32)


def test_persons_are_told_apart_by_their_faces(head):
    rng = np.random.default_rng(0)
    truth = speaking(head, FRAMES)
    other = replace(truth, shape=(truth.shape + rng.normal(0, 1, len(truth.shape))).astype(np.float32))
    first, third = with_depth(truth, head), with_depth(other, head)
    turned = with_depth(speaking(head, FRAMES, turn_deg=25), head)
    landmarks = [first, third, 1.5 * turned, third[:5]]
    assert persons(landmarks, [np.ones(len(points), bool) for points in landmarks], head) == [0, 1, 0, 1]
    flat = [points[..., :2] for points in landmarks]
    assert persons(flat, [np.ones(len(points), bool) for points in flat], head) == [0] * 4


def test_the_jaw_never_closes_beyond_rest(head):
    truth = speaking(head, FRAMES)
    shut = replace(truth, jaw=truth.jaw * np.float32(0), expression=truth.expression * np.float32(0))
    landmarks = landmarks_of(shut, head)
    lower = [i for i in layout.LIPS if head.skinning_weights[i, 2] > 0.9]
    landmarks[::2, lower, 1] -= 4  # lips pressed together in every other frame
    [found] = fit_batch([landmarks], [VALID], head, FitSettings())
    assert found.motion.jaw[:, 0].min() > -1e-3
    assert found.landmark_error < 0.01

"""One kernel for the whole face."""

import torch

from multitalk.fit_flame.refining.smoothing import smoothed
from multitalk.fit_flame.solving.bounds import Bounds

BOUNDS = Bounds(torch.zeros(2), torch.ones(2))


def test_a_resting_face_is_smoothed_and_a_moving_one_left():
    torch.manual_seed(0)
    values = (0.3 + 0.05 * torch.randn(1, 60, 2)).clamp(0, 1)
    valid = torch.ones(1, 60, dtype=torch.bool)
    resting = torch.ones(1, 59)
    resting[:, 30:] = 0
    found = smoothed(values, valid, resting, 4.0, BOUNDS)
    assert found[:, :25].diff(dim=1).std() < 0.3 * values[:, :25].diff(dim=1).std()
    torch.testing.assert_close(found[:, 35:], values[:, 35:], atol=1e-3, rtol=0)
    assert found.min() >= 0
    assert found.max() <= 1


def test_frames_without_landmarks_lie_between_their_neighbours():
    values = torch.tensor([[[0.2, 0.0], [0.9, 0.9], [0.9, 0.9], [0.8, 0.0]]])
    valid = torch.tensor([[True, False, False, True]])
    found = smoothed(values, valid, torch.zeros(1, 3), 4.0, BOUNDS)
    assert 0.2 < found[0, 1, 0] < found[0, 2, 0] < 0.8
    torch.testing.assert_close(found[..., 1], torch.zeros(1, 4), atol=1e-6, rtol=0)

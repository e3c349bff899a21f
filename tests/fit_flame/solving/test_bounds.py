"""Steps within limits, beside the exact minimum."""

import numpy as np
import torch
from scipy.optimize import lsq_linear

from multitalk.fit_flame.solving.bounds import Bounds, limited_step, one_of_each


def test_the_step_is_the_minimum_within_the_limits():
    rng = np.random.default_rng(0)
    clips, frames, e, n = 1, 6, 8, 11
    rows = rng.normal(size=(frames, 40, n))
    rows[..., 1] = rows[..., 0] + 0.1 * rows[..., 1]  # two that look alike
    target = 3 * rng.normal(size=(frames, 40))
    start = rng.uniform(0, 1, (frames, e))
    blocks = torch.as_tensor(rows.transpose(0, 2, 1) @ rows)[None]
    gradient = -torch.as_tensor((rows.transpose(0, 2, 1) @ target[..., None])[..., 0])[None]
    bounds = Bounds(torch.zeros(e, dtype=torch.float64), torch.ones(e, dtype=torch.float64))
    step = limited_step(bounds, torch.as_tensor(start)[None], gradient, blocks)
    assert step.shape == (clips, frames, n)
    for t in range(frames):
        free = np.full(n - e, np.inf)
        limits = np.concatenate([-start[t], -free]), np.concatenate([1 - start[t], free])
        best = lsq_linear(rows[t], target[t], limits, tol=1e-12)
        found = step[0, t].numpy()
        cost = 0.5 * np.sum((rows[t] @ found - target[t]) ** 2)
        nothing = 0.5 * np.sum(target[t] ** 2)
        assert cost - best.cost < 1e-3 * (nothing - best.cost)
        assert (found[:e] >= limits[0][:e] - 1e-12).all()
        assert (found[:e] <= limits[1][:e] + 1e-12).all()


def test_of_two_opposed_one_is_shut():
    bounds = Bounds(torch.zeros(3), torch.ones(3))
    expression = torch.tensor([[[0.4, 0.1, 0.2], [0.0, 0.3, 0.9]]])
    found = one_of_each(bounds, expression, np.array([[0, 1]]))
    assert found is not None
    assert found.upper.tolist() == [[[1, 0, 1], [0, 1, 1]]]

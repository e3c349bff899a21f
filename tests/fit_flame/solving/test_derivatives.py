"""Analytic derivatives against differences of the function itself, in float64, with pose correctives on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from multitalk.fit_flame.parameters.rotation import to_matrix
from multitalk.fit_flame.solving.jacobian import Columns
from multitalk.fit_flame.solving.landmark_basis import landmark_basis
from multitalk.fit_flame.solving.objective import Prior, cost_and_gradient, frame_hessian
from multitalk.fit_flame.solving.residuals import (
    ClipState,
    FrameState,
    Observations,
    centred,
    move,
    place_landmarks,
)

FRAMES = 2


@pytest.fixture(scope="module")
def problem(head):
    rng = np.random.default_rng(3)
    posedirs = rng.normal(0, 1e-3, head.posedirs.shape).astype(np.float32)
    basis = landmark_basis(replace(head, posedirs=posedirs), torch.device("cpu"), torch.float64)
    torch.manual_seed(0)

    def randn(*shape: int) -> torch.Tensor:
        return torch.randn(1, *shape, dtype=torch.float64)

    clip = ClipState(randn(head.shape_size) * 0.3, torch.full((1, FRAMES), 0.2, dtype=torch.float64))
    frame = FrameState(
        randn(FRAMES, head.expression_size) * 0.3,
        to_matrix(randn(FRAMES, 3) * 0.1),
        to_matrix(randn(FRAMES, 3) * 0.3),
        randn(FRAMES, 2) * 0.3,
        randn(FRAMES) * 0.05 + 2.4,
    )
    points = place_landmarks(basis, clip, frame)
    rows = torch.arange(0, 468, 4)
    depths = centred(frame.log_scale.exp()[..., None] * points.camera[:, :, rows, 2])
    seen = Observations(
        points=points.image,
        confidence=torch.ones(1, FRAMES, 468, dtype=torch.float64),
        precision=torch.full((468,), 1e4, dtype=torch.float64),
        pairs=torch.tensor([[13, 14], [159, 145]]),
        pair_precision=torch.full((2,), 1e5, dtype=torch.float64),
        outlier=4.0,
        depths=depths,
        depth_rows=rows,
        depth_moving=int((rows < len(basis.jaw.template)).sum()),
        depth_precision=1e3,
    )
    return basis, seen, clip, frame


NO_PRIOR = Prior(torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))


def _steps(n: int, size: float):
    for k in range(n):
        step = torch.zeros(1, FRAMES, n, dtype=torch.float64)
        step[..., k] = size
        yield k, step


def test_gradient(problem):
    basis, seen, clip, frame = problem
    torch.manual_seed(1)
    noise = torch.randn(seen.points.shape, dtype=torch.float64) * 0.01
    seen = seen._replace(
        points=seen.points + noise, depths=centred(seen.depths + 0.1 * noise[:, :, seen.depth_rows, 0])
    )
    found = cost_and_gradient(basis, seen, NO_PRIOR, clip, frame).gradient
    numeric = torch.zeros_like(found)
    for k, step in _steps(found.shape[-1], 1e-6):
        up = cost_and_gradient(basis, seen, NO_PRIOR, clip, move(frame, step)).frame_cost
        down = cost_and_gradient(basis, seen, NO_PRIOR, clip, move(frame, -step)).frame_cost
        numeric[..., k] = (up - down) / 2e-6
    torch.testing.assert_close(found, numeric, rtol=1e-4, atol=1e-3)


def test_second_derivatives_at_the_solution(problem):
    """Without residuals Gauss-Newton's Hessian is the true one: its product with a step is the gradient's change."""
    basis, seen, clip, frame = problem
    here = cost_and_gradient(basis, seen, NO_PRIOR, clip, frame)
    blocks = frame_hessian(basis, seen, NO_PRIOR, clip, frame, here, Columns.frame)
    e = frame.expression.shape[-1]
    steps = [step for _, step in _steps(blocks.shape[-1], 1e-5)]
    for step in steps[:e:9] + steps[e:]:
        up = cost_and_gradient(basis, seen, NO_PRIOR, clip, move(frame, step)).gradient
        down = cost_and_gradient(basis, seen, NO_PRIOR, clip, move(frame, -step)).gradient
        moved = (up - down) / 2
        wanted = (blocks @ step[..., None])[..., 0]
        torch.testing.assert_close(moved, wanted, rtol=1e-3, atol=3e-2 * float(wanted.abs().max()))

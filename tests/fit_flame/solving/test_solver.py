import pytest
import torch

from multitalk.fit_flame.solving.solver import Arrow, ByHalves, FrameByFrame, factor


def _positive(*shape: int) -> torch.Tensor:
    a = torch.randn(*shape, dtype=torch.float64)
    return a @ a.mT + torch.eye(shape[-1], dtype=torch.float64)


@pytest.mark.parametrize("order", [FrameByFrame, ByHalves])
@pytest.mark.parametrize("frames", [1, 2, 3, 7, 8])
def test_chain_equals_the_dense_solution(frames, order):
    torch.manual_seed(0)
    clips, n = 3, 5
    blocks, rhs = _positive(clips, frames, n, n), torch.randn(clips, frames, n, dtype=torch.float64)
    precision = torch.rand(clips, frames - 1, n, dtype=torch.float64)
    predict = torch.eye(n, dtype=torch.float64)
    predict[0, 3] = predict[1, 4] = 1.0
    chain = order(blocks, precision, slice(0, 2), slice(3, 5))
    chain.solve(torch.randn_like(rhs))  # one right-hand side leaves nothing behind for the next
    found = chain.solve(rhs)
    for c in range(clips):
        dense = torch.block_diag(*blocks[c])
        for t in range(frames - 1):
            row = torch.zeros(n, frames * n, dtype=torch.float64)
            row[:, t * n : (t + 1) * n] = -predict
            row[:, (t + 1) * n : (t + 2) * n] = torch.eye(n)
            dense += row.mT @ (precision[c, t][:, None] * row)
        wanted = torch.linalg.solve(dense, rhs[c].reshape(-1)).reshape(frames, n)
        torch.testing.assert_close(found[c], wanted)


def test_arrow_equals_the_dense_solution():
    torch.manual_seed(1)
    frames, n, m = 4, 3, 2
    full = _positive(frames * n + m, frames * n + m)
    inner = torch.block_diag(*[torch.ones(n, n)] * frames).double()
    full[: frames * n, : frames * n] *= inner
    full += 50 * torch.eye(len(full))
    rhs = torch.randn(len(full), dtype=torch.float64)
    blocks = torch.stack([full[t * n : (t + 1) * n, t * n : (t + 1) * n] for t in range(frames)])[None]
    borders = full[: frames * n, frames * n :].reshape(1, frames, n, m)
    arrow = Arrow(blocks, borders, full[None, frames * n :, frames * n :])
    own, shared = arrow.solve(rhs[: frames * n].reshape(1, frames, n), rhs[None, -m:])
    wanted = torch.linalg.solve(full, rhs)
    torch.testing.assert_close(torch.cat([own.reshape(-1), shared.reshape(-1)]), wanted)


def test_a_block_without_a_factor_harms_no_other():
    good, bad = _positive(3, 3), -torch.eye(3, dtype=torch.float64)
    factors = factor(torch.stack([good, bad]))
    torch.testing.assert_close(factors[0] @ factors[0].mT, good)
    assert torch.isfinite(factors).all()


def test_a_clip_without_a_solution_harms_no_other():
    torch.manual_seed(2)
    blocks, rhs = _positive(2, 6, 4, 4), torch.randn(2, 6, 4, dtype=torch.float64)
    blocks[1, 3] = -100 * torch.eye(4, dtype=torch.float64)
    precision = torch.rand(2, 5, 4, dtype=torch.float64)
    one, other = (
        order(blocks, precision, slice(0, 0), slice(0, 0)).solve(rhs) for order in (FrameByFrame, ByHalves)
    )
    torch.testing.assert_close(one, other)
    assert not one[1].any()
    assert one[0].any()

"""The linear algebra of the fit: a chain of frames, each coupled with the next, solved exactly.

The normal equations of a clip are block-tridiagonal: a dense block per frame from its landmarks, and a
coupling from the temporal prior, x[t+1] = F x[t] + noise of precision w[t] (a diagonal). That is a Kalman
smoother in information form; eliminating frame after frame costs one Cholesky factorisation and one inverse
of an (n, n) block each, so time and memory grow linearly with the clip.
"""

from __future__ import annotations

import torch
from torch import Tensor


def solve_chain(blocks: Tensor, rhs: Tensor, precision: Tensor, predict: Tensor) -> Tensor:
    """Minimise sum_t x_t' H_t x_t / 2 - g_t' x_t + sum_t |x_{t+1} - F x_t|^2_{w_t} / 2 over all frames at once.

    Parameters
    ----------
    blocks
        (C, T, n, n) H_t of C clips, symmetric positive definite together with the temporal terms.
    rhs
        (C, T, n) g_t, temporal terms not included unless the caller linearises about a point.
    precision
        (C, T-1, n) w_t >= 0.
    predict
        (n, n) F.

    Returns
    -------
    Tensor
        (C, T, n) the minimiser.
    """
    frames = blocks.shape[1]
    inverses, forward = [], []
    message_block: Tensor | float = 0.0
    message_rhs: Tensor | float = 0.0
    for t in range(frames):
        block = blocks[:, t] + message_block
        right = rhs[:, t] + message_rhs
        if t < frames - 1:
            w = precision[:, t]
            block = block + (predict.mT * w[:, None, :]) @ predict
        inverse = torch.cholesky_inverse(_factor(block))
        inverses.append(inverse)
        forward.append(right)
        if t < frames - 1:
            gain = w[:, :, None] * predict
            message_block = torch.diag_embed(w) - gain @ inverse @ gain.mT
            message_rhs = (gain @ (inverse @ right[..., None]))[..., 0]
    solution = [(inverses[-1] @ forward[-1][..., None])[..., 0]]
    for t in range(frames - 2, -1, -1):
        pulled = forward[t] + (predict.mT @ (precision[:, t] * solution[-1])[..., None])[..., 0]
        solution.append((inverses[t] @ pulled[..., None])[..., 0])
    return torch.stack(solution[::-1], dim=1)


def solve_frames(blocks: Tensor, rhs: Tensor) -> Tensor:
    """Solve every frame's own system: (..., n, n), (..., n) -> (..., n)."""
    return torch.cholesky_solve(rhs[..., None], _factor(blocks))[..., 0]


def _factor(blocks: Tensor) -> Tensor:
    """Cholesky factors; a block that has none counts as its diagonal, so that one bad frame harms no other."""
    factor, failed = torch.linalg.cholesky_ex(blocks)
    if not bool(failed.any()):
        return factor
    diagonal = blocks.diagonal(dim1=-2, dim2=-1).abs().nan_to_num(1.0, 1.0, 1.0).clamp_min(1e-12).sqrt()
    return torch.where((failed > 0)[..., None, None], torch.diag_embed(diagonal), factor)


def solve_arrow(
    blocks: Tensor, borders: Tensor, corner: Tensor, rhs: Tensor, corner_rhs: Tensor
) -> tuple[Tensor, Tensor]:
    """Solve frames that share unknowns, by the Schur complement of the frames.

    Parameters
    ----------
    blocks
        (C, K, n, n) each frame's own block.
    borders
        (C, K, n, m) its coupling with the m shared unknowns.
    corner
        (C, m, m) the shared unknowns' block.
    rhs, corner_rhs
        (C, K, n) and (C, m) right-hand sides.

    Returns
    -------
    tuple
        The frames' unknowns (C, K, n) and the shared ones (C, m).
    """
    factor = _factor(blocks)
    solved = torch.cholesky_solve(torch.cat([borders, rhs[..., None]], -1), factor)
    schur = corner - (borders.mT @ solved[..., :-1]).sum(1)
    reduced = corner_rhs - (borders.mT @ solved[..., -1:])[..., 0].sum(1)
    shared = solve_frames(schur, reduced)
    return solved[..., -1] - (solved[..., :-1] @ shared[:, None, :, None])[..., 0], shared

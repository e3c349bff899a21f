"""The linear algebra of the fit: a chain of frames, each coupled with the next, solved exactly.

The normal equations of a clip are block-tridiagonal: a dense block per frame from its landmarks, and a
coupling from the temporal prior, x[t+1] = F x[t] + noise of precision w[t] (a diagonal). That is a Kalman
smoother in information form; eliminating a frame costs one Cholesky factorisation and one inverse of an (n, n)
block, so time and memory grow linearly with the clip.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Chain(Protocol):
    """The frames of C clips, each coupled with the next, factorised once for any number of right-hand sides.

    Minimises sum_t x_t' H_t x_t / 2 - g_t' x_t + sum_t |x_{t+1} - F x_t|^2_{w_t} / 2 over all frames at once.
    F keeps every unknown and moves some on by others: F x = x, but (F x)[moved] = x[moved] + x[by].
    """

    def solve(self, rhs: Tensor) -> Tensor:
        """Return the minimiser (C, T, n) for g of that shape; zero for a clip whose equations have none."""
        ...


def chain_of(blocks: Tensor, precision: Tensor, moved: slice, by: slice) -> Chain:
    """Factorise a chain: frame after frame on a CPU, by halves on a device, which takes them all at once.

    Parameters
    ----------
    blocks
        (C, T, n, n) H_t, symmetric positive definite together with the temporal terms.
    precision
        (C, T-1, n) w_t >= 0.
    moved, by
        Which unknowns F moves, and by which: as positions and their velocities.
    """
    made = FrameByFrame if blocks.device.type == "cpu" else ByHalves
    return made(blocks, precision, moved, by)


def _with_coupling(blocks: Tensor, precision: Tensor, moved: slice, by: slice) -> Tensor:
    """Add to the frames' own blocks what the coupling puts on the diagonal."""
    blocks = blocks.clone()
    blocks[:, 1:].diagonal(dim1=-2, dim2=-1)[...] += precision
    blocks[:, :-1].diagonal(dim1=-2, dim2=-1)[...] += precision
    for rows, columns in ((by, by), (moved, by), (by, moved)):
        blocks[:, :-1, rows, columns].diagonal(dim1=-2, dim2=-1)[...] += precision[..., moved]
    return blocks


class FrameByFrame:
    """A chain that eliminates frame after frame: the fewest operations."""

    def __init__(self, blocks: Tensor, precision: Tensor, moved: slice, by: slice) -> None:
        self._precision, self._moved, self._by = precision, moved, by
        blocks = _with_coupling(blocks, precision, moved, by)
        self._inverses: list[Tensor] = []
        self._failed = torch.zeros(len(blocks), dtype=torch.bool, device=blocks.device)
        block = blocks[:, 0]
        for t in range(blocks.shape[1]):
            factor, code = torch.linalg.cholesky_ex(block)
            self._failed |= code > 0
            self._inverses.append(torch.cholesky_inverse(factor))
            if t + 1 < blocks.shape[1]:
                w = precision[:, t]
                known = _predicted(self._inverses[-1].clone(), moved, by)
                block = blocks[:, t + 1] - w[:, :, None] * known * w[:, None, :]

    def solve(self, rhs: Tensor) -> Tensor:
        """Return the minimiser (C, T, n) for g of that shape; zero for a clip whose equations have none."""
        moved, by = self._moved, self._by
        forward = [rhs[:, 0]]
        for t, inverse in enumerate(self._inverses[:-1]):
            here = (inverse @ forward[-1][..., None])[..., 0]
            here[:, moved] += here[:, by]
            forward.append(rhs[:, t + 1] + self._precision[:, t] * here)
        solution = [(self._inverses[-1] @ forward[-1][..., None])[..., 0]]
        for t in range(len(forward) - 2, -1, -1):
            pull = self._precision[:, t] * solution[-1]
            pull[:, by] += pull[:, moved]
            solution.append((self._inverses[t] @ (forward[t] + pull)[..., None])[..., 0])
        return torch.where(self._failed[:, None, None], 0.0, torch.stack(solution[::-1], dim=1))


class ByHalves:
    """A chain that eliminates every second frame, and again of those that are left: log2(T) steps of a few operations.

    Block cyclic reduction, a Cholesky factorisation in another order. It costs about four times the operations of
    `FrameByFrame`, which come one after the other only log2(T) times.
    """

    def __init__(self, blocks: Tensor, precision: Tensor, moved: slice, by: slice) -> None:
        left = _with_coupling(blocks, precision, moved, by)
        coupling = torch.diag_embed(-precision)  # of each frame (rows) with the next one (columns): -F' W
        coupling[..., by, moved] -= torch.diag_embed(precision[..., moved])
        self._levels: list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]] = []
        failed = torch.zeros_like(blocks[:, 0, 0, 0], dtype=torch.bool)
        while left.shape[1] > 1:
            factor, code = torch.linalg.cholesky_ex(left[:, 1::2])
            failed = failed | (code > 0).any(1)
            inverse = torch.cholesky_inverse(factor)
            before, after = coupling[:, ::2], coupling[:, 1::2].mT
            odd, both = (
                before.shape[1],
                after.shape[1],
            )  # frames that go, and those of them that have a next one
            to_before, to_after = before @ inverse, after @ inverse[:, :both]
            left = left[:, ::2].clone()
            left[:, :odd] -= to_before @ before.mT
            left[:, 1 : both + 1] -= to_after @ after.mT
            coupling = -(to_before[:, :both] @ after.mT)
            self._levels.append((inverse, before, after, to_before, to_after))
        factor, code = torch.linalg.cholesky_ex(left)
        self._failed = failed | (code > 0).any(1)
        self._last = torch.cholesky_inverse(factor)

    def solve(self, rhs: Tensor) -> Tensor:
        """As `Chain.solve`."""
        gone = []
        right = rhs[..., None]
        for _, _, _, to_before, to_after in self._levels:
            odd, right = right[:, 1::2], right[:, ::2].clone()
            right[:, : to_before.shape[1]] -= to_before @ odd
            right[:, 1 : to_after.shape[1] + 1] -= to_after @ odd[:, : to_after.shape[1]]
            gone.append(odd)
        solution = self._last @ right
        for (inverse, before, after, _, _), odd in zip(self._levels[::-1], gone[::-1], strict=True):
            pulled = odd - before.mT @ solution[:, : odd.shape[1]]
            pulled[:, : after.shape[1]] -= after.mT @ solution[:, 1 : after.shape[1] + 1]
            both = solution.new_empty(len(solution), solution.shape[1] + odd.shape[1], *solution.shape[2:])
            both[:, ::2], both[:, 1::2] = solution, inverse @ pulled
            solution = both
        return torch.where(self._failed[:, None, None], 0.0, solution[..., 0])


def _predicted(covariance: Tensor, moved: slice, by: slice) -> Tensor:
    """F S F', in place."""
    covariance[:, moved] += covariance[:, by]
    covariance[:, :, moved] += covariance[:, :, by]
    return covariance


def factor(blocks: Tensor) -> Tensor:
    """Cholesky factors; a block that has none counts as its diagonal, so that one bad frame harms no other."""
    found: Tensor
    found, failed = torch.linalg.cholesky_ex(blocks)
    if found.device.type == "cpu" and not bool(
        failed.any()
    ):  # elsewhere one would have to wait for the answer
        return found
    diagonal = blocks.diagonal(dim1=-2, dim2=-1).abs().nan_to_num(1.0, 1.0, 1.0).clamp_min(1e-12).sqrt()
    return torch.where((failed > 0)[..., None, None], torch.diag_embed(diagonal), found)


def solve(factors: Tensor, rhs: Tensor) -> Tensor:
    """Solve systems whose factors are known: (..., n, n), (..., n) -> (..., n)."""
    return torch.cholesky_solve(rhs[..., None], factors)[..., 0]


class Arrow:
    """Frames that share unknowns, factorised by the Schur complement of the frames.

    Parameters
    ----------
    blocks
        (C, K, n, n) each frame's own block.
    borders
        (C, K, n, m) its coupling with the m shared unknowns.
    corner
        (C, m, m) the shared unknowns' block.
    """

    def __init__(self, blocks: Tensor, borders: Tensor, corner: Tensor) -> None:
        self._frames = factor(blocks)
        self._borders = borders
        self._solved = torch.cholesky_solve(borders, self._frames)
        reduced = borders.flatten(1, 2).mT @ self._solved.flatten(1, 2)
        self._shared = factor(corner - reduced)

    def solve(self, rhs: Tensor, shared_rhs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the frames' unknowns (C, K, n) and the shared ones (C, m) for right-hand sides of those shapes."""
        own = solve(self._frames, rhs)
        shared = solve(self._shared, shared_rhs - (self._borders.mT @ own[..., None])[..., 0].sum(1))
        return own - (self._solved @ shared[:, None, :, None])[..., 0], shared

"""Which clips make which batch: a pure function of the seed and the number of the epoch.

Clips of the same length go together, so that no batch is padded or masked; 94% of MultiTalk's clips fill
batches of 32 that way, as their lengths are whole frames. Nothing here keeps state: to go on in the middle
of an epoch is to make its windows again and skip what was done.

Shapes: N clips.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from multitalk.training.run_settings import DataSettings

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Int64


@dataclass(frozen=True, slots=True)
class BatchWindows:
    """One batch: windows of the same length out of several clips."""

    clips: tuple[int, ...]
    """Index of each clip."""
    begins: tuple[int, ...]
    """First frame of each window."""
    frames: int
    """Length of all windows."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """Plans epochs over N clips."""

    clips: Int64[Array, " clips"]
    """(N,) indices that the batches speak of."""
    lengths: Int64[Array, " clips"]
    """(N,) frames."""
    languages: npt.NDArray[np.str_]
    """(N,) languages, for balance."""
    settings: DataSettings
    seed: int

    @property
    def batches_per_epoch(self) -> int:
        """Batches of the first epoch; where leftovers stay uncut, others may have a few more or less."""
        return len(self.epoch(0))

    def epoch(self, number: int) -> list[BatchWindows]:
        """Plan of an epoch, in the order of use."""
        random = np.random.default_rng((self.seed, number))
        drawn = random.permutation(self._drawn(number))
        lengths = np.minimum(self.lengths[drawn], self.settings.max_frames)
        # Stable: within a length the order stays random.
        order = np.argsort(lengths, kind="stable")
        batches = [self._windows(group, random) for group in self._groups(drawn[order], lengths[order])]
        return [batches[i] for i in random.permutation(len(batches))]

    def _drawn(self, number: int) -> Int64[Array, " drawn"]:
        """N places in `clips`, languages in balance, each language's clips in turn over the epochs."""
        names, counts = np.unique(self.languages, return_counts=True)
        shares = counts ** (1.0 - self.settings.language_balance)
        quotas = np.diff(np.round(np.cumsum(shares / shares.sum()) * len(self.clips)), prepend=0).astype(int)
        drawn = []
        for row, (name, quota) in enumerate(zip(names, quotas, strict=True)):
            places = np.flatnonzero(self.languages == name)
            wanted = np.arange(number * quota, (number + 1) * quota)
            for deal in np.unique(wanted // len(places)):
                shuffled = np.random.default_rng((self.seed, row, int(deal))).permutation(places)
                drawn.append(shuffled[wanted[wanted // len(places) == deal] % len(places)])
        return np.concatenate(drawn)

    def _groups(
        self, drawn: Int64[Array, " drawn"], lengths: Int64[Array, " drawn"]
    ) -> list[Int64[Array, " group"]]:
        """Batches of `drawn`, which is in order of length."""
        size = self.settings.batch_size
        full, leftovers = [], []
        for same in np.split(drawn, np.flatnonzero(np.diff(lengths)) + 1):
            whole = len(same) // size * size
            full += [same[i : i + size] for i in range(0, whole, size)]
            leftovers.append(same[whole:])
        if not self.settings.cut_leftovers:
            return full + [rest for rest in leftovers if len(rest)]
        rest = np.concatenate(leftovers)
        return full + [rest[i : i + size] for i in range(0, len(rest), size)]

    def _windows(self, group: Int64[Array, " group"], random: np.random.Generator) -> BatchWindows:
        frames = int(min(self.lengths[group].min(), self.settings.max_frames))
        begins = random.integers(0, self.lengths[group] - frames + 1)
        return BatchWindows(tuple(self.clips[group].tolist()), tuple(begins.tolist()), frames)

"""The same recording found again, by the prints of its sound (`multitalk.filters.persons.sound_print`)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multitalk.filters.persons.sound_print import BITS

MOST_DIFFERENT = 0.25
"""Share of the bits of two prints of one recording that differ at most; of two recordings about half do."""
SHORTEST_FRAMES = 40
"""Frames that two clips must have in common."""

_NEIGHBOURS = (
    8  # equal numbers that are compared with one another: what is common, such as hiss, tells nothing
)

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Repeats:
    """Pairs of clips of different source videos that have a stretch of one recording."""

    first: IntArray
    second: IntArray
    """(P,) clips, the first before the second."""
    frames: IntArray
    """(P,) length of what they have in common."""


def find_repeats(prints: Sequence[npt.NDArray[np.uint32]], video: IntArray) -> Repeats:
    """Find clips that have a stretch of sound in common.

    Parameters
    ----------
    prints
        Of each clip, a number a frame.
    video
        (N,) number of each clip's source video: clips of one are not compared.
    """
    first, second, offset = _candidates(prints, video)
    found = []
    for a, b, shift in zip(first.tolist(), second.tolist(), offset.tolist(), strict=True):
        frames = _in_common(prints[a], prints[b], shift)
        if frames:
            found.append((a, b, frames))
    columns = np.array(found, np.int64).reshape(-1, 3)
    return Repeats(columns[:, 0], columns[:, 1], columns[:, 2])


def _candidates(
    prints: Sequence[npt.NDArray[np.uint32]], video: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """Return pairs of clips that have a number in common: first, second, and the shift at which most are."""
    lengths = np.array([len(one) for one in prints], np.int64)
    starts = np.cumsum(lengths) - lengths
    values = np.concatenate([np.zeros(0, np.uint32), *prints])
    heard = np.flatnonzero(values)  # silence has no bits
    # Sorted as single numbers, the value above the place: ten times as fast as by two keys.
    keys = np.sort((values[heard].astype(np.uint64) << np.uint64(32)) | heard.astype(np.uint64))
    values = (keys >> np.uint64(32)).astype(np.uint32)
    places = (keys & np.uint64(2**32 - 1)).astype(np.int64)
    pairs = [np.zeros((0, 3), np.int64)]
    for lag in range(1, _NEIGHBOURS + 1):
        equal = np.flatnonzero(values[lag:] == values[:-lag])
        a, b = (np.searchsorted(starts, at, side="right") - 1 for at in (places[equal], places[equal + lag]))
        shift = (places[equal] - starts[a]) - (places[equal + lag] - starts[b])
        pairs.append(np.stack([a, b, shift], axis=1)[video[a] != video[b]])
    rows, votes = np.unique(np.concatenate(pairs), axis=0, return_counts=True)
    order = np.lexsort((-votes, rows[:, 1], rows[:, 0]))  # of each pair, the shift with most votes first
    rows = rows[order]
    first = np.flatnonzero(np.any(np.diff(rows[:, :2], axis=0, prepend=-1), axis=1))
    return rows[first, 0], rows[first, 1], rows[first, 2]


def _in_common(a: npt.NDArray[np.uint32], b: npt.NDArray[np.uint32], shift: int) -> int:
    """Frames that two prints have in common, about a shift of the first against the second; 0 where they have none."""
    for near in (shift, shift - 1, shift + 1):
        start, end = max(near, 0), min(len(a), len(b) + near)
        if end - start < SHORTEST_FRAMES:
            continue
        different = np.bitwise_count(a[start:end] ^ b[start - near : end - near]).mean() / BITS
        if different <= MOST_DIFFERENT:
            return end - start
    return 0

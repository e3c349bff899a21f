"""Which vertices of a head model are its lips: one definition, for training's figures and for evaluation's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from multitalk.ground.landmark_layout import LIPS

if TYPE_CHECKING:
    from multitalk.fit_flame.heads.head_model import HeadModel
    from multitalk.ground.arrays import Array, Int64

FLAME_VERTICES = 5023

# The 250 vertices that MultiTalk's test script takes the maximum over, as first and last id of each run.
# The script lists four of them (1590, 1593, 2726, 2729) twice, which changes no maximum.
_MULTITALK_LIPS = (
    "1576-1583 1590-1591 1593 1657-1658 1661-1663 1667-1670 1686-1687 1691 1693-1697 1700 1702-1704 "
    "1709-1723 1728-1738 1740 1743 1748-1751 1758 1763 1765 1770-1771 1773-1782 1787-1789 1791-1796 "
    "1801-1804 1826-1827 1836 1846-1850 1865-1866 2712-2719 2726-2727 2729 2774-2775 2778-2780 "
    "2784-2787 2803-2804 2808 2810-2814 2817 2819-2821 2826-2840 2843-2853 2855 2858 2863-2866 2869 "
    "2871 2873 2878-2892 2894-2899 2904-2907 2928-2929 2934-2939 2948-2949 3503-3504 3506 3509 "
    "3511-3513 3531 3533 3537 3541 3543 3546-3547 3790-3806 3914-3928"
)


def flame_lips() -> Int64[Array, " 250"]:
    """Give the vertices (250,) of FLAME's topology that MultiTalk's test script measures, ascending."""
    return np.array(expand(_MULTITALK_LIPS))


def lip_vertices(head_model: HeadModel) -> Int64[Array, " lips"]:
    """Vertices (L,) of a head model's lips, ascending.

    On FLAME those of MultiTalk's test script; on any other model those under MediaPipe's lip landmarks.
    """
    if len(head_model.v_template) == FLAME_VERTICES:
        return flame_lips()
    return vertices_under(head_model, LIPS)


def vertices_under(head_model: HeadModel, landmarks: Iterable[int]) -> Int64[Array, " vertices"]:
    """Vertices (L,) nearest to landmarks of MediaPipe's, ascending; landmarks not on the model are left out."""
    embedding = head_model.embedding
    chosen = np.isin(embedding.landmarks, np.fromiter(landmarks, np.int64))
    # The vertex nearest to each landmark: that with the greatest barycentric weight.
    nearest = embedding.barycentric[chosen].argmax(1)
    return np.unique(np.take_along_axis(embedding.vertices[chosen], nearest[:, None], 1))


def expand(runs: str) -> list[int]:
    """Write out runs of ids: `"3-5 9"` is 3, 4, 5, 9."""
    ids: list[int] = []
    for run in runs.split():
        first, _, last = run.partition("-")
        ids.extend(range(int(first), int(last or first) + 1))
    return ids

"""Persons among faces and voices of many source videos.

First within each video: its clips' faces fall into groups, of one person each. Then over all videos: groups are merged
while they are nearer to each other than two persons are, by the mean over all pairs of their members, so that a chain
of likenesses does not make one person of many. Faces decide; a voice moves the line a little, and no more, since a
face can be dubbed and a voice be a narrator's.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FACES_APART = 0.45
"""Distance of two faces below which they are one person's, where the voices tell nothing."""
VOICES_ALIKE = 0.75
"""Scalar product of two voices above which they speak for one person."""
SURELY_ALIKE = 0.85
"""The same of two long stretches of speech of one video: one voice."""

# What a voice can do: two that are surely one person's allow a distance of 0.52, two that are not ask for 0.37.
_FACE_UNIT = 0.0675  # of squared distance
_VOICE_UNIT = 0.1
_VOICE_MOST = 1.0
_LONG_SEC = 3.0  # speech of which a voice is told well
_BLOCK = 1024

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Clips:
    """Descriptions of N clips, in the order of their video and clip ids."""

    video: IntArray
    """(N,) number of each clip's source video, in ascending order."""
    face: FloatArray
    """(N, 128); NaN where no face was seen."""
    voice: FloatArray
    """(N, 256) of length 1; NaN where no voice was heard."""
    voice_sec: FloatArray
    """(N,) seconds of speech."""


@dataclass(frozen=True, slots=True)
class Persons:
    """Who is in N clips."""

    person: IntArray
    """(N,) the first clip in which each clip's person is seen; -1 where no face was."""
    voice_faces: IntArray
    """(N,) persons of the clip's video with whom its voice is heard; -1 where that cannot be told."""


def tell_persons(clips: Clips) -> Persons:
    """Tell who is in each clip. The same for the same clips, whatever their number of cores or earlier runs."""
    group = _groups(clips)
    nodes = _Nodes.of(clips, group)
    cluster = _merge(nodes)
    first = np.full(cluster.max(initial=-1) + 1, len(group), np.int64)
    seen = np.flatnonzero(group >= 0)
    np.minimum.at(first, cluster[group[seen]], seen)
    person = np.full(len(group), -1, np.int64)
    person[seen] = first[cluster[group[seen]]]
    voice_faces = np.full(len(group), -1, np.int64)
    voice_faces[seen] = _faces_of_voices(nodes, cluster)[group[seen]]
    return Persons(person, voice_faces)


def _groups(clips: Clips) -> IntArray:
    """Find the persons of each video: (N,) a number that no two videos share, -1 without a face."""
    group = np.full(len(clips.video), -1, np.int64)
    count = 0
    limit = FACES_APART**2
    starts = np.flatnonzero(np.diff(clips.video, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(clips.video)][: len(starts)], strict=True):
        seen = start + np.flatnonzero(np.isfinite(clips.face[start:end, 0]))
        if not len(seen):
            continue
        faces = clips.face[seen].astype(np.float64)
        if ((faces - faces.mean(axis=0)) ** 2).sum(
            axis=1
        ).max() < limit / 4:  # no two are further apart than that
            group[seen] = count
            count += 1
            continue
        distances = ((faces[:, None] - faces[None]) ** 2).sum(axis=2)
        own = _average_linkage(distances, limit)
        group[seen] = count + own
        count += own.max() + 1
    return group


def _average_linkage(distances: npt.NDArray[np.float64], limit: float) -> IntArray:
    """Merge the two nearest, by the mean over their pairs, until all are further apart than the limit; numbers (n,)."""
    members = [[n] for n in range(len(distances))]
    means = distances.astype(np.float64)
    np.fill_diagonal(means, np.inf)
    while len(members) > 1:
        a, b = sorted(np.unravel_index(int(means.argmin()), means.shape))
        if not means[a, b] < limit:
            break
        weights = len(members[a]), len(members[b])
        merged = (weights[0] * means[a] + weights[1] * means[b]) / sum(weights)
        means[a], means[:, a] = merged, merged
        means[a, a] = np.inf
        means = np.delete(np.delete(means, b, axis=0), b, axis=1)
        members[a] += members.pop(b)
    found = np.empty(len(distances), np.int64)
    for number, some in enumerate(sorted(members, key=min)):
        found[some] = number
    return found


@dataclass(slots=True)
class _Nodes:
    """Persons of single videos: means over their clips."""

    video: IntArray
    face: FloatArray
    """(G, 128)"""
    voice: FloatArray
    """(G, 256) of length 1, or zeros where none was heard."""
    voice_sec: npt.NDArray[np.float64]

    @classmethod
    def of(cls, clips: Clips, group: IntArray) -> "_Nodes":
        count = int(group.max(initial=-1)) + 1
        seen = np.flatnonzero(group >= 0)
        video = np.zeros(count, np.int64)
        video[group[seen]] = clips.video[seen]
        face, voice = np.zeros((count, clips.face.shape[1])), np.zeros((count, clips.voice.shape[1]))
        np.add.at(face, group[seen], clips.face[seen])
        face /= np.bincount(group[seen], minlength=count)[:, None]
        heard = seen[np.isfinite(clips.voice[seen, 0])]
        np.add.at(voice, group[heard], clips.voice[heard] * clips.voice_sec[heard, None])
        seconds = np.bincount(group[heard], clips.voice_sec[heard], minlength=count)
        voice /= np.maximum(np.linalg.norm(voice, axis=1, keepdims=True), 1e-9)
        return cls(video, face.astype(np.float32), voice.astype(np.float32), seconds.astype(np.float64))

    @property
    def heard(self) -> npt.NDArray[np.bool_]:
        return self.voice_sec > 0


def _merge(nodes: _Nodes) -> IntArray:
    """Merge persons of different videos, the likest first; numbers (G,)."""
    count = len(nodes.video)
    cluster = _Clusters(nodes)
    pairs = list(_alike(nodes))
    if pairs:
        score, a, b = (np.concatenate(column) for column in zip(*pairs, strict=True))
        for n in np.lexsort((b, a, -score)):
            cluster.join(int(a[n]), int(b[n]))
    return np.array([cluster.root(n) for n in range(count)], np.int64)


def _alike(nodes: _Nodes) -> Iterator[tuple[FloatArray, IntArray, IntArray]]:
    """Yield the pairs of nodes that score above 0, a block at a time: scores, first and second."""
    norms = (nodes.face**2).sum(axis=1)
    for start in range(0, len(nodes.video), _BLOCK):
        rows = slice(start, start + _BLOCK)
        squared = norms[rows, None] + norms[None, start:] - 2 * nodes.face[rows] @ nodes.face[start:].T
        voices = nodes.voice[rows] @ nodes.voice[start:].T
        both = nodes.heard[rows, None] & nodes.heard[None, start:]
        score = np.triu(_score(squared, voices, both), 1)
        a, b = np.nonzero(score > 0)
        other = nodes.video[start + a] != nodes.video[start + b]
        a, b = a[other], b[other]
        yield score[a, b], start + a, start + b


def _score(
    squared: npt.NDArray[np.floating], voices: npt.NDArray[np.floating], both: npt.NDArray[np.bool_]
) -> FloatArray:
    """Weigh faces and voices: above 0 they are one person's."""
    of_face = (FACES_APART**2 - squared) / _FACE_UNIT
    of_voice = np.clip((voices - VOICES_ALIKE) / _VOICE_UNIT, -_VOICE_MOST, _VOICE_MOST)
    return np.asarray(of_face + np.where(both, of_voice, 0), np.float32)


class _Clusters:
    """Nodes merged so far, with the sums that give means over all pairs of two clusters."""

    def __init__(self, nodes: _Nodes) -> None:
        self._parent = list(range(len(nodes.video)))
        self._count = np.ones(len(nodes.video))
        self._face = nodes.face.astype(np.float64)
        self._squares = (self._face**2).sum(axis=1)
        self._voice = nodes.voice.astype(np.float64)
        self._heard = nodes.heard.astype(np.float64)

    def root(self, node: int) -> int:
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node

    def join(self, a: int, b: int) -> None:
        """Merge the clusters of two nodes if the mean over all their pairs says one person."""
        a, b = sorted((self.root(a), self.root(b)))
        if a == b:
            return
        n, m = self._count[a], self._count[b]
        squared = self._squares[a] / n + self._squares[b] / m - 2 * (self._face[a] @ self._face[b]) / (n * m)
        heard = self._heard[a] * self._heard[b]
        voices = self._voice[a] @ self._voice[b] / max(heard, 1)
        if _score(np.array(squared), np.array(voices), np.array(heard > 0)) <= 0:
            return
        self._parent[b] = a
        for sums in (self._count, self._face, self._squares, self._voice, self._heard):
            sums[a] += sums[b]


def _faces_of_voices(nodes: _Nodes, cluster: IntArray) -> IntArray:
    """Count, for each node, the persons of its video with whom its voice is heard; -1 where it is hardly heard."""
    counts = np.where(nodes.voice_sec >= _LONG_SEC, 1, -1)
    order = np.argsort(nodes.video, kind="stable")
    for some in np.split(order, np.flatnonzero(np.diff(nodes.video[order])) + 1):
        long = some[nodes.voice_sec[some] >= _LONG_SEC]
        if len(long) < 2:
            continue
        alike = nodes.voice[long] @ nodes.voice[long].T >= SURELY_ALIKE
        for row, node in enumerate(long):
            counts[node] = len(set(cluster[long[alike[row]]].tolist()))
    return np.asarray(counts, np.int64)

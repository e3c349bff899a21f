"""Predictions that know nothing of the speech: what any model must beat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from multitalk.eval.ground_truth import GroundTruth, TrueClip
from multitalk.eval.vertex_files import VertexFileError

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float32

Predict = Callable[[TrueClip], npt.NDArray[np.float32]]
Baseline = Literal["still", "mean", "shuffled"]
BASELINES: dict[Baseline, str] = {
    "still": "the neutral face in every frame",
    "mean": "the mean face of all clips in every frame",
    "shuffled": "the true motion of another clip, of the same language where there is one",
}
"""What each baseline predicts."""


def baseline(name: Baseline, truth: GroundTruth, learnt_from: GroundTruth | None = None) -> Predict:
    """Give a baseline's prediction of any clip: (T, V, 3) metres, made when it is asked for.

    Parameters
    ----------
    name
        One of `BASELINES`.
    truth
        Gives the clips, their lengths and templates; clips that can not be read are passed over.
    learnt_from
        Clips that the mean face is taken of, such as those a model was trained on; None takes `truth`, whose
        own mean no model can know.

    Raises
    ------
    VertexFileError
        There are too few clips; or later, a clip has no template.
    """
    if name == "mean":
        mean = _mean_face(learnt_from or truth)
        return lambda clip: _standing(mean, clip)
    if name == "still":
        return _still
    rings = _rings(truth)
    return lambda clip: _repeated(_next_clip(truth, rings[clip.clip_id], clip), len(clip.vertices))


def write_baseline(
    name: Baseline, truth: GroundTruth, folder: Path, learnt_from: GroundTruth | None = None
) -> int:
    """Write a baseline's prediction of every clip as `<language>/<clip_id>.npy`, float32; as `baseline`.

    Returns
    -------
    int
        Clips written.
    """
    predict = baseline(name, truth, learnt_from)
    written = 0
    for clip in _readable(truth, truth.clip_ids):
        path = folder / clip.language / f"{clip.clip_id}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, predict(clip).astype(np.float32))
        written += 1
    return written


def _readable(truth: GroundTruth, clip_ids: Iterable[str]) -> Iterator[TrueClip]:
    for clip_id in clip_ids:
        with suppress(VertexFileError, KeyError, OSError):  # the evaluation says so of the clip itself
            yield truth.load(clip_id)


def _still(clip: TrueClip) -> Float32[Array, "frames vertices 3"]:
    if clip.template is None:
        raise VertexFileError("the baseline 'still' needs a template")
    return _standing(clip.template, clip)


def _standing(face: Float32[Array, "vertices 3"], clip: TrueClip) -> Float32[Array, "frames vertices 3"]:
    return np.repeat(face[None], len(clip.vertices), axis=0)


def _mean_face(truth: GroundTruth) -> Float32[Array, "vertices 3"]:
    """(V, 3) mean over all frames of all clips of the first one's mesh."""
    total: npt.NDArray[np.float64] | None = None
    frames = 0
    for clip in _readable(truth, truth.clip_ids):
        moved = clip.vertices.sum(axis=0, dtype=np.float64)
        if total is None or total.shape == moved.shape:
            total, frames = moved if total is None else total + moved, frames + len(clip.vertices)
    if total is None:
        raise VertexFileError("a mean face needs at least one clip that can be read")
    return np.asarray(total / frames, dtype=np.float32)


def _rings(truth: GroundTruth) -> dict[str, list[str]]:
    """Give each clip those of its language after it; a language with a single clip borrows from all."""
    clip_ids = list(truth.clip_ids)
    if len(clip_ids) < 2:
        raise VertexFileError("shuffling needs at least two clips")
    by_language: dict[str, list[str]] = {}
    for clip_id in clip_ids:
        by_language.setdefault(truth.language(clip_id), []).append(clip_id)
    rings = {}
    for own in by_language.values():
        ring = own if len(own) > 1 else clip_ids
        for clip_id in own:
            place = ring.index(clip_id)
            rings[clip_id] = ring[place + 1 :] + ring[:place]
    return rings


def _next_clip(
    truth: GroundTruth, ring: Iterable[str], clip: TrueClip
) -> Float32[Array, "frames vertices 3"]:
    for other in _readable(truth, ring):
        if other.vertices.shape[1:] == clip.vertices.shape[1:]:
            return other.vertices
    raise VertexFileError("the baseline 'shuffled' found no other clip that can be read")


def _repeated(vertices: Float32[Array, "frames vertices 3"], frames: int) -> Float32[Array, "_ vertices 3"]:
    """Play motion forth and back until it is long enough: a cut would jerk."""
    there_and_back = np.concatenate([vertices, vertices[-2:0:-1]]) if len(vertices) > 2 else vertices
    return there_and_back[np.arange(frames) % len(there_and_back)]

"""Predictions that know nothing of the speech: what any model must beat, in the same folders as a model's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from eval.ground_truth import GroundTruth
from eval.vertex_files import VertexFileError

Float32Array = npt.NDArray[np.float32]
Baseline = Literal["still", "mean", "shuffled"]
BASELINES: dict[Baseline, str] = {
    "still": "the neutral face in every frame",
    "mean": "the mean face of all clips in every frame",
    "shuffled": "the true motion of another clip, of the same language where there is one",
}
"""What each baseline predicts."""


def write_baseline(
    name: Baseline, truth: GroundTruth, folder: Path, learnt_from: GroundTruth | None = None
) -> int:
    """Write a baseline's prediction of every clip as `<language>/<clip_id>.npy`, (T, V, 3) float32 metres.

    Parameters
    ----------
    name
        One of `BASELINES`.
    truth
        Gives the clips, their lengths and templates.
    folder
        To write to; made where it is not there.
    learnt_from
        Clips that the mean face is taken of, such as those a model was trained on; None takes `truth`, whose
        own mean no model can know.

    Returns
    -------
    int
        Clips written.

    Raises
    ------
    VertexFileError
        A clip has no template, or there are too few clips to shuffle.
    """
    clip_ids = list(truth.clip_ids)
    mean = _mean_face(learnt_from or truth) if name == "mean" else None
    others = _partners(truth, clip_ids) if name == "shuffled" else {}
    for clip_id in clip_ids:
        clip = truth.load(clip_id)
        if name == "shuffled":
            prediction = _repeated(truth.load(others[clip_id]).vertices, len(clip.vertices))
        else:
            face = mean if mean is not None else clip.template
            if face is None:
                raise VertexFileError(f"{clip_id}: the baseline {name!r} needs a template")
            prediction = np.repeat(face[None], len(clip.vertices), axis=0)
        path = folder / clip.language / f"{clip_id}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, prediction.astype(np.float32))
    return len(clip_ids)


def _mean_face(truth: GroundTruth) -> Float32Array:
    """(V, 3) mean over all frames of all clips."""
    total, frames = 0.0, 0
    for clip_id in truth.clip_ids:
        vertices = truth.load(clip_id).vertices
        total, frames = total + vertices.sum(axis=0, dtype=np.float64), frames + len(vertices)
    return np.asarray(total / max(1, frames), dtype=np.float32)


def _partners(truth: GroundTruth, clip_ids: Sequence[str]) -> dict[str, str]:
    """Give each clip the next one of its language; a language with a single clip borrows from all."""
    if len(clip_ids) < 2:
        raise VertexFileError("shuffling needs at least two clips")
    by_language: dict[str, list[str]] = {}
    for clip_id in clip_ids:
        by_language.setdefault(truth.load(clip_id).language, []).append(clip_id)
    partners = {}
    for own in by_language.values():
        ring = own if len(own) > 1 else list(clip_ids)
        partners.update({clip_id: ring[(ring.index(clip_id) + 1) % len(ring)] for clip_id in own})
    return partners


def _repeated(vertices: Float32Array, frames: int) -> Float32Array:
    """Play motion forth and back until it is long enough: a cut would jerk."""
    there_and_back = np.concatenate([vertices, vertices[-2:0:-1]]) if len(vertices) > 2 else vertices
    return there_and_back[np.arange(frames) % len(there_and_back)]

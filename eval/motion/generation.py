"""Metrics of models that sample, of codebooks, and of speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from multitalk.eval.motion.distances import lip_vertex_error_squared

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float, Integer


def mean_estimate_error(
    ground_truth: Float[Array, "frames vertices 3"],
    samples: Float[Array, "samples frames vertices 3"],
    lip_vertices: Integer[Array, " lips"],
) -> float:
    """LVE (squared) of the mean of several samples (ProbTalk3D's MEE).

    Parameters
    ----------
    ground_truth
        (T, V, 3) metres.
    samples
        (N, T, V, 3) predictions for the same audio.
    lip_vertices
        Vertex ids.

    Returns
    -------
    float
        Square metres.
    """
    return lip_vertex_error_squared(ground_truth, samples.mean(axis=0), lip_vertices)


def coverage_error(
    ground_truth: Float[Array, "frames vertices 3"],
    samples: Sequence[Float[Array, "frames vertices 3"]] | Float[Array, "samples frames vertices 3"],
    lip_vertices: Integer[Array, " lips"],
) -> float:
    """LVE (squared) of the closest sample (ProbTalk3D's CE); parameters as `mean_estimate_error`."""
    return min(lip_vertex_error_squared(ground_truth, sample, lip_vertices) for sample in samples)


def diversity(samples: Float[Array, "samples ..."]) -> float:
    """Mean vertex distance between samples, over all pairs of them.

    ProbTalk3D pairs ten samples at random; the mean over all pairs is what that draw estimates.

    Parameters
    ----------
    samples
        (N, T, V, 3) metres, N >= 2.

    Returns
    -------
    float
        Metres.

    Raises
    ------
    ValueError
        There are fewer than two samples.
    """
    if len(samples) < 2:
        raise ValueError("diversity needs at least two samples")
    distances = [
        float(np.linalg.norm(samples[i] - samples[j], axis=-1).mean(dtype=np.float64))
        for i in range(len(samples))
        for j in range(i)
    ]
    return float(np.mean(distances))


def codebook_perplexity(codes: Integer[Array, " ..."], codebook_size: int) -> float:
    """Exponential of the entropy of code use: `codebook_size` when all are used alike, 1 when only one is.

    Parameters
    ----------
    codes
        Any shape, values below `codebook_size`.
    codebook_size
        Number of codes.
    """
    share = _shares(codes, codebook_size)
    used = share[share > 0]
    return float(np.exp(-(used * np.log(used)).sum()))


def codebook_usage(codes: Integer[Array, " ..."], codebook_size: int) -> float:
    """Share of the codebook that occurs at all, 0..1; parameters as `codebook_perplexity`."""
    return float((_shares(codes, codebook_size) > 0).mean())


def _shares(codes: Integer[Array, " ..."], codebook_size: int) -> npt.NDArray[np.float64]:
    flat = np.asarray(codes).reshape(-1)
    if flat.size == 0 or flat.min() < 0 or flat.max() >= codebook_size:
        raise ValueError(f"codes must be 0..{codebook_size - 1} and at least one")
    return np.bincount(flat, minlength=codebook_size) / flat.size


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a model turns speech into motion; means nothing without the machine beside it."""

    real_time_factor: float
    """Seconds of work for a second of speech: below 1 is faster than speech."""
    latency_sec: float
    """Median time until the whole result of a clip is there."""
    frames_per_second: float
    device: str


def speed_of(seconds: Sequence[float], frames: Sequence[int], fps: float, device: str) -> Speed:
    """Sum up how long a model worked on clips, one after the other.

    Parameters
    ----------
    seconds
        Of work on each clip, from its sound to the whole of its motion.
    frames
        Of each clip.
    fps
        Frames a second of speech.
    device
        What it ran on, as the table shall name it.

    Raises
    ------
    ValueError
        There are no clips.
    """
    if not frames:
        raise ValueError("there is no clip that the model was timed on")
    spent = sum(seconds)
    return Speed(spent * fps / sum(frames), float(np.median(seconds)), sum(frames) / spent, device)

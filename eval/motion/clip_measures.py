"""Measure all models on one clip: what is read, measured and skipped of it, without its vertices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multitalk.eval.ground_truth import GroundTruth, TrueClip, read_template
from multitalk.eval.motion.baselines import Predict
from multitalk.eval.motion.catalog import choose_metrics
from multitalk.eval.motion.closures import Closures, read_closures
from multitalk.eval.motion.generation import coverage_error, diversity, mean_estimate_error
from multitalk.eval.motion.lip_trajectory import lip_displacement
from multitalk.eval.motion.metric import Metric, MotionPair, gather
from multitalk.eval.motion.pooling import ClipScore
from multitalk.eval.motion.regions import FaceRegions, regions_for
from multitalk.eval.settings import MotionEvaluationSettings
from multitalk.eval.vertex_files import (
    VertexFile,
    VertexFileError,
    find_vertex_files,
    read_vertices,
)
from multitalk.manifests.media import MediaError, read_sound

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float, Float32, Integer

TRUTH = "ground truth"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A clip that was left out of a model's figures, and why."""

    model: str
    clip_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class LoudnessAndLips:
    """A clip's sound beside its true lips."""

    loudness: float
    """Root mean square of its samples."""
    displacement: float
    """Of the true lips, as `lip_displacement` gives it."""
    source: str


@dataclass(frozen=True, slots=True)
class ModelMeasures:
    """What was found of one model on one clip."""

    score: ClipScore
    displacement: float
    cut: bool
    """Prediction or truth was cut to the other's length."""
    sampled: dict[str, float] | None
    """Where there are samples: diversity (mm), coverage_error and mean_estimate_error (m^2)."""


@dataclass(frozen=True, slots=True)
class ClipMeasures:
    """What was found of one clip."""

    speech: LoudnessAndLips | None
    models: dict[str, ModelMeasures]
    skipped: list[Skipped]


@dataclass(frozen=True, slots=True)
class EvaluationSetup:
    """What is measured of every clip, and where its predictions lie."""

    truth: GroundTruth
    files: dict[str, dict[str, VertexFile]]
    """Of each model, by clip."""
    samples_of: Mapping[str, Callable[[TrueClip], list[Float32[Array, "frames vertices 3"]]]]
    """Of each model, what it predicts for a clip: samples (T, V, 3), metres."""
    regions: FaceRegions
    metrics: tuple[Metric, ...]
    unmeasured: dict[str, str]
    """Why each other metric can not be."""
    template: Float[Array, "vertices 3"] | None
    """Of all clips; None takes each clip's own."""
    closures: Closures
    settings: MotionEvaluationSettings

    @classmethod
    def make(
        cls,
        truth: GroundTruth,
        predictions: Mapping[str, Path | Predict],
        settings: MotionEvaluationSettings,
    ) -> EvaluationSetup:
        """Look at the folders and at the first clip that can be read.

        Raises
        ------
        VertexFileError, RegionError, ValueError
            A folder, the template, the regions or a metric's name can not be used, or no clip can be read.
        """
        files = {n: find_vertex_files(place) for n, place in predictions.items() if isinstance(place, Path)}
        samples_of = {
            name: partial(_read_samples, files[name], settings.metres_per_unit)
            if isinstance(of, Path)
            else partial(_single_sample, of)
            for name, of in predictions.items()
        }
        closures = read_closures(settings.closures) if settings.closures else {}
        template = read_template(settings.template, settings.metres_per_unit) if settings.template else None
        first = _first_clip(truth)
        regions = regions_for(first.vertices.shape[1], settings.masks, settings.regions, truth.head_model)
        chosen = choose_metrics(settings.metrics)
        has_template = template is not None or first.template is not None
        lacks = {m.name: m.missing(regions, template=has_template) for m in chosen}
        unmeasured = {name: reason for name, reason in lacks.items() if reason is not None}
        metrics = tuple(m for m in chosen if m.name not in unmeasured)
        return cls(truth, files, samples_of, regions, metrics, unmeasured, template, closures, settings)

    def measure(self, clip_id: str) -> ClipMeasures:
        """Measure every model on one clip; what can not be read is among the skipped."""
        try:
            clip = self.truth.load(clip_id)
            if clip.vertices.shape[1] != self.regions.vertex_count:
                raise VertexFileError(
                    f"{clip.vertices.shape[1]} vertices, the first clip has {self.regions.vertex_count}"
                )
        except (VertexFileError, KeyError, OSError) as error:
            return ClipMeasures(None, {}, [Skipped(TRUTH, clip_id, str(error))])
        skipped: list[Skipped] = []
        speech = None
        try:
            speech = _speech(clip, self.regions.lips.vertices)
        except MediaError as error:
            skipped.append(Skipped(TRUTH, clip_id, f"its sound: {error}"))
        models: dict[str, ModelMeasures] = {}
        for name in self.samples_of:
            try:
                models[name] = self._measure_model(name, clip)
            except (VertexFileError, ValueError) as error:
                skipped.append(Skipped(name, clip_id, str(error)))
        return ClipMeasures(speech, models, skipped)

    def _measure_model(self, name: str, clip: TrueClip) -> ModelMeasures:
        true, samples, was_cut = fit_lengths(
            clip.vertices, self.samples_of[name](clip), self.settings.length_tolerance
        )
        template = clip.template if self.template is None else self.template
        spans = self.closures.get(clip.clip_id)
        closures = None if spans is None else [(int(a * clip.fps), int(b * clip.fps)) for a, b in spans]
        pair = MotionPair(true, samples[0], self.regions, template, clip.fps, closures)
        means = {metric.name: float(np.mean(metric.measure(pair))) for metric in self.metrics}
        return ModelMeasures(
            ClipScore(clip.clip_id, clip.language, clip.source, len(true), means),
            lip_displacement(pair.lips[1]),
            was_cut,
            _of_samples(true, samples, self.regions.lips.vertices) if len(samples) > 1 else None,
        )


def _read_samples(
    files: Mapping[str, VertexFile], metres_per_unit: float, clip: TrueClip
) -> list[Float32[Array, "frames vertices 3"]]:
    if clip.clip_id not in files:
        raise VertexFileError("no prediction")
    return [read_vertices(path, metres_per_unit) for path in files[clip.clip_id].paths]


def _single_sample(predict: Predict, clip: TrueClip) -> list[Float32[Array, "frames vertices 3"]]:
    return [predict(clip)]


def fit_lengths(
    true: Float32[Array, "frames vertices 3"],
    samples: Sequence[Float32[Array, "_ vertices 3"]],
    tolerance: int,
) -> tuple[Float32[Array, "_ vertices 3"], list[Float32[Array, "frames vertices 3"]], bool]:
    """Cut sequences to the shortest one, and say whether any was.

    Raises
    ------
    ValueError
        They differ by more frames than `tolerance`.
    """
    lengths = [len(true), *(len(sample) for sample in samples)]
    if max(lengths) - min(lengths) > tolerance:
        raise ValueError(f"{lengths[1]} frames, the ground truth has {lengths[0]}")
    shortest = min(lengths)
    return true[:shortest], [sample[:shortest] for sample in samples], max(lengths) > shortest


def _first_clip(truth: GroundTruth) -> TrueClip:
    reasons: list[str] = []
    for clip_id in truth.clip_ids:
        try:
            return truth.load(clip_id)
        except (VertexFileError, KeyError, OSError) as error:
            reasons.append(f"{clip_id}: {error}")
    raise ValueError(nothing_measured(reasons))


def nothing_measured(reasons: Sequence[str]) -> str:
    """Say that there is no figure at all, and why."""
    return f"not one clip could be measured ({'; '.join(reasons[:3]) or 'the ground truth has no clips'})"


def _speech(clip: TrueClip, lips: Integer[Array, " lips"]) -> LoudnessAndLips | None:
    if clip.sound is None:
        return None
    loudness = float(np.sqrt(np.mean(read_sound(clip.sound).astype(np.float64) ** 2)))
    return LoudnessAndLips(loudness, lip_displacement(gather(clip.vertices, lips)), clip.source)


def _of_samples(
    true: Float[Array, "frames vertices 3"],
    samples: Sequence[Float[Array, "frames vertices 3"]],
    lips: Integer[Array, " lips"],
) -> dict[str, float]:
    drawn = np.stack(samples)
    return {
        "mean_estimate_error": mean_estimate_error(true, drawn, lips),
        "coverage_error": coverage_error(true, drawn, lips),
        "diversity": 1000 * diversity(drawn),
    }

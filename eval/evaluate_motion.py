"""Evaluate folders of predicted vertices against the truth: every metric, pooled, tested, with what was skipped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eval.catalog import choose_metrics
from eval.closures import Closures, read_closures
from eval.generation import coverage_error, diversity, mean_estimate_error
from eval.ground_truth import GroundTruth, TrueClip, read_template
from eval.lip_trajectory import lip_displacement, speech_lip_correlation
from eval.metric import FloatArray, Metric, MotionPair, gather
from eval.pooling import Bootstrap, ClipScore, Figure, PairedTest, paired_tests, pool
from eval.regions import FaceRegions, regions_for
from eval.settings import MotionEvaluationSettings
from eval.vertex_files import VertexFile, VertexFileError, find_vertex_files, read_vertices
from manifests.media import MediaError, read_sound

Progress = Callable[[int, int], None]
TRUTH = "ground truth"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A clip that was left out of a model's figures, and why."""

    model: str
    clip_id: str
    reason: str


@dataclass(slots=True)
class MotionEvaluation:
    """Everything that an evaluation found."""

    metrics: tuple[Metric, ...]
    """Those that could be measured."""
    unmeasured: dict[str, str]
    """Why each other metric could not."""
    regions: FaceRegions
    scores: dict[str, list[ClipScore]]
    figures: dict[str, list[Figure]]
    tests: list[PairedTest]
    speech_lip: dict[str, float]
    """SLCC by model, and of the truth; empty without sounds."""
    sampled: dict[str, dict[str, float]]
    """Of models with samples: diversity (mm), coverage_error and mean_estimate_error (m^2), means over clips."""
    skipped: list[Skipped]
    cut: dict[str, int]
    """By model: clips whose prediction or truth was cut to the other's length."""


@dataclass(slots=True)
class _ModelRecord:
    """What is gathered of one model while clips go by."""

    files: dict[str, VertexFile]
    scores: list[ClipScore] = field(default_factory=list)
    displacement: dict[str, float] = field(default_factory=dict)
    samples: list[tuple[float, float, float]] = field(default_factory=list)
    cut: int = 0


def evaluate_motion(
    truth: GroundTruth,
    predictions: Mapping[str, Path],
    settings: MotionEvaluationSettings,
    progress: Progress | None = None,
) -> MotionEvaluation:
    """Measure models on the clips of a ground truth, one clip in memory at a time.

    Parameters
    ----------
    truth
        `FolderTruth` or `ReleaseTruth`.
    predictions
        Folder of vertex files by model name.
    settings
    progress
        Called with clips done and clips in all.

    Raises
    ------
    VertexFileError, RegionError, ValueError
        A folder, the regions, the template or a metric's name can not be used, or no clip could be
        measured.
    """
    models = {name: _ModelRecord(find_vertex_files(folder)) for name, folder in predictions.items()}
    closures = read_closures(settings.closures) if settings.closures else {}
    template = read_template(settings.template, settings.metres_per_unit) if settings.template else None
    clip_ids = list(truth.clip_ids)
    skipped = [
        Skipped(name, clip, "no ground truth")
        for name, model in models.items()
        for clip in sorted(model.files.keys() - set(clip_ids))
    ]
    plan: _Plan | None = None
    sounds: dict[str, tuple[float, float, str]] = {}
    for done, clip_id in enumerate(clip_ids):
        if progress is not None:
            progress(done, len(clip_ids))
        try:
            clip = truth.load(clip_id)
        except (VertexFileError, KeyError, OSError) as error:
            skipped.append(Skipped(TRUTH, clip_id, str(error)))
            continue
        if plan is None:
            has_template = template is not None or clip.template is not None
            plan = _Plan.make(clip.vertices.shape[1], settings, has_template)
        _measure_clip(clip, models, plan, settings, template, closures, skipped, sounds)
    if plan is None or not any(model.scores for model in models.values()):
        reasons = "; ".join(f"{s.clip_id}: {s.reason}" for s in skipped[:3])
        raise ValueError(f"not one clip could be measured ({reasons or 'the ground truth has no clips'})")
    return _conclude(models, plan, settings, skipped, sounds)


@dataclass(frozen=True, slots=True)
class _Plan:
    regions: FaceRegions
    metrics: tuple[Metric, ...]
    unmeasured: dict[str, str]

    @classmethod
    def make(cls, vertex_count: int, settings: MotionEvaluationSettings, has_template: bool) -> _Plan:
        regions = regions_for(vertex_count, settings.masks, settings.regions)
        chosen = choose_metrics(settings.metrics)
        lacks = {m.name: m.missing(regions, template=has_template) for m in chosen}
        unmeasured = {name: reason for name, reason in lacks.items() if reason is not None}
        return cls(regions, tuple(m for m in chosen if m.name not in unmeasured), unmeasured)


def _measure_clip(
    clip: TrueClip,
    models: Mapping[str, _ModelRecord],
    plan: _Plan,
    settings: MotionEvaluationSettings,
    template: FloatArray | None,
    closures: Closures,
    skipped: list[Skipped],
    sounds: dict[str, tuple[float, float, str]],
) -> None:
    lips = plan.regions.lips.vertices
    if clip.sound is not None:
        try:
            loudness = float(np.sqrt(np.mean(read_sound(clip.sound).astype(np.float64) ** 2)))
            sounds[clip.clip_id] = (loudness, lip_displacement(gather(clip.vertices, lips)), clip.source)
        except MediaError as error:
            skipped.append(Skipped(TRUTH, clip.clip_id, f"its sound: {error}"))
    for name, model in models.items():
        if clip.clip_id not in model.files:
            skipped.append(Skipped(name, clip.clip_id, "no prediction"))
            continue
        try:
            samples = [read_vertices(p, settings.metres_per_unit) for p in model.files[clip.clip_id].paths]
            true, samples, was_cut = fit_lengths(clip.vertices, samples, settings.length_tolerance)
            own = clip.template if template is None else template
            pair = MotionPair(true, samples[0], plan.regions, own, clip.fps, _frames_of(closures, clip))
        except (VertexFileError, ValueError) as error:
            skipped.append(Skipped(name, clip.clip_id, str(error)))
            continue
        means = {metric.name: float(np.mean(metric.measure(pair))) for metric in plan.metrics}
        model.scores.append(ClipScore(clip.clip_id, clip.language, clip.source, len(true), means))
        model.displacement[clip.clip_id] = lip_displacement(pair.lips[1])
        model.cut += was_cut
        if len(samples) > 1:
            drawn = np.stack(samples)
            errors = mean_estimate_error(true, drawn, lips), coverage_error(true, drawn, lips)
            model.samples.append((*errors, diversity(drawn)))


def _frames_of(closures: Closures, clip: TrueClip) -> list[tuple[int, int]] | None:
    """First and last frame of a clip's closures; None where no transcript tells."""
    spans = closures.get(clip.clip_id)
    return None if spans is None else [(int(start * clip.fps), int(end * clip.fps)) for start, end in spans]


def fit_lengths(
    true: FloatArray, samples: Sequence[FloatArray], tolerance: int
) -> tuple[FloatArray, list[FloatArray], bool]:
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


def _conclude(
    models: Mapping[str, _ModelRecord],
    plan: _Plan,
    settings: MotionEvaluationSettings,
    skipped: list[Skipped],
    sounds: Mapping[str, tuple[float, float, str]],
) -> MotionEvaluation:
    bootstrap = Bootstrap(settings.bootstrap_draws, settings.confidence, settings.seed)
    scores = {name: model.scores for name, model in models.items()}
    displacements = {TRUTH: {clip: value[1] for clip, value in sounds.items()}}
    displacements |= {name: model.displacement for name, model in models.items()}
    return MotionEvaluation(
        metrics=plan.metrics,
        unmeasured=plan.unmeasured,
        regions=plan.regions,
        scores=scores,
        figures={
            name: [f for m in plan.metrics for f in pool(own, m, bootstrap)] for name, own in scores.items()
        },
        tests=paired_tests(scores, plan.metrics, bootstrap),
        speech_lip={name: _speech_lip(own, sounds) for name, own in displacements.items()} if sounds else {},
        sampled={name: _sampled(model.samples) for name, model in models.items() if model.samples},
        skipped=skipped,
        cut={name: model.cut for name, model in models.items() if model.cut},
    )


def _speech_lip(displacement: Mapping[str, float], sounds: Mapping[str, tuple[float, float, str]]) -> float:
    clips = sorted(displacement.keys() & sounds.keys())
    loudness = np.array([sounds[clip][0] for clip in clips])
    moved = np.array([displacement[clip] for clip in clips])
    return speech_lip_correlation(loudness, moved, [sounds[clip][2] for clip in clips])


def _sampled(samples: Sequence[tuple[float, float, float]]) -> dict[str, float]:
    mean_estimate, coverage, spread = np.mean(np.array(samples), axis=0)
    return {
        "mean_estimate_error": float(mean_estimate),
        "coverage_error": float(coverage),
        "diversity": 1000 * float(spread),
    }

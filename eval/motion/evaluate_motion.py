"""Evaluate folders of predicted vertices against the truth: every metric, pooled, tested, with what was skipped."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multitalk.eval.ground_truth import GroundTruth
from multitalk.eval.motion.baselines import Predict
from multitalk.eval.motion.clip_measures import (
    TRUTH,
    ClipMeasures,
    EvaluationSetup,
    LoudnessAndLips,
    ModelMeasures,
    Skipped,
    nothing_measured,
)
from multitalk.eval.motion.lip_trajectory import speech_lip_correlation
from multitalk.eval.motion.metric import Metric
from multitalk.eval.motion.pooling import Bootstrap, ClipScore, Figure, PairedTest, paired_tests, pool
from multitalk.eval.motion.regions import FaceRegions
from multitalk.eval.settings import MotionEvaluationSettings

Progress = Callable[[int, int], None]

CLIPS_AT_ONCE = 4
"""At most, one a core: each holds the truth and one model's prediction, some 20 MB."""


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


def evaluate_motion(
    truth: GroundTruth,
    predictions: Mapping[str, Path | Predict],
    settings: MotionEvaluationSettings,
    progress: Progress | None = None,
) -> MotionEvaluation:
    """Measure models on the clips of a ground truth, as many clips at a time as there are cores.

    Parameters
    ----------
    truth
        `FolderTruth` or `ReleaseTruth`.
    predictions
        By model: its folder of vertex files, or what predicts without files (`multitalk.eval.motion.baselines`).
    settings
    progress
        Called with clips done and clips in all.

    Raises
    ------
    VertexFileError, RegionError, ValueError
        A folder, the regions, the template or a metric's name can not be used, or no clip could be
        measured.
    """
    setup = EvaluationSetup.make(truth, predictions, settings)
    clip_ids = list(truth.clip_ids)
    skipped = [
        Skipped(name, clip, "no ground truth")
        for name, files in setup.files.items()
        for clip in sorted(files.keys() - set(clip_ids))
    ]
    models: dict[str, list[ModelMeasures]] = {name: [] for name in predictions}
    speeches: dict[str, LoudnessAndLips] = {}
    with closing(_measured(setup, clip_ids)) as measured:
        for done, (clip_id, clip) in enumerate(zip(clip_ids, measured, strict=True), start=1):
            if progress is not None:
                progress(done, len(clip_ids))
            skipped += clip.skipped
            for name, measures in clip.models.items():
                models[name].append(measures)
            if clip.speech is not None:
                speeches[clip_id] = clip.speech
    if not any(models.values()):
        raise ValueError(nothing_measured([f"{s.clip_id}: {s.reason}" for s in skipped]))
    return _conclude(setup, models, speeches, skipped)


def _measured(setup: EvaluationSetup, clip_ids: Sequence[str]) -> Generator[ClipMeasures]:
    """Measure clips on all cores, and give them in their order; closed early, it begins no further ones."""
    with ThreadPoolExecutor(min(CLIPS_AT_ONCE, os.cpu_count() or 1)) as threads:
        yield from threads.map(setup.measure, clip_ids)


def _conclude(
    setup: EvaluationSetup,
    models: Mapping[str, Sequence[ModelMeasures]],
    speeches: Mapping[str, LoudnessAndLips],
    skipped: list[Skipped],
) -> MotionEvaluation:
    settings = setup.settings
    bootstrap = Bootstrap(settings.bootstrap_draws, settings.confidence, settings.seed)
    scores = {name: [m.score for m in own] for name, own in models.items()}
    displacements = {TRUTH: {clip: speech.displacement for clip, speech in speeches.items()}}
    displacements |= {name: {m.score.clip_id: m.displacement for m in own} for name, own in models.items()}
    sampled = {name: [m.sampled for m in own if m.sampled] for name, own in models.items()}
    cut = {name: sum(m.cut for m in own) for name, own in models.items()}
    return MotionEvaluation(
        metrics=setup.metrics,
        unmeasured=setup.unmeasured,
        regions=setup.regions,
        scores=scores,
        figures={name: pool(own, setup.metrics, bootstrap) for name, own in scores.items()},
        tests=paired_tests(scores, setup.metrics, bootstrap),
        speech_lip={n: _speech_lip(own, speeches) for n, own in displacements.items()} if speeches else {},
        sampled={name: _means(own) for name, own in sampled.items() if own},
        skipped=skipped,
        cut={name: count for name, count in cut.items() if count},
    )


def _speech_lip(displacement: Mapping[str, float], speeches: Mapping[str, LoudnessAndLips]) -> float:
    clips = sorted(displacement.keys() & speeches.keys())
    loudness = np.array([speeches[clip].loudness for clip in clips])
    moved = np.array([displacement[clip] for clip in clips])
    return speech_lip_correlation(loudness, moved, [speeches[clip].source for clip in clips])


def _means(clips: Iterable[Mapping[str, float]]) -> dict[str, float]:
    rows = list(clips)
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}

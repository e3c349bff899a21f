"""From figures of clips to figures of models: pooled means with bootstrap intervals, and paired tests.

A mean over frames, over clips and over languages are three numbers; papers rarely say which they print.
Clips of one source video resemble each other, so the bootstrap draws source videos, not clips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from eval.metric import Metric

Float64Array = npt.NDArray[np.float64]
Pooling = Literal["frame", "clip", "language"]


@dataclass(frozen=True, slots=True)
class ClipScore:
    """What was measured on one clip of one model."""

    clip_id: str
    language: str
    source: str
    frames: int
    means: Mapping[str, float]
    """By metric: mean over the clip's frames, in SI units, before `Metric.finish`; NaN where undefined."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a table."""

    metric: str
    group: str
    """`all`, or a language."""
    pooling: Pooling
    value: float
    low: float
    high: float
    """Bounds of the bootstrap interval; NaN with a single source video."""
    clips: int
    frames: int


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Whether two models differ in a metric on the clips that both have."""

    metric: str
    model: str
    other: str
    clips: int
    difference: float
    """Mean over clips of `model` minus `other`, in the metric's unit."""
    low: float
    high: float
    p_value: float
    """Wilcoxon's signed-rank test, two-sided; 1 where no clip differs."""
    adjusted: float
    """After Holm's correction over all tests made together."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How intervals are made."""

    draws: int = 1000
    confidence: float = 0.95
    seed: int = 0

    def weights(self, sources: Sequence[str]) -> Float64Array:
        """(draws, N) how often each of N clips is in each draw of as many sources as there are."""
        _, index = np.unique(np.asarray(sources), return_inverse=True)
        count = int(index.max()) + 1
        drawn = np.random.default_rng(self.seed).multinomial(count, np.full(count, 1 / count), self.draws)
        return np.asarray(drawn[:, index], dtype=np.float64)

    def interval(self, values: Float64Array, sources: Sequence[str]) -> tuple[float, float]:
        """Bounds of the draws' values; NaN where a single source leaves nothing to draw from."""
        usable = values[np.isfinite(values)]
        if len(set(sources)) < 2 or len(usable) == 0:
            return float("nan"), float("nan")
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(usable, [tail, 1 - tail])
        return float(low), float(high)


def pool(scores: Sequence[ClipScore], metric: Metric, bootstrap: Bootstrap) -> list[Figure]:
    """Pool one metric of one model: over all frames, clips and languages, and within each language.

    Clips on which the metric is undefined are left out, and `clips` says how many were not.
    """
    usable = [s for s in scores if np.isfinite(s.means.get(metric.name, np.nan))]
    if not usable:
        return []
    languages = sorted({s.language for s in usable})
    figures = [_figure(usable, metric, "all", pooling, bootstrap) for pooling in ("frame", "clip")]
    if len(languages) > 1:
        figures.append(_figure(usable, metric, "all", "language", bootstrap))
        for language in languages:
            own = [s for s in usable if s.language == language]
            group = language or "unknown"
            figures += [_figure(own, metric, group, pooling, bootstrap) for pooling in ("frame", "clip")]
    return figures


def paired_tests(
    models: Mapping[str, Sequence[ClipScore]], metrics: Sequence[Metric], bootstrap: Bootstrap
) -> list[PairedTest]:
    """Compare every pair of models in every metric; Holm's correction spans all of them."""
    names = list(models)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    tests = [t for a, b in pairs for m in metrics if (t := _test(models, a, b, m, bootstrap)) is not None]
    adjusted = _holm([test.p_value for test in tests])
    return [
        PairedTest(t.metric, t.model, t.other, t.clips, t.difference, t.low, t.high, t.p_value, q)
        for t, q in zip(tests, adjusted, strict=True)
    ]


def _figure(
    scores: Sequence[ClipScore], metric: Metric, group: str, pooling: Pooling, bootstrap: Bootstrap
) -> Figure:
    means = np.array([s.means[metric.name] for s in scores])
    frames = np.array([s.frames for s in scores], dtype=np.float64)
    sources = [s.source for s in scores]
    draws = bootstrap.weights(sources)
    ones = np.ones((1, len(scores)))
    if pooling == "frame":
        value, drawn = (_finish(metric, _ratio(w * frames, means)) for w in (ones, draws))
    elif pooling == "clip":
        value, drawn = (_ratio(w, _finish(metric, means)) for w in (ones, draws))
    else:
        finished = _finish(metric, means)
        value, drawn = (_language_means(w, finished, [s.language for s in scores]) for w in (ones, draws))
    low, high = bootstrap.interval(drawn, sources)
    return Figure(metric.name, group, pooling, float(value[0]), low, high, len(scores), int(frames.sum()))


def _finish(metric: Metric, means: Float64Array) -> Float64Array:
    return np.asarray((np.sqrt(means) if metric.root else means) * metric.scale, dtype=np.float64)


def _ratio(weights: Float64Array, values: Float64Array) -> Float64Array:
    """(draws,) weighted means; NaN where a draw has no weight."""
    total = weights.sum(axis=1)
    means: Float64Array = np.divide(weights @ values, total, out=np.full(len(total), np.nan), where=total > 0)
    return means


def _language_means(weights: Float64Array, values: Float64Array, languages: Sequence[str]) -> Float64Array:
    """(draws,) mean of the languages' means; a language that a draw lacks is left out of its mean."""
    names = np.asarray(languages)
    columns = [_ratio(weights[:, names == name], values[names == name]) for name in sorted(set(languages))]
    return np.asarray(np.nanmean(np.stack(columns), axis=0))


def _test(
    models: Mapping[str, Sequence[ClipScore]], a: str, b: str, metric: Metric, bootstrap: Bootstrap
) -> PairedTest | None:
    from scipy.stats import wilcoxon

    first, second = ({s.clip_id: s for s in models[name]} for name in (a, b))
    both = sorted(first.keys() & second.keys())
    values = np.array([[m[clip].means.get(metric.name, np.nan) for m in (first, second)] for clip in both])
    usable = np.isfinite(values).all(axis=1) if both else np.zeros(0, bool)
    if usable.sum() < 2:
        return None
    figures = _finish(metric, values[usable])
    difference = figures[:, 0] - figures[:, 1]
    sources = [first[clip].source for clip, keep in zip(both, usable, strict=True) if keep]
    drawn = _ratio(bootstrap.weights(sources), difference)
    p_value = float(wilcoxon(difference).pvalue) if np.any(difference) else 1.0
    interval = bootstrap.interval(drawn, sources)
    return PairedTest(
        metric.name, a, b, len(difference), float(difference.mean()), *interval, p_value, p_value
    )


def _holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the smallest of n is multiplied by n, the next by n - 1, never falling."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = highest
    return adjusted

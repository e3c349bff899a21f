"""From figures of clips to figures of models: pooled means with bootstrap intervals, and paired tests.

A mean over frames, over clips and over languages are three numbers; papers rarely say which they print.
Clips of one source video resemble each other, so the bootstrap draws source videos, not clips.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from multitalk.eval.motion.metric import Metric

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Bool, Float64

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

    def weights(self, sources: Sequence[str]) -> Float64[Array, "draws clips"]:
        """(draws, N) how often each of N clips is in each draw of as many sources as there are."""
        _, index = np.unique(np.asarray(sources), return_inverse=True)
        count = int(index.max()) + 1
        drawn = np.random.default_rng(self.seed).multinomial(count, np.full(count, 1 / count), self.draws)
        return np.asarray(drawn[:, index], dtype=np.float64)

    def interval(self, values: Float64[Array, " draws"], sources: Sequence[str]) -> tuple[float, float]:
        """Bounds of the draws' values; NaN where a single source leaves nothing to draw from."""
        usable = values[np.isfinite(values)]
        if len(set(sources)) < 2 or len(usable) == 0:
            return float("nan"), float("nan")
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(usable, [tail, 1 - tail])
        return float(low), float(high)


def pool(scores: Sequence[ClipScore], metrics: Sequence[Metric], bootstrap: Bootstrap) -> list[Figure]:
    """Pool one model's metrics: over all frames, clips and languages, and within each language.

    Clips on which a metric is undefined are left out of it, and `clips` says how many were not.
    """
    figures: dict[str, list[Figure]] = {metric.name: [] for metric in metrics}
    for chosen, own in _usable_alike(_means_of(scores, metrics), metrics):
        usable = [s for s, keep in zip(scores, chosen, strict=True) if keep]
        for group, clips, poolings in _groups(usable):
            draws = bootstrap.weights([s.source for s in clips])
            for metric in own:
                figures[metric.name] += [_figure(clips, metric, group, p, draws, bootstrap) for p in poolings]
    return [figure for metric in metrics for figure in figures[metric.name]]


def paired_tests(
    models: Mapping[str, Sequence[ClipScore]], metrics: Sequence[Metric], bootstrap: Bootstrap
) -> list[PairedTest]:
    """Compare every pair of models in every metric; Holm's correction spans all of them."""
    names = list(models)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    tests = [test for a, b in pairs for test in _compare(models, a, b, metrics, bootstrap)]
    adjusted = _holm([test.p_value for test in tests])
    return [replace(test, adjusted=p) for test, p in zip(tests, adjusted, strict=True)]


def _means_of(scores: Sequence[ClipScore], metrics: Sequence[Metric]) -> Float64[Array, "clips metrics"]:
    """(N, M) means of N clips by M metrics; NaN where undefined."""
    means = [[s.means.get(metric.name, np.nan) for metric in metrics] for s in scores]
    return np.array(means, dtype=np.float64).reshape(len(scores), len(metrics))


def _usable_alike(
    means: Float64[Array, "clips metrics"], metrics: Sequence[Metric]
) -> Iterator[tuple[Bool[Array, " clips"], list[Metric]]]:
    """Metrics that are defined on the same clips, (N,) and together: what is drawn of clips serves all of them."""
    defined = np.isfinite(means).T
    together: dict[bytes, list[int]] = {}
    for k, clips in enumerate(defined):
        together.setdefault(clips.tobytes(), []).append(k)
    for columns in together.values():
        yield defined[columns[0]], [metrics[k] for k in columns]


def _groups(scores: Sequence[ClipScore]) -> Iterator[tuple[str, list[ClipScore], tuple[Pooling, ...]]]:
    """All clips and those of each language, with the ways in which they are pooled; nothing of no clips."""
    languages = sorted({s.language for s in scores})
    if not languages:
        return
    yield "all", list(scores), ("frame", "clip", "language") if len(languages) > 1 else ("frame", "clip")
    for language in languages if len(languages) > 1 else ():
        yield language or "unknown", [s for s in scores if s.language == language], ("frame", "clip")


def _figure(
    scores: Sequence[ClipScore],
    metric: Metric,
    group: str,
    pooling: Pooling,
    draws: Float64[Array, "draws clips"],
    bootstrap: Bootstrap,
) -> Figure:
    means = np.array([s.means[metric.name] for s in scores])
    frames = np.array([s.frames for s in scores], dtype=np.float64)
    ones = np.ones((1, len(scores)))
    if pooling == "frame":
        value, drawn = (_finish(metric, _ratio(w, means, frames)) for w in (ones, draws))
    elif pooling == "clip":
        value, drawn = (_ratio(w, _finish(metric, means)) for w in (ones, draws))
    else:
        finished = _finish(metric, means)
        value, drawn = (_language_means(w, finished, [s.language for s in scores]) for w in (ones, draws))
    low, high = bootstrap.interval(drawn, [s.source for s in scores])
    return Figure(metric.name, group, pooling, float(value[0]), low, high, len(scores), int(frames.sum()))


def _finish(metric: Metric, means: Float64[Array, " ..."]) -> Float64[Array, " ..."]:
    return np.asarray((np.sqrt(means) if metric.root else means) * metric.scale, dtype=np.float64)


def _ratio(
    weights: Float64[Array, "draws clips"],
    values: Float64[Array, " clips"],
    frames: Float64[Array, " clips"] | None = None,
) -> Float64[Array, " draws"]:
    """(draws,) means weighted by draws and frames; NaN where a draw has no weight."""
    each = np.ones_like(values) if frames is None else frames
    sums, totals = weights @ (each * values), weights @ each
    means: npt.NDArray[np.float64] = np.divide(
        sums, totals, out=np.full(len(totals), np.nan), where=totals > 0
    )
    return means


def _language_means(
    weights: Float64[Array, "draws clips"], values: Float64[Array, " clips"], languages: Sequence[str]
) -> Float64[Array, " draws"]:
    """(draws,) mean of the languages' means; a language that a draw lacks is left out of its mean."""
    names = np.asarray(languages)
    columns = [_ratio(weights[:, names == name], values[names == name]) for name in sorted(set(languages))]
    return np.asarray(np.nanmean(np.stack(columns), axis=0))


def _compare(
    models: Mapping[str, Sequence[ClipScore]],
    a: str,
    b: str,
    metrics: Sequence[Metric],
    bootstrap: Bootstrap,
) -> list[PairedTest]:
    """Test two models in every metric, in the metrics' order, before the correction."""
    first, second = ({s.clip_id: s for s in models[name]} for name in (a, b))
    both = sorted(first.keys() & second.keys())
    means = [_means_of([own[clip] for clip in both], metrics) for own in (first, second)]
    tests: dict[str, PairedTest] = {}
    for chosen, own in _usable_alike(means[0] + means[1], metrics):
        if chosen.sum() < 2:
            continue
        sources = [first[clip].source for clip, keep in zip(both, chosen, strict=True) if keep]
        draws = bootstrap.weights(sources)
        for metric in own:
            column = list(metrics).index(metric)
            figures = [_finish(metric, side[chosen, column]) for side in means]
            difference = figures[0] - figures[1]
            interval = bootstrap.interval(_ratio(draws, difference), sources)
            tests[metric.name] = _test(metric.name, a, b, difference, interval)
    return [tests[metric.name] for metric in metrics if metric.name in tests]


def _test(
    metric: str, a: str, b: str, difference: Float64[Array, " clips"], interval: tuple[float, float]
) -> PairedTest:
    from scipy.stats import wilcoxon

    p_value = float(wilcoxon(difference).pvalue) if np.any(difference) else 1.0
    return PairedTest(metric, a, b, len(difference), float(difference.mean()), *interval, p_value, p_value)


def _holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the smallest of n is multiplied by n, the next by n - 1, never falling."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = highest
    return adjusted

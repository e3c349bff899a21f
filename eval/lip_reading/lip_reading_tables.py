"""Error rates of lip reading, pooled by the protocol: micro-averages with intervals, or the paper's means."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multitalk.eval.lip_reading.error_rates import ErrorCount, count_errors, normalise_text
from multitalk.eval.lip_reading.lip_reading import Readings, SpokenClip
from multitalk.eval.motion.pooling import Bootstrap
from multitalk.eval.settings import LipReadingSettings
from multitalk.eval.tables import Table


@dataclass(frozen=True, slots=True)
class LipReadingFigure:
    """Error rates of one row at one signal-to-noise ratio, shares of the reference with bounds."""

    row: str
    snr_db: float
    noise: str
    """A noise's name, or `all`."""
    word_error_rate: tuple[float, float, float]
    """Value, lower and upper bound; the paper's protocol has no bounds (NaN)."""
    character_error_rate: tuple[float, float, float]
    clips: int


@dataclass(frozen=True, slots=True)
class _Scored:
    clip_id: str
    source: str
    noise: str
    count: ErrorCount


def lip_reading_figures(
    clips: Sequence[SpokenClip], readings: Readings, settings: LipReadingSettings
) -> list[LipReadingFigure]:
    """Pool readings over the clips that every row has been read on.

    `fair` divides all errors by all reference words, over clips and noises, with a bootstrap over source
    videos. `multitalk` takes the mean over clips for each noise, then the mean over the noises.
    """
    grouped = _score(clips, readings, settings)
    noises = sorted({scored.noise for group in grouped.values() for scored in group})
    figures = []
    for (row, snr), group in grouped.items():
        for noise in ["all", *(noises if len(noises) > 1 else [])]:
            own = [scored for scored in group if noise in ("all", scored.noise)]
            figures.append(_figure(row, snr, noise, own, settings))
    return figures


def lip_reading_table(
    figures: Sequence[LipReadingFigure],
    settings: LipReadingSettings,
    *,
    detailed: bool,
    language: str = "",
    note: str = "",
) -> Table:
    """One line for each row and signal-to-noise ratio, and with `detailed` for each noise; rates in percent."""
    columns = ("row", "SNR dB", "noise", "WER %", "low", "high", "CER %", "CER low", "CER high", "clips")
    chosen = [f for f in figures if detailed or f.noise == "all"]
    rows = tuple(
        (f.row, f.snr_db, f.noise, *_percent(f.word_error_rate), *_percent(f.character_error_rate), f.clips)
        for f in chosen
    )
    title = ", ".join(filter(None, ["Lip reading", language, f"protocol {settings.protocol}"]))
    return Table(title, columns, rows, note)


def readings_table(
    clips: Sequence[SpokenClip], readings: Readings, settings: LipReadingSettings, language: str = ""
) -> Table:
    """Every reading beside its reference, both as they are compared, with the errors counted."""
    references = {clip.clip_id: normalise_text(clip.reference, settings.protocol) for clip in clips}
    rows = []
    for reading in readings.readings:
        text = normalise_text(reading.text, settings.protocol)
        count = count_errors(references[reading.clip_id], text)
        errors = (count.word_errors, count.words) if count is not None else (None, None)
        condition = (reading.clip_id, reading.row, reading.noise, reading.snr_db)
        rows.append((*condition, references[reading.clip_id], text, *errors))
    columns = ("clip", "row", "noise", "SNR dB", "reference", "read", "word errors", "words")
    return Table(", ".join(filter(None, ["Readings", language])), columns, tuple(rows))


def unread_table(
    clips: Sequence[SpokenClip], readings: Readings, settings: LipReadingSettings, language: str = ""
) -> Table | None:
    """List the clips that rates leave out, and why; None where there are none.

    Rates are over the clips that every row has been read on, and in which something is said.
    """
    rows = [(row, clip, why) for row, skipped in readings.skipped.items() for clip, why in skipped.items()]
    for clip in clips:
        if not normalise_text(clip.reference, settings.protocol):
            rows.append(("reference", clip.clip_id, "nothing is said in it"))
    title = ", ".join(filter(None, ["Not read", language]))
    return Table(title, ("row", "clip", "reason"), tuple(rows)) if rows else None


def _score(
    clips: Sequence[SpokenClip], readings: Readings, settings: LipReadingSettings
) -> dict[tuple[str, float], list[_Scored]]:
    by_id = {clip.clip_id: clip for clip in clips}
    references = {clip.clip_id: normalise_text(clip.reference, settings.protocol) for clip in clips}
    rows = {reading.row for reading in readings.readings}
    read_by: dict[str, set[str]] = defaultdict(set)
    for reading in readings.readings:
        read_by[reading.clip_id].add(reading.row)
    grouped: dict[tuple[str, float], list[_Scored]] = defaultdict(list)
    for reading in readings.readings:
        count = count_errors(references[reading.clip_id], normalise_text(reading.text, settings.protocol))
        if count is not None and read_by[reading.clip_id] == rows:
            source = by_id[reading.clip_id].source
            grouped[reading.row, reading.snr_db].append(
                _Scored(reading.clip_id, source, reading.noise, count)
            )
    return grouped


def _figure(
    row: str, snr: float, noise: str, scored: Sequence[_Scored], settings: LipReadingSettings
) -> LipReadingFigure:
    words = np.array([[s.count.word_errors, s.count.words] for s in scored], dtype=np.float64)
    characters = np.array([[s.count.character_errors, s.count.characters] for s in scored], dtype=np.float64)
    rates = []
    for counts in (words, characters):
        if settings.protocol == "multitalk":
            rates.append((_mean_of_means(counts, scored), float("nan"), float("nan")))
        else:
            rates.append(_micro_average(counts, [s.source for s in scored], settings))
    return LipReadingFigure(row, snr, noise, rates[0], rates[1], len({s.clip_id for s in scored}))


def _micro_average(
    counts: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    sources: Sequence[str],
    settings: LipReadingSettings,
) -> tuple[float, float, float]:
    bootstrap = Bootstrap(settings.bootstrap_draws, settings.confidence, settings.seed)
    drawn = bootstrap.weights(sources) @ counts
    low, high = bootstrap.interval(drawn[:, 0] / np.maximum(drawn[:, 1], 1), sources)
    return float(counts[:, 0].sum() / counts[:, 1].sum()), low, high


def _mean_of_means(
    counts: np.ndarray[tuple[int, ...], np.dtype[np.float64]], scored: Sequence[_Scored]
) -> float:
    by_noise: dict[str, list[float]] = defaultdict(list)
    for (errors, length), reading in zip(counts, scored, strict=True):
        by_noise[reading.noise].append(errors / length)
    return float(np.mean([np.mean(rates) for rates in by_noise.values()]))


def _percent(rate: tuple[float, float, float]) -> tuple[float, float, float]:
    return (100 * rate[0], 100 * rate[1], 100 * rate[2])

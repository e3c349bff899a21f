"""The tables of a motion evaluation."""

from __future__ import annotations

from multitalk.eval.motion.evaluate_motion import MotionEvaluation
from multitalk.eval.motion.pooling import Figure
from multitalk.eval.tables import Cell, Table

_WHOLE: dict[str, tuple[str, str, str]] = {
    "slcc": (
        "",
        "pearson over clips of speech RMS and mean lip step, z-normalised within each source video",
        "arXiv 2503.20308 (SLCC)",
    ),
    "diversity": ("mm", "mean over pairs of samples of mean_t,v |p_i - p_j|", "ProbTalk3D"),
    "coverage_error": ("m^2", "lowest LVE squared of the samples", "ProbTalk3D (CE)"),
    "mean_estimate_error": ("m^2", "LVE squared of the samples' mean", "ProbTalk3D (MEE)"),
}
"""Unit, formula and source of figures that a model has as a whole."""


def summary_table(evaluation: MotionEvaluation, pooling: str = "frame", group: str = "all") -> Table:
    """One row a metric, one column a model with its interval.

    Parameters
    ----------
    evaluation
    pooling
        `frame` (as the reference prints LVE), `clip` (as CodeTalker's script prints FDD) or `language`.
    group
        `all`, or a language.
    """
    models = list(evaluation.figures)
    rows = [
        (
            metric.name,
            metric.unit,
            metric.better,
            *(_cell(evaluation, m, metric.name, pooling, group) for m in models),
        )
        for metric in evaluation.metrics
    ]
    title = f"Motion, {group}, mean over {pooling}s"
    return Table(title, ("metric", "unit", "better", *models), tuple(rows))


def figures_table(evaluation: MotionEvaluation) -> Table:
    """Every figure: model, metric, group, pooling, value, interval, clips and frames, mask."""
    units = {metric.name: metric for metric in evaluation.metrics}
    rows = [
        (
            model,
            f.metric,
            units[f.metric].unit,
            f.group,
            f.pooling,
            f.value,
            f.low,
            f.high,
            f.clips,
            f.frames,
            units[f.metric].mask_label(evaluation.regions),
        )
        for model, figures in evaluation.figures.items()
        for f in figures
    ]
    columns = (
        "model",
        "metric",
        "unit",
        "group",
        "pooling",
        "value",
        "low",
        "high",
        "clips",
        "frames",
        "mask",
    )
    return Table("Figures", columns, tuple(rows))


def tests_table(evaluation: MotionEvaluation) -> Table:
    """Paired tests between models."""
    units = {metric.name: metric.unit for metric in evaluation.metrics}
    columns = ("model", "against", "metric", "unit", "difference", "low", "high", "p", "p adjusted", "clips")
    rows = tuple(
        (
            t.model,
            t.other,
            t.metric,
            units[t.metric],
            t.difference,
            t.low,
            t.high,
            t.p_value,
            t.adjusted,
            t.clips,
        )
        for t in evaluation.tests
    )
    return Table("Paired tests (Wilcoxon signed-rank, Holm)", columns, rows)


def legend_table(evaluation: MotionEvaluation) -> Table:
    """Say what each number means: formula, unit, mask with its hash, source; and why others are missing."""
    rows: list[tuple[Cell, ...]] = [
        (m.name, m.formula, m.unit, m.mask_label(evaluation.regions), m.source) for m in evaluation.metrics
    ]
    rows += [(name, "not measured", "", "", reason) for name, reason in evaluation.unmeasured.items()]
    return Table("Definitions", ("metric", "formula", "unit", "vertices", "source"), tuple(rows))


def extras_table(evaluation: MotionEvaluation) -> Table | None:
    """Figures of whole models: SLCC, and diversity and coverage of samples; None where there are none."""
    rows: list[tuple[Cell, ...]] = [
        (m, "slcc", value, *_WHOLE["slcc"]) for m, value in evaluation.speech_lip.items()
    ]
    rows += [(m, n, v, *_WHOLE[n]) for m, own in evaluation.sampled.items() for n, v in own.items()]
    columns = ("model", "metric", "value", "unit", "formula", "source")
    return Table("Whole models", columns, tuple(rows)) if rows else None


def skipped_table(evaluation: MotionEvaluation) -> Table | None:
    """List what was left out and why; None where nothing was."""
    rows = tuple((s.model, s.clip_id, s.reason) for s in evaluation.skipped)
    return Table("Skipped", ("model", "clip", "reason"), rows) if rows else None


def all_tables(evaluation: MotionEvaluation) -> list[Table]:
    """Every table that has rows, the summary first."""
    tables = [summary_table(evaluation), figures_table(evaluation), tests_table(evaluation)]
    extra = [extras_table(evaluation), legend_table(evaluation), skipped_table(evaluation)]
    return [table for table in (*tables, *extra) if table is not None and table.rows]


def _cell(evaluation: MotionEvaluation, model: str, metric: str, pooling: str, group: str) -> Cell:
    figure: Figure | None = next(
        (f for f in evaluation.figures[model] if (f.metric, f.pooling, f.group) == (metric, pooling, group)),
        None,
    )
    if figure is None:
        return None
    interval = f" [{figure.low:.4g}, {figure.high:.4g}]" if figure.low == figure.low else ""
    return f"{figure.value:.4g}{interval}"

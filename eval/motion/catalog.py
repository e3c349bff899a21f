"""All named motion metrics, and the table that documents them."""

from __future__ import annotations

from multitalk.eval.motion.distances import ERROR_METRICS
from multitalk.eval.motion.dynamics import DYNAMICS_METRICS
from multitalk.eval.motion.lip_trajectory import TRAJECTORY_METRICS
from multitalk.eval.motion.metric import Metric

METRICS: dict[str, Metric] = {m.name: m for m in (*ERROR_METRICS, *DYNAMICS_METRICS, *TRAJECTORY_METRICS)}
"""By name, in the order of the tables."""


def choose_metrics(names: tuple[str, ...]) -> tuple[Metric, ...]:
    """Return the metrics of these names; all of them for none.

    Raises
    ------
    ValueError
        A name is not known; the message lists those that are.
    """
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise ValueError(f"unknown metric {', '.join(unknown)}; known are {', '.join(METRICS)}")
    return tuple(METRICS[name] for name in names) if names else tuple(METRICS.values())


def metrics_markdown() -> str:
    """Table of every metric's formula, unit and source, for docs/motion-metrics.md."""
    rows = [
        f"| `{m.name}` | {m.formula.replace('|', chr(92) + '|')} | {m.unit} | {m.source} |"
        for m in METRICS.values()
    ]
    return "\n".join(["| metric | formula | unit | source |", "| --- | --- | --- | --- |", *rows])

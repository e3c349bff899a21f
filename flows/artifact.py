"""The report page's summary in Markdown, for Prefect's artifact: the same questions, the same numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from multitalk.flows.building.summary import BuildSummary
from multitalk.flows.datasets.report import policy_waterfall
from multitalk.ground.markdown import plain
from multitalk.manifests.report import published
from multitalk.manifests.report.data import Distribution, ReportData, collect

_HEIGHTS = "▁▂▃▄▅▆▇█"


def build_markdown(summary: BuildSummary) -> str:
    """Return what a build did and what its dataset holds, as Markdown.

    Raises
    ------
    DatasetError
        When there is no dataset at the summary's root.
    """
    root = Path(summary.root)
    data = collect(root, gallery_size=0)
    parts = [
        f"## Dataset {plain(str(summary.root))}",
        f"{summary.built_videos} source videos built in {summary.seconds:.0f} s, {summary.skipped_videos} done before.",
        *map(plain, summary.notes),
        _totals(data),
        _table(
            [
                {**row, "hours in MultiTalk": published.HOURS.get(str(row["language"]))}
                for row in summary.language_rows()
            ]
        ),
    ]
    waterfall, notes = policy_waterfall(root)
    if waterfall:
        parts += [
            "### What the policy takes away",
            "First: clips that pass every rule above it and fail this one. Alone: clips that no other rule rejects.",
            _table(waterfall),
            *notes,
        ]
    measured = [item for item in data.distributions if item.median is not None]
    if measured:
        parts += [
            "### Distributions of the clips that were built",
            _table([_line(item) for item in measured]),
        ]
    if data.failures:
        parts += ["### Clips that failed", _table(data.failures)]
    if data.earlier:
        parts += ["### Clips that keep an earlier outcome, and what was tried in vain", _table(data.earlier)]
    return "\n\n".join(parts)


def _totals(data: ReportData) -> str:
    totals = data.totals
    return (
        f"**{totals['clips']:,}** clips annotated, **{totals['ok']:,}** built, **{totals['accepted']:,}** accepted; "
        f"**{totals['hours']:.2f}** hours built, {totals['accepted_hours']:.2f} accepted; {totals['videos']:,} source "
        f"videos, {totals['languages']} languages. MultiTalk as published: {len(published.HOURS)} languages, "
        f"{published.CLIPS:,} clips, {published.TOTAL_HOURS:.1f} hours."
    )


def _line(item: Distribution) -> dict[str, str | int]:
    """One metric's line: its histogram is drawn in characters between the ends of its axis."""
    metric = item.metric
    counts = [a + o for a, o in zip(item.accepted, item.others, strict=True)]
    most = max(counts)
    bars = "".join(" " if not n else _HEIGHTS[(len(_HEIGHTS) * n - 1) // most] for n in counts)
    return {
        "metric": metric.title,
        "clips": sum(counts),
        "median": f"{item.median:.3g}{metric.unit}",
        "distribution": f"{metric.low:g}{metric.unit} `{bars}` {metric.high:g}{metric.unit}",
        "note": metric.note,
    }


def _table(rows: Sequence[Mapping[str, object]]) -> str:
    if not rows:
        return "None."
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
    for row in rows:
        # A text may come from a server's error page; bars of numbers are ours.
        cells = (
            "" if value is None else str(value) if name == "distribution" else plain(str(value))
            for name, value in row.items()
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)

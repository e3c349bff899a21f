"""Charts as inline SVG, in the page's colours and with a text for those who do not see them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from multitalk.manifests.report.data import BARS, Distribution

WIDTH, HEIGHT = 280.0, 110.0


def bar(spans: Sequence[tuple[str, int, int]], most: int, text: str) -> str:
    """One row's bar.

    Parameters
    ----------
    spans
        Class in the page's style, start and end of each piece, on a scale of `most`.
    text
        The same in words.
    """
    boxes = "".join(
        f'<rect class="{kind}" x="{100 * low / most:.3f}" width="{100 * (high - low) / most:.3f}" height="10"/>'
        for kind, low, high in spans
        if high > low
    )
    return f'<svg role="img" aria-label="{escape(text)}" viewBox="0 0 100 10" preserveAspectRatio="none">{boxes}</svg>'


def histogram(item: Distribution) -> str:
    """Return a figure of one metric: stacked bars, the median, and its axis."""
    metric = item.metric
    counts = [a + o for a, o in zip(item.accepted, item.others, strict=True)]
    most, total = max(counts) or 1, sum(counts)
    step = WIDTH / BARS
    bars = []
    for index, (accepted, others) in enumerate(zip(item.accepted, item.others, strict=True)):
        good, bad = HEIGHT * accepted / most, HEIGHT * others / most
        place = f'x="{index * step + 0.75:.2f}" width="{step - 1.5:.2f}"'
        if accepted:
            bars.append(f'<rect class="good" {place} y="{HEIGHT - good:.2f}" height="{good:.2f}"/>')
        if others:
            bars.append(f'<rect class="bad" {place} y="{HEIGHT - good - bad:.2f}" height="{bad:.2f}"/>')
    middle = "" if item.median is None else f"median {item.median:.3g}{metric.unit}"
    label = f"{metric.title}: {total:,} clips, {middle or 'nothing measured'}"
    missing = f", {item.missing:,} not measured" if item.missing else ""
    return (
        f"<figure><figcaption><h3>{escape(metric.title)}</h3><span>{escape(metric.note)}</span>"
        f"<span>{middle or 'nothing measured'}{missing}</span></figcaption>"
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {WIDTH:.0f} {HEIGHT + 18:.0f}">'
        f'{"".join(bars)}{_median(item)}<path class="axis" d="M0 {HEIGHT}H{WIDTH}"/>{_ticks(item)}</svg></figure>'
    )


def _median(item: Distribution) -> str:
    if item.median is None:
        return ""
    low, high = item.metric.low, item.metric.high
    x = WIDTH * min(max((item.median - low) / (high - low), 0), 1)
    return f'<path class="median" d="M{x:.2f} 0V{HEIGHT}"/>'


def _ticks(item: Distribution) -> str:
    low, high, unit = item.metric.low, item.metric.high, item.metric.unit
    ticks = []
    for share, anchor in ((0.0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"), (1.0, "end")):
        value = f"{round(low + share * (high - low), 2):g}{unit}"
        ticks.append(
            f'<text x="{share * WIDTH:.0f}" y="{HEIGHT + 14:.0f}" text-anchor="{anchor}">{value}</text>'
        )
    return "".join(ticks)

"""One HTML page that shows what a dataset is: self-contained, for any dataset size, without the network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from multitalk.ground.files import atomic
from multitalk.manifests.report import charts, published
from multitalk.manifests.report.data import ReportData, Row, collect
from multitalk.manifests.report.evaluations import Cell, Evaluation, EvaluationTable, read_evaluations
from multitalk.manifests.report.gallery import Picture, gallery


def write_report(
    root: Path,
    out: Path,
    *,
    title: str = "",
    waterfall: Sequence[Mapping[str, Any]] = (),
    picture: Picture | None = None,
    gallery_size: int = 120,
) -> Path:
    """Write the page.

    Parameters
    ----------
    out
        File to write.
    title
        Title; the root's name by default.
    waterfall
        Rows `rule`, `first`, `alone`, `all` and `reason` of the policy's waterfall, in its order.
    picture
        Draws a frame of a clip, given its gallery row; the gallery has no pictures without.
    gallery_size
        Most clips in the gallery: some of each language and verdict.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    DatasetError
        When there is no dataset at `root`.
    """
    data = collect(root, gallery_size)
    sections = [
        ("languages", "Languages", _languages(data)),
        ("distributions", "Distributions", _distributions(data)),
        ("policy", "What the policy takes away", _waterfall(data, waterfall)),
        ("failures", "Clips that failed", _failures(data)),
        *_evaluations(read_evaluations(root)),
        ("gallery", "Clips", gallery(data.gallery, picture, data.totals["ok"])),
    ]
    page = _page(title or root.resolve().name, data, sections)
    with atomic(out) as temporary:
        temporary.write_text(page, "utf-8")
    return out


def _page(title: str, data: ReportData, sections: Sequence[tuple[str, str, str]]) -> str:
    folder = resources.files("multitalk.manifests.report") / "page"
    style, script = ((folder / name).read_text("utf-8") for name in ("page.css", "page.js"))
    # Only this very script may run, whatever a transcript says, and nothing is loaded from anywhere.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    body = "".join(_section(*section) for section in sections)
    links = "".join(f'<li><a href="#{name}">{heading}</a></li>' for name, heading, _ in sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<a class="skip" href="#gallery">Skip to the clips</a>
<header>{_header(title, data.totals)}<nav aria-label="Sections"><ul>{links}</ul></nav></header>
<main>{body}</main>
<footer>{_footer(data)}</footer>
<script>{script}</script>
</body>
</html>
"""


def _section(name: str, title: str, content: str) -> str:
    return (
        f'<section aria-labelledby="{name}"><h2 id="{name}" tabindex="-1">{title}</h2>{content}</section>\n'
    )


def _header(title: str, totals: Row) -> str:
    unit, factor, digits = _unit_of_time(totals)
    tiles = {
        "clips annotated": f"{totals['clips']:,}",
        "clips built": f"{totals['ok']:,}",
        f"{unit} built": f"{totals['hours'] * factor:,.{digits}f}",
        "source videos": f"{totals['videos']:,}",
        "languages": f"{totals['languages']:,}",
    }
    if totals["judged"]:
        tiles["accepted"] = f"{_share(totals['accepted'], totals['clips'])}"
    listed = "".join(f"<li><b>{value}</b>{name}</li>" for name, value in tiles.items())
    beside = (
        f"MultiTalk as published: {len(published.HOURS)} languages, {published.CLIPS:,} clips, "
        f"{published.TOTAL_HOURS:.1f} hours. Annotated here: {_share(totals['clips'], published.CLIPS)} of its clips; "
        f"built: {_share(totals['hours'], published.TOTAL_HOURS)} of its hours."
    )
    return f'<h1>{escape(title)}</h1><ul class="tiles">{listed}</ul><p class="soft below">{beside}</p>'


def _unit_of_time(totals: Row) -> tuple[str, float, int]:
    """Return the unit in which the dataset's length reads well, how many make an hour, and digits to show."""
    return ("hours", 1, 1) if totals["hours"] >= 1 else ("minutes", 60, 2)


def _languages(data: ReportData) -> str:
    most = max((row["clips"] for row in data.languages), default=1)
    unit, factor, digits = _unit_of_time(data.totals)
    titles = (
        "#videos",
        "#clips",
        "#built",
        "#accepted",
        f"#{unit}",
        f"#{unit} accepted",
        "#hours in MultiTalk",
    )
    body = "".join(
        "<tr>"
        f'<th scope="row">{escape(row["language"])}</th>'
        f'<td class="bar">{_language_bar(row, most)}</td>'
        + "".join(f'<td class="n">{row[name]:,}</td>' for name in ("videos", "clips", "ok", "accepted"))
        + "".join(
            f'<td class="n">{row[name] * factor:,.{digits}f}</td>' for name in ("hours", "accepted_hours")
        )
        + f'<td class="n">{published.HOURS.get(row["language"], "")}</td></tr>'
        for row in data.languages
    )
    absent = sorted(published.HOURS.keys() - {row["language"] for row in data.languages})
    note = f'<p class="soft below">In MultiTalk and not here: {", ".join(absent)}.</p>' if absent else ""
    return _KEY_ALL + _table("Clips by language", _head("language", "share", *titles), body) + note


def _language_bar(row: Row, most: int) -> str:
    accepted, built, clips = row["accepted"], row["ok"], row["clips"]
    spans = (("good", 0, accepted), ("bad", accepted, built), ("pale", built, clips))
    return charts.bar(spans, most, f"{accepted:,} accepted, {built:,} built, {clips:,} in all")


def _distributions(data: ReportData) -> str:
    figures = "".join(charts.histogram(item) for item in data.distributions if item.median is not None)
    absent = [item.metric.title for item in data.distributions if item.median is None]
    note = (
        f'<p class="soft below">Not measured on any clip: {escape(", ".join(absent))}.</p>' if absent else ""
    )
    return (
        '<p class="soft">Clips that were built. The dashed line is the median; values beyond an axis are in its '
        f'outermost bars.</p>{_KEY}<div class="charts">{figures}</div>{note}'
    )


def _waterfall(data: ReportData, waterfall: Sequence[Mapping[str, Any]]) -> str:
    if not waterfall:
        return "<p>No policy has been applied: <code>multitalk filter</code> does it.</p>"
    head = _head("rule", "share", "#first", "#left", "#alone", "#in all", "why")
    left, body = data.totals["clips"], ""
    for row in waterfall:
        before, left = left, left - row["first"]
        spans = (("good", 0, left), ("bad", left, before))
        bar = charts.bar(
            spans, data.totals["clips"] or 1, f"{row['first']:,} of {before:,} taken, {left:,} left"
        )
        numbers = (row["first"], left, row["alone"], row["all"])
        body += (
            f'<tr><th scope="row">{escape(row["rule"])}</th><td class="bar">{bar}</td>'
            + "".join(f'<td class="n">{number:,}</td>' for number in numbers)
            + f'<td class="message soft">{escape(row.get("reason", ""))}</td></tr>'
        )
    note = (
        "Rules in their order, each with what is left after it. First: clips that pass every rule above and fail this "
        "one. Alone: clips that no other rule rejects, which dropping the rule would give back. "
        f"{data.totals['accepted']:,} of {data.totals['clips']:,} clips pass every rule."
    )
    return f'<p class="soft">{note}</p>{_KEY_LEFT}' + _table("Clips taken by each rule", head, body)


def _failures(data: ReportData) -> str:
    if not data.failures:
        return "<p>None.</p>"
    head = _head("reason", "stage", "#clips", "#videos", "example", "what happened there")
    body = "".join(
        f'<tr><th scope="row">{escape(row["error_code"] or "")}</th><td>{escape(row["stage"] or "")}</td>'
        f'<td class="n">{row["clips"]:,}</td><td class="n">{row["videos"]:,}</td>'
        f'<td>{escape(row["example"])}</td><td class="message">{escape(row["message"] or "")}</td></tr>'
        for row in data.failures
    )
    return _table("Failed clips by reason", head, body)


def _evaluations(found: Sequence[Evaluation]) -> list[tuple[str, str, str]]:
    content = "".join(
        f'<p class="soft">{escape(evaluation.complaint)}</p>'
        if evaluation.complaint
        else "".join(_evaluation(evaluation.name, table) for table in evaluation.tables)
        for evaluation in found
    )
    return [("evaluations", "Evaluations", content)] if content else []


def _evaluation(name: str, table: EvaluationTable) -> str:
    numbers = [
        all(isinstance(row[i], int | float | None) for row in table.rows) for i in range(len(table.columns))
    ]
    head = _head(
        *("#" * number + escape(column) for number, column in zip(numbers, table.columns, strict=True))
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{"n" if number else "message"}">{escape(_plain(cell))}</td>'
            for number, cell in zip(numbers, row, strict=True)
        )
        + "</tr>"
        for row in table.rows
    )
    note = f'<p class="soft below">{escape(table.note)}</p>' if table.note else ""
    title = f"{name}: {table.title}" if table.title else name
    return f"<h3>{escape(title)}</h3>" + _table(escape(title), head, body) + note


def _plain(cell: Cell) -> str:
    return "" if cell is None else f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _table(label: str, head: str, body: str) -> str:
    """Return a table that scrolls by itself where it is too wide, by keyboard, too; `label` is HTML."""
    return (
        f'<div class="scroll" role="region" aria-label="{label}" tabindex="0">'
        f"<table>{head}<tbody>{body}</tbody></table></div>"
    )


def _head(*titles: str) -> str:
    """Head of a table; a title that begins with # is a column of numbers."""
    cells = [
        f'<th scope="col" class="n">{title[1:]}</th>'
        if title.startswith("#")
        else f'<th scope="col">{title}</th>'
        for title in titles
    ]
    return f"<thead><tr>{''.join(cells)}</tr></thead>"


def _footer(data: ReportData) -> str:
    lines = "".join(
        f"<li>{row['clips']:,} clips, {row['first']} to {row['last']}: head model "
        f"{escape(row['head_model'] or 'none')}, {escape(row['tools'] or 'versions not recorded')}</li>"
        for row in data.tools
    )
    return (
        f'<h2>Provenance</h2><ul class="soft">{lines}</ul><p class="soft">Made by multitalk. MultiTalk\'s annotations '
        "and what is derived from them are for non-commercial research.</p>"
    )


def _share(part: float, whole: float) -> str:
    share = part / whole if whole else 0.0
    return (
        f"{share:.0%}"
        if share >= 0.1 or not share
        else f"{share:.2g}".rstrip("0")
        if share > 1
        else f"{share:.2%}"
    )


_KEY = '<ul class="key"><li><i class="a"></i>accepted</li><li><i class="r"></i>built, not accepted</li></ul>'
_KEY_LEFT = (
    '<ul class="key"><li><i class="a"></i>left</li><li><i class="r"></i>taken away by the rule</li></ul>'
)
_KEY_ALL = _KEY.replace("</ul>", '<li><i class="f"></i>failed</li></ul>')

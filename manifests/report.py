"""One HTML page that shows what a dataset is: self-contained, for any dataset size, without the network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from manifests import charts
from manifests.files import atomic
from manifests.report_data import ReportData, Row, collect, reasons

Picture = Callable[[Row], bytes | None]
"""Gives a JPEG, PNG or WebP of a clip, or None."""

PUBLISHED = {"languages": 20, "clips": 293_812, "hours": 423.2}
"""MultiTalk's published size."""


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
    page = _page(title or root.resolve().name, data, waterfall, picture)
    with atomic(out) as temporary:
        temporary.write_text(page, "utf-8")
    return out


def _page(
    title: str, data: ReportData, waterfall: Sequence[Mapping[str, Any]], picture: Picture | None
) -> str:
    folder = resources.files("manifests") / "page"
    style, script = ((folder / name).read_text("utf-8") for name in ("page.css", "page.js"))
    # Only this very script may run, whatever a transcript says, and nothing is loaded from anywhere.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    sections = [
        _section("languages", "Languages", _languages(data)),
        _section("distributions", "Distributions", _distributions(data)),
        _section("policy", "What the policy takes away", _waterfall(data, waterfall)),
        _section("failures", "Clips that failed", _failures(data)),
        _section("gallery", "Clips", _gallery(data.gallery, picture)),
    ]
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
<header>{_header(title, data.totals)}</header>
<main>{"".join(sections)}</main>
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
    tiles = {
        "clips annotated": f"{totals['clips']:,}",
        "clips built": f"{totals['ok']:,}",
        "hours built": f"{totals['hours']:,.1f}" if totals["hours"] >= 1 else f"{totals['hours']:.3f}",
        "source videos": f"{totals['videos']:,}",
        "languages": f"{totals['languages']:,}",
    }
    if totals["judged"]:
        tiles["accepted"] = f"{_share(totals['accepted'], totals['clips'])}"
    listed = "".join(f"<li><b>{value}</b>{name}</li>" for name, value in tiles.items())
    published = (
        f"MultiTalk as published: {PUBLISHED['languages']} languages, {PUBLISHED['clips']:,} clips, "
        f"{PUBLISHED['hours']} hours. Annotated here: {_share(totals['clips'], PUBLISHED['clips'])} of its clips; "
        f"built: {_share(totals['hours'], PUBLISHED['hours'])} of its hours."
    )
    return f'<h1>{escape(title)}</h1><ul class="tiles">{listed}</ul><p class="soft below">{published}</p>'


def _languages(data: ReportData) -> str:
    most = max((row["clips"] for row in data.languages), default=1)
    head = _head("language", "", *("#videos", "#clips", "#built", "#accepted", "#hours", "#accepted hours"))
    body = "".join(
        "<tr>"
        f'<th scope="row">{escape(row["language"])}</th>'
        f'<td class="bar">{charts.bar(row["accepted"], row["ok"], row["clips"], most)}</td>'
        + "".join(f'<td class="n">{row[name]:,}</td>' for name in ("videos", "clips", "ok", "accepted"))
        + f'<td class="n">{row["hours"]:,.2f}</td><td class="n">{row["accepted_hours"]:,.2f}</td></tr>'
        for row in data.languages
    )
    return f'{_KEY_ALL}<div class="scroll"><table>{head}<tbody>{body}</tbody></table></div>'


def _distributions(data: ReportData) -> str:
    figures = "".join(charts.histogram(item) for item in data.distributions)
    return (
        '<p class="soft">Clips that were built. The dashed line is the median; values beyond an axis are in its '
        f'outermost bars.</p>{_KEY}<div class="charts">{figures}</div>'
    )


def _waterfall(data: ReportData, waterfall: Sequence[Mapping[str, Any]]) -> str:
    if not waterfall:
        return "<p>No policy has been applied: <code>multitalk filter</code> does it.</p>"
    head = _head("rule", "", "#first", "#alone", "#in all", "why")
    most = max(row["all"] for row in waterfall) or 1
    body = "".join(
        f'<tr><th scope="row">{escape(row["rule"])}</th>'
        f'<td class="bar">{charts.bar(0, row["first"], row["all"], most)}</td>'
        f'<td class="n">{row["first"]:,}</td><td class="n">{row["alone"]:,}</td><td class="n">{row["all"]:,}</td>'
        f'<td class="message soft">{escape(row.get("reason", ""))}</td></tr>'
        for row in waterfall
    )
    note = (
        "First: clips that pass every rule above it and fail this one. Alone: clips that no other rule rejects. "
        f"{data.totals['accepted']:,} of {data.totals['clips']:,} clips pass every rule."
    )
    return f'<p class="soft">{note}</p><div class="scroll"><table>{head}<tbody>{body}</tbody></table></div>'


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
    return f'<div class="scroll"><table>{head}<tbody>{body}</tbody></table></div>'


def _gallery(rows: Sequence[Row], picture: Picture | None) -> str:
    if not rows:
        return "<p>No clip was built.</p>"
    languages = sorted({row["language"] for row in rows})
    verdicts = sorted({_verdict(row) for row in rows})
    controls = (
        '<label>Search id, words, numbers <input type="search" name="words" autocomplete="off"></label>'
        + _select("language", "Language", languages)
        + _select("verdict", "Verdict", verdicts)
        + _select("reason", "Rejected by", reasons(rows))
        + '<button type="reset">Clear</button>'
    )
    cards = "".join(_card(row, picture) for row in rows)
    return (
        f'<form id="filter" role="search" aria-label="Clips">{controls}</form>'
        f'<p id="shown" class="soft" role="status">{len(rows)} clips</p><ul class="gallery">{cards}</ul>'
    )


def _card(row: Row, picture: Picture | None) -> str:
    verdict, broken = _verdict(row), row["rejected_by"] or []
    image = _image(row, picture(row) if picture else None)
    said = escape(row["transcript"] or "")
    facts = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in _facts(row).items())
    why = f": {escape(', '.join(broken))}" if broken else ""
    return (
        f'<li data-language="{escape(row["language"])}" data-verdict="{verdict}" '
        f'data-reasons="{escape(" ".join(broken))}">{image}<div class="text">'
        f'<h3 class="id">{escape(row["clip_id"])}</h3><p><span class="verdict">{verdict}</span>{why}</p>'
        f'<p dir="auto">{said}</p><dl><dt>language</dt><dd>{escape(row["language"])}</dd>{facts}</dl></div></li>'
    )


def _facts(row: Row) -> dict[str, str]:
    """Return the numbers on a card, of those that were measured."""
    yaw = row["yaw_deg"][1] if row["yaw_deg"] else None
    facts = {
        "length": ("{:.1f} s", row["duration_sec"]),
        "spoken as annotated": ("{:.0%}", row["annotated_language_probability"]),
        "head turned": ("{:+.0f}°", yaw),
        "lip sync": ("{:.2f}", row["av_correlation"]),
        "fit error": ("{:.2%}", row["fit_landmark_error"]),
        "enlarged": ("{:.1f}x", row["source_scale"]),
    }
    return {name: form.format(value) for name, (form, value) in facts.items() if value is not None}


def _verdict(row: Row) -> str:
    return {True: "accepted", False: "rejected", None: "unjudged"}[row["accepted"]]


def _image(row: Row, content: bytes | None) -> str:
    if content is None:
        return ""
    kinds = {b"\xff\xd8\xff": "jpeg", b"\x89PN": "png", b"RIF": "webp"}
    kind = kinds[content[:3]]
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return f'<img src="{source}" alt="A frame of clip {escape(row["clip_id"])}" loading="lazy">'


def _select(name: str, label: str, values: Sequence[str]) -> str:
    options = "".join(f'<option value="{escape(v)}">{escape(v)}</option>' for v in values)
    return f'<label>{label} <select name="{name}"><option value="">all</option>{options}</select></label>'


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
        f"<li>{row['clips']:,} clips, {escape(row['head_model'] or 'no head model')}, configuration "
        f"<code>{escape(row['config_fingerprint'])}</code>, {row['first']} to {row['last']}</li>"
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
_KEY_ALL = _KEY.replace("</ul>", '<li><i class="f"></i>failed</li></ul>')

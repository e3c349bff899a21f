"""The gallery of the report page: clips with picture, transcript, numbers, verdict, and controls to find them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from html import escape

from multitalk.manifests.report.data import Row, reasons

Picture = Callable[[Row], bytes | None]
"""Gives a JPEG, PNG or WebP of a clip, or None. It is called from several threads."""

_KINDS = {b"\xff\xd8\xff": "jpeg", b"\x89PN": "png", b"RIF": "webp"}


def gallery(rows: Sequence[Row], picture: Picture | None, built: int) -> str:
    """Return the section's HTML; `rows` are some of the `built` clips of the dataset, or none."""
    if not rows:
        return (
            f"<p>None of {built:,} clips is shown: none was asked for.</p>"
            if built
            else "<p>No clip was built.</p>"
        )
    controls = (
        '<label>Search id, words, numbers <input type="search" name="words" autocomplete="off"></label>'
        + _select("language", "Language", sorted({row["language"] for row in rows}))
        + _select("verdict", "Verdict", sorted({_verdict(row) for row in rows}))
        + _select("reason", "Rejected by", reasons(rows))
        + '<button type="reset">Clear</button>'
    )
    with ThreadPoolExecutor() as pool:  # decoding and drawing let other threads run
        pictures = list(pool.map(picture, rows)) if picture else [None] * len(rows)
    cards = "".join(_card(row, content) for row, content in zip(rows, pictures, strict=True))
    return (
        f'<form id="filter" role="search" aria-label="Clips">{controls}</form>'
        f'<p id="shown" class="soft" role="status">{len(rows)} clips</p><ul class="gallery">{cards}</ul>'
    )


def _select(name: str, label: str, values: Sequence[str]) -> str:
    options = "".join(f'<option value="{escape(v)}">{escape(v)}</option>' for v in values)
    return f'<label>{label} <select name="{name}"><option value="">all</option>{options}</select></label>'


def _card(row: Row, content: bytes | None) -> str:
    verdict, broken = _verdict(row), row["rejected_by"] or []
    said = escape(row["transcript"] or "")
    facts = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in _facts(row).items())
    why = f": {escape(', '.join(broken))}" if broken else ""
    return (
        f'<li data-language="{escape(row["language"])}" data-verdict="{verdict}" '
        f'data-reasons="{escape(" ".join(broken))}">{_image(row, content)}<div class="text">'
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
        "face speaks": ("{:+.1f}", row["speaking_score"]),
        "fit error": ("{:.2%}", row["fit_landmark_error"]),
        "enlarged": ("{:.1f}x", row["source_scale"]),
    }
    return {name: form.format(value) for name, (form, value) in facts.items() if value is not None}


def _verdict(row: Row) -> str:
    return {True: "accepted", False: "rejected", None: "unjudged"}[row["accepted"]]


def _image(row: Row, content: bytes | None) -> str:
    if content is None:
        return ""
    source = f"data:image/{_KINDS[content[:3]]};base64,{base64.b64encode(content).decode()}"
    return f'<img src="{source}" alt="A frame of clip {escape(row["clip_id"])}" loading="lazy">'

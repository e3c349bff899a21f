"""The gallery of the report page: clips with picture, transcript, numbers and verdict."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from multitalk.manifests.report.data import Row

Picture = Callable[[Row], bytes | None]
"""Gives a JPEG, PNG or WebP of a clip, or None. It is called from several threads."""

_KINDS = {b"\xff\xd8\xff": "jpeg", b"\x89PN": "png", b"RIF": "webp"}


@dataclass(frozen=True, slots=True)
class Card:
    """What the gallery shows of one clip."""

    clip_id: str
    language: str
    transcript: str
    verdict: str
    rejected_by: tuple[str, ...]
    facts: dict[str, str]
    """Numbers by name, of those that were measured."""
    image: str
    """A picture as `data:` URL; empty without one."""


def cards(rows: Sequence[Row], picture: Picture | None) -> list[Card]:
    """Return a card for each row, with its picture if there is what draws it."""
    with ThreadPoolExecutor() as pool:  # decoding and drawing let other threads run
        pictures = list(pool.map(picture, rows)) if picture else [None] * len(rows)
    return [_card(row, content) for row, content in zip(rows, pictures, strict=True)]


def _card(row: Row, content: bytes | None) -> Card:
    return Card(
        clip_id=row["clip_id"],
        language=row["language"],
        transcript=row["transcript"] or "",
        verdict={True: "accepted", False: "rejected", None: "unjudged"}[row["accepted"]],
        rejected_by=tuple(row["rejected_by"] or ()),
        facts=_facts(row),
        image=_data_url(content) if content else "",
    )


def _facts(row: Row) -> dict[str, str]:
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


def _data_url(content: bytes) -> str:
    return f"data:image/{_KINDS[content[:3]]};base64,{base64.b64encode(content).decode()}"

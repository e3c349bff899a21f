"""MultiTalk's annotation files: what is known of each clip before any work.

A file is a JSON object of clips::

    {"QrDZjUeiUwc_0": {"youtube_id": "QrDZjUeiUwc",
                       "duration": {"start_sec": 302.8, "end_sec": 305.8},
                       "bbox": {"top": 0.0, "bottom": 0.8, "left": 0.25, "right": 0.7},
                       "language": "english", "transcript": "..."}}

MultiTalk's own have no more. Beside them an entry may say where its source video is (``"source_url"``), as those of
`multitalk discover` do.

Every clip of every file ends either as an `Annotation` or as an `InvalidAnnotation` that says
what is wrong with it; only a file that is no such object at all is an error of its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from multitalk.extract.annotation_json import (
    AnnotationFileError,
    Pairs,
    is_encodable,
    kind,
    printable,
    read_entries,
)
from multitalk.ground.units import FPS

__all__ = [
    "Annotation",
    "AnnotationFileError",
    "AnnotationSet",
    "BoundingBox",
    "InvalidAnnotation",
    "is_safe_name",
    "read_annotations",
]


MAX_CLIP_SEC = 600.0
"""Longest interval taken for a clip (MultiTalk's longest is 50 s): memory follows its length."""

MAX_VIDEO_SEC = 48 * 3600.0
"""Latest time in a source video that an annotation may name."""

MAX_TRANSCRIPT_CHARACTERS = 10_000
"""Longest transcript (MultiTalk's longest has a few hundred characters)."""

MAX_URL_CHARACTERS = 2_000
"""Longest address of a source video."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True, slots=True)
class BoundingBox:
    """A face's box as shares (0..1) of the frame's height and width, as the viewer sees it."""

    top: float
    bottom: float
    left: float
    right: float

    def as_dict(self) -> dict[str, float]:
        """Return the box as a mapping ``{"top": ..., "bottom": ..., "left": ..., "right": ...}``."""
        return {"top": self.top, "bottom": self.bottom, "left": self.left, "right": self.right}


@dataclass(frozen=True, slots=True)
class Annotation:
    """One clip as annotated, checked: its ids and language are safe as file names.

    ``start_sec`` and ``end_sec`` are the annotation's own numbers. ``start_frame`` and
    ``frame_count`` are what gets cut: the nearest frames on the grid of 25 frames a second.
    For MultiTalk both agree; for other sources they differ by half a frame (20 ms) at most.
    """

    clip_id: str
    video_id: str
    language: str
    """Lower case."""
    start_sec: float
    end_sec: float
    start_frame: int
    frame_count: int
    bbox: BoundingBox
    transcript: str
    source_url: str | None = None
    """Where the source video is, if the annotation says so; else the build's `source_url` tells."""


@dataclass(frozen=True, slots=True)
class InvalidAnnotation:
    """One clip whose annotation can not be used: it becomes a row ``invalid_annotation``."""

    clip_id: str
    """The key as found, made printable and cut when long. It may be no file name."""
    video_id: str | None
    """The video's id when there is one that is safe as a file name."""
    language: str | None
    """The language when there is one that is safe as a file name."""
    message: str


@dataclass(frozen=True, slots=True)
class AnnotationSet:
    """All clips of some files, each clip id once, in the order of the files."""

    annotations: tuple[Annotation, ...]
    invalid: tuple[InvalidAnnotation, ...]


def is_safe_name(text: str) -> bool:
    """Tell whether an id or a language may become a file name: ``[A-Za-z0-9_-]{1,128}``."""
    return _NAME.fullmatch(text) is not None


def read_annotations(paths: Iterable[Path]) -> AnnotationSet:
    """Read annotation files in MultiTalk's format.

    A clip id that comes twice with the same content (a file given twice) counts once. One that
    comes with different contents is invalid, since nobody can tell which is meant.

    Parameters
    ----------
    paths
        JSON files, UTF-8.

    Returns
    -------
    AnnotationSet
        Every clip id of every file exactly once, valid or not.

    Raises
    ------
    AnnotationFileError
        A file is missing, is not JSON, or is not an object of clips.
    """
    found: dict[str, Annotation | InvalidAnnotation] = {}
    for path in paths:
        for key, entry in read_entries(path):
            clip = _parse(key, entry)
            known = found.get(clip.clip_id)
            if known is not None and known != clip:
                clip = _contradiction(known, path)
            found[clip.clip_id] = clip
    clips = found.values()
    return AnnotationSet(
        annotations=tuple(clip for clip in clips if isinstance(clip, Annotation)),
        invalid=tuple(clip for clip in clips if isinstance(clip, InvalidAnnotation)),
    )


class _FaultError(Exception):
    """What is wrong with one annotation."""


def _parse(key: str, entry: object) -> Annotation | InvalidAnnotation:
    try:
        return _annotation(key, entry)
    except _FaultError as fault:
        clip_id, found = printable(key), entry if isinstance(entry, dict) else {}
        return InvalidAnnotation(
            clip_id=clip_id,
            video_id=_name_or_none(found.get("youtube_id")),
            language=_name_or_none(found.get("language"), lower=True),
            message=f"Clip {clip_id}: the annotation is invalid: {fault}. Mend it or leave the clip out.",
        )


def _annotation(key: str, entry: object) -> Annotation:
    if not is_safe_name(key):
        raise _FaultError("its id is not 1 to 128 letters, digits, '_' or '-'")
    fields = _mapping("the clip", entry)
    start_sec, end_sec = _interval(_mapping("'duration'", _required(fields, "duration")))
    start_frame = round(start_sec * FPS)
    frame_count = round(end_sec * FPS) - start_frame
    if frame_count < 1:
        raise _FaultError(f"the interval {start_sec} to {end_sec} s holds no frame at {FPS} frames a second")
    return Annotation(
        clip_id=key,
        video_id=_name(fields, "youtube_id"),
        language=_name(fields, "language").lower(),
        start_sec=start_sec,
        end_sec=end_sec,
        start_frame=start_frame,
        frame_count=frame_count,
        bbox=_box(_mapping("'bbox'", _required(fields, "bbox"))),
        transcript=_transcript(fields.get("transcript")),
        source_url=_source_url(fields.get("source_url")),
    )


def _interval(fields: Mapping[str, Any]) -> tuple[float, float]:
    start_sec, end_sec = _number(fields, "start_sec"), _number(fields, "end_sec")
    if start_sec < 0:
        raise _FaultError(f"the interval begins before the video, at {start_sec} s")
    if end_sec <= start_sec:
        raise _FaultError(f"the interval ends at {end_sec} s, not after its beginning at {start_sec} s")
    if end_sec > MAX_VIDEO_SEC:
        raise _FaultError(f"the interval ends at {end_sec} s; times beyond {MAX_VIDEO_SEC:.0f} s are refused")
    if end_sec - start_sec > MAX_CLIP_SEC:
        raise _FaultError(
            f"the interval lasts {end_sec - start_sec:g} s; at most {MAX_CLIP_SEC:.0f} s are taken"
        )
    return start_sec, end_sec


def _box(fields: Mapping[str, Any]) -> BoundingBox:
    top, bottom = _number(fields, "top"), _number(fields, "bottom")
    left, right = _number(fields, "left"), _number(fields, "right")
    box = BoundingBox(top, bottom, left, right)
    if top >= bottom or left >= right:
        raise _FaultError(f"the box is reversed or empty: {box.as_dict()}")
    if top < 0 or left < 0 or bottom > 1 or right > 1:
        raise _FaultError(f"the box leaves the frame (0..1): {box.as_dict()}")
    return box


def _transcript(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _FaultError(f"'transcript' is {kind(value)}, not a text")
    if len(value) > MAX_TRANSCRIPT_CHARACTERS:
        raise _FaultError(
            f"'transcript' has {len(value)} characters; at most {MAX_TRANSCRIPT_CHARACTERS} are taken"
        )
    if not is_encodable(value):
        raise _FaultError("'transcript' holds half of a surrogate pair, which is no character")
    return value


def _source_url(value: object) -> str | None:
    """Check an address that an annotation names: the web's, or a file that is there."""
    if value is None:
        return None
    if not isinstance(value, str) or not is_encodable(value) or len(value) > MAX_URL_CHARACTERS:
        raise _FaultError(f"'source_url' is no address of at most {MAX_URL_CHARACTERS} characters")
    try:
        parts = urlsplit(value)
    except ValueError:
        raise _FaultError(f"'source_url' is no address: '{printable(value)}'") from None
    if parts.scheme in ("http", "https") and parts.hostname:
        return value
    if parts.scheme == "file" and parts.hostname in (None, "localhost"):
        return value
    raise _FaultError(f"'source_url' is '{printable(value)}', neither http(s):// nor file:///")


def _required(fields: Mapping[str, Any], name: str) -> object:
    if name not in fields:
        raise _FaultError(f"'{name}' is missing")
    value: object = fields[name]
    return value


def _mapping(what: str, value: object) -> Mapping[str, Any]:
    if type(value) is dict:  # neither `Pairs` nor wrong: said first, for hundreds of thousands of clips
        return value
    if not isinstance(value, dict):
        raise _FaultError(f"{what} is {kind(value)}, not an object")
    if isinstance(value, Pairs):
        raise _FaultError(f"{what} has the key '{printable(value.repeated_key())}' twice")
    return value


def _number(fields: Mapping[str, Any], name: str) -> float:
    value = fields.get(name)
    if type(value) is float and math.isfinite(value):
        return value
    value = _required(fields, name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _FaultError(f"'{name}' is {kind(value)}, not a number")
    if not math.isfinite(value):
        raise _FaultError(f"'{name}' is not a finite number")
    return float(value)


def _name(fields: Mapping[str, Any], name: str) -> str:
    value = _required(fields, name)
    if not isinstance(value, str):
        raise _FaultError(f"'{name}' is {kind(value)}, not a text")
    if not is_safe_name(value):
        raise _FaultError(f"'{name}' is '{printable(value)}', not 1 to 128 letters, digits, '_' or '-'")
    return value


def _name_or_none(value: object, *, lower: bool = False) -> str | None:
    if not isinstance(value, str) or not is_safe_name(value):
        return None
    return value.lower() if lower else value


def _contradiction(known: Annotation | InvalidAnnotation, path: Path) -> InvalidAnnotation:
    return InvalidAnnotation(
        clip_id=known.clip_id,
        video_id=known.video_id,
        language=known.language,
        message=f"Clip {known.clip_id}: annotated more than once, with different contents (again in "
        f"{path.name}). Leave one of them.",
    )

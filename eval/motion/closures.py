"""When a clip's lips close for p, b and m, as a timed transcript tells."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from multitalk.eval.vertex_files import VertexFileError

Closures = Mapping[str, Sequence[tuple[float, float]]]
"""[start, end] in seconds of each closure, by clip id."""

_PHONE_TIERS = ("phones", "phone", "phonemes", "segments", "mau")
"""Last words of the names that the Montreal Forced Aligner, MAUS and others give a tier of phones."""
_BILABIALS = {"p", "b", "m", "ɓ", "pp", "bb", "mm", "pf", "mp", "mb", "ph", "bh", "pj", "bj", "mj"}
# Praat reads a text file's free-standing strings, numbers and flags, and nothing else of it.
_FREE = re.compile(r'"(?:[^"]|"")*"|(?<!\S)(?:[-+]?\d[\d.]*(?:[eE][-+]?\d+)?|<exists>)(?!\S)')
_LARGEST_FILE = 64 << 20


def read_closures(path: Path) -> Closures:
    """Read when lips close (p, b, m) in each clip, from timed transcripts.

    Parameters
    ----------
    path
        A folder of `<clip_id>.TextGrid` as forced aligners write them, at any depth, each with a tier of phones
        in IPA or ARPABET (Praat's manual, "TextGrid file formats"); or JSON: for each clip id a list of
        [start, end] in seconds.

    Raises
    ------
    VertexFileError
        It is neither, or one of the files can not be read.
    """
    if path.is_dir():
        grids = sorted(path.rglob("*.TextGrid"))
        if not grids:
            raise VertexFileError(f"{path}: no .TextGrid file in it")
        return {grid.stem: _bilabials(grid) for grid in grids}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(clip): [_span(a, b) for a, b in spans] for clip, spans in content.items()}
    except (OSError, AttributeError, TypeError, ValueError) as error:
        raise VertexFileError(f"{path}: not a JSON file of closures by clip ({error})") from error


def _span(start: float, end: float) -> tuple[float, float]:
    span = float(start), float(end)
    if not all(map(math.isfinite, span)):
        raise ValueError(f"[{start}, {end}] is no time")
    return span


def is_bilabial(phone: str) -> bool:
    """Tell whether a phone's label, such as `pʰ`, `B` or `mʲ`, is of one that closes the lips."""
    plain = unicodedata.normalize("NFD", phone.strip()).casefold()
    letters = [c for c in plain if unicodedata.category(c) in ("Ll", "Lo")]
    return "".join(letters) in _BILABIALS


def _bilabials(path: Path) -> list[tuple[float, float]]:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError("larger than any aligned clip")
        tiers = list(_interval_tiers(_text(path)))
    except (OSError, ValueError, OverflowError) as error:
        raise VertexFileError(f"{path}: not a readable TextGrid ({error})") from error
    of_phones = [spans for name, spans in tiers if re.split(r"\W+", name.casefold())[-1] in _PHONE_TIERS]
    if not of_phones:
        names = ", ".join(name for name, _ in tiers) or "none"
        raise VertexFileError(
            f"{path}: no tier of phones, called {' or '.join(_PHONE_TIERS)}; its tiers: {names}"
        )
    return sorted((start, end) for spans in of_phones for start, end, label in spans if is_bilabial(label))


def _text(path: Path) -> str:
    raw = path.read_bytes()
    return raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")


def _interval_tiers(text: str) -> Iterator[tuple[str, list[tuple[float, float, str]]]]:
    """Yield name and (start, end, label) intervals of each tier that has some; points have no length."""
    values = iter(_FREE.findall(text))
    if [next(values, ""), next(values, "")] != ['"ooTextFile"', '"TextGrid"']:
        raise ValueError("it does not begin as one")
    _number(values), _number(values)
    if next(values, None) != "<exists>":
        raise ValueError("it has no tiers")
    for _ in range(int(_number(values))):
        kind, name = _string(values), _string(values)
        _number(values), _number(values)
        count = int(_number(values))
        if kind == "IntervalTier":
            yield name, [(_number(values), _number(values), _string(values)) for _ in range(count)]
        else:
            for _ in range(count):
                _number(values), _string(values)


def _number(values: Iterator[str]) -> float:
    value = next(values, "the end")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"a number should stand where {value[:40]} does")
    return number


def _string(values: Iterator[str]) -> str:
    value = next(values, "the end")
    if not value.startswith('"'):
        raise ValueError(f"a text should stand where {value[:40]} does")
    return value[1:-1].replace('""', '"')

"""One HTML page that shows what a dataset is: self-contained, for any dataset size, without the network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from multitalk.ground.files import atomic
from multitalk.manifests.report import charts, published
from multitalk.manifests.report.data import ReportData, Row, collect, reasons
from multitalk.manifests.report.evaluations import Cell, EvaluationTable, read_evaluations
from multitalk.manifests.report.gallery import Picture, cards

_TEMPLATES = Path(__file__).with_name("page")


def write_report(
    root: Path,
    out: Path,
    *,
    title: str = "",
    waterfall: Sequence[Mapping[str, Any]] = (),
    picture: Picture | None = None,
    gallery_size: int = 120,
    by_person: bool = False,
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
    by_person
        Show one clip of each person in the gallery instead.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    DatasetError
        When there is no dataset at `root`.
    """
    data = collect(root, gallery_size, by_person=by_person)
    evaluations = read_evaluations(root)
    sections = [
        ("languages", "Languages", "languages.html"),
        ("distributions", "Distributions", "distributions.html"),
        *([("persons", "Persons", "persons.html")] if data.persons else []),
        ("policy", "What the policy takes away", "policy.html"),
        ("failures", "Clips that failed", "failures.html"),
        *([("earlier", "Clips that keep an earlier outcome", "earlier.html")] if data.earlier else []),
        *(
            [("evaluations", "Evaluations", "evaluations.html")]
            if any(found.complaint or found.tables for found in evaluations)
            else []
        ),
        ("gallery", "Clips", "gallery.html"),
    ]
    style, script = ((_TEMPLATES / name).read_text("utf-8") for name in ("page.css", "page.js"))
    page = _environment().get_template("page.html")
    text = page.render(
        title=title or root.resolve().name,
        data=data,
        sections=sections,
        tiles=_tiles(data.totals),
        unit=_unit_of_time(data.totals),
        published=published,
        absent_languages=_absent_languages(data),
        waterfall=waterfall,
        evaluations=evaluations,
        cards=cards(data.gallery, picture),
        reasons=reasons(data.gallery),
        style=style,
        script=script,
        script_sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    with atomic(out) as temporary:
        temporary.write_text(text, "utf-8")
    return out


def _environment() -> Environment:
    """Return what fills the page's templates in; every text is escaped but the charts, which escape theirs."""
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(_TEMPLATES),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.globals |= {
        "bar": lambda spans, most, text: Markup(charts.bar(spans, most, str(text))),  # noqa: S704
        "histogram": lambda item: Markup(charts.histogram(item)),  # noqa: S704
        "columns": _columns,
        "numeric_columns": _numeric_columns,
        "share": _share,
        "zip": zip,
    }
    environment.filters |= {"fixed": _fixed, "plain": _plain}
    return environment


def _tiles(totals: Row) -> dict[str, str]:
    """Return the numbers at the top of the page, by what they are of."""
    unit = _unit_of_time(totals)
    tiles = {
        "clips annotated": f"{totals['clips']:,}",
        "clips built": f"{totals['ok']:,}",
        f"{unit['name']} built": _fixed(totals["hours"] * unit["factor"], unit["digits"]),
        "source videos": f"{totals['videos']:,}",
        "languages": f"{totals['languages']:,}",
    }
    if totals["judged"]:
        tiles["accepted"] = _share(totals["accepted"], totals["clips"])
    return tiles


def _unit_of_time(totals: Row) -> dict[str, Any]:
    """Return the unit in which the dataset's length reads well, how many make an hour, and digits to show."""
    if totals["hours"] >= 1:
        return {"name": "hours", "factor": 1, "digits": 1}
    return {"name": "minutes", "factor": 60, "digits": 2}


def _absent_languages(data: ReportData) -> list[str]:
    return sorted(published.HOURS.keys() - {row["language"] for row in data.languages})


def _columns(*titles: str) -> list[tuple[str, bool]]:
    """Titles of a table's columns, and whether they are of numbers: those are written with a # in front."""
    return [(title.removeprefix("#"), title.startswith("#")) for title in titles]


def _numeric_columns(table: EvaluationTable) -> list[bool]:
    return [
        all(isinstance(row[index], int | float | None) for row in table.rows)
        for index in range(len(table.columns))
    ]


def _plain(cell: Cell) -> str:
    return "" if cell is None else f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _fixed(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


def _share(part: float, whole: float) -> str:
    share = part / whole if whole else 0.0
    return (
        f"{share:.0%}"
        if share >= 0.1 or not share
        else f"{share:.2g}".rstrip("0")
        if share > 1
        else f"{share:.2%}"
    )

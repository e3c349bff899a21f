"""Tables and summaries on the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from multitalk.assets.fetch import AssetStatus
    from multitalk.flows.building.summary import BuildSummary
    from multitalk.flows.running.doctor import Check

_STATE_STYLE = {"ok": "green", "warning": "yellow", "missing": "red"}


class _Pipe(Console):
    """A console that leaves a reader's going away to the command, as everything else that writes does."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console() -> Console:
    """Return a console on stdout; a pipe gets lines as long as they need to be, not cut at 80 columns."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160
    return _Pipe(width=width, highlight=False)


def print_table(
    rows: Sequence[Mapping[str, object]], *, title: str | None = None, total: bool = False
) -> None:
    """Print rows as an aligned table; numbers to the right; `total` sets the last row apart."""
    if not rows:
        return
    table = Table(box=box.SIMPLE_HEAD)
    for name in rows[0]:
        numeric = all(isinstance(row[name], int | float | None) for row in rows)
        table.add_column(name.replace("_", " "), justify="right" if numeric else "left", overflow="fold")
    for index, row in enumerate(rows):
        if total and index == len(rows) - 1:
            table.add_section()
        table.add_row(*("" if value is None else escape(str(value)) for value in row.values()))
    out = console()
    if title:
        # As the table's own title it would be as narrow as the table.
        out.print(f"\n[bold]{escape(title)}[/bold]")
    out.print(table)


def print_summary(summary: BuildSummary) -> None:
    """Print what a build did, the dataset by language, and why clips failed or were rejected."""
    out = console()
    if summary.built_videos or summary.elsewhere_videos:
        out.print(
            f"\n[bold]Built {summary.built_videos} source videos[/bold] in {summary.seconds:.0f} s"
            f" ({summary.skipped_videos} done before) in [bold]{escape(summary.root)}[/bold]"
        )
    else:
        out.print(
            f"\n[bold]Nothing to do:[/bold] all {summary.skipped_videos} source videos in "
            f"[bold]{escape(summary.root)}[/bold] are done with this configuration"
        )
    for note in summary.notes:
        out.print(f"[yellow]{escape(note)}[/yellow]")
    print_table(summary.language_rows(), total=True)
    failures = [
        {"failed": r.reason, "clips": r.clips, "example": r.example, "message": r.message}
        for r in summary.failures
    ]
    print_table(failures)
    rejected = [
        {"rejected by rule": r.reason, "clips": r.clips, "example": r.example} for r in summary.rejections
    ]
    print_table(rejected)
    earlier = [
        {
            "keep an earlier outcome; tried": r.reason,
            "clips": r.clips,
            "example": r.example,
            "message": r.message,
        }
        for r in summary.earlier
    ]
    print_table(earlier)


def print_checks(findings: Sequence[Check]) -> None:
    """Print what ``multitalk doctor`` found."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("", "state", "found", "what to do"):
        table.add_column(name, overflow="fold")
    for finding in findings:
        style = _STATE_STYLE[finding.state]
        table.add_row(
            finding.what, f"[{style}]{finding.state}[/{style}]", escape(finding.found), escape(finding.action)
        )
    console().print(table)


def print_assets(found: Sequence[AssetStatus]) -> None:
    """Print the registry of model files: what for, licence, where, and what to do."""
    table = Table(box=box.SIMPLE_HEAD, show_lines=False)
    for name in ("asset", "for", "licence", "state", "where, or what to do"):
        table.add_column(name, overflow="fold")
    for status in found:
        style = {"present": "green", "missing": "yellow", "corrupt": "red"}[status.state]
        state = status.state if status.verified or status.state != "present" else "present, unverified"
        where = str(status.path) if status.path else status.action
        table.add_row(
            status.asset.name,
            escape(status.asset.purpose),
            escape(status.asset.licence),
            f"[{style}]{state}[/{style}]",
            escape(where),
        )
    console().print(table)

"""The command ``discover``: annotations out of raw videos."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multitalk.flows.commands.cli_system import GOES_ON

if TYPE_CHECKING:
    from multitalk.flows.discovering.discover import DiscoverSummary


def add_commands(commands: Any) -> None:
    """Add the command of this module to the parser's."""
    discover = commands.add_parser(
        "discover",
        help="find clips in raw videos and write annotations",
        description="Find where one person's face is well seen and heard speaking; run again to continue.",
    )
    discover.add_argument(
        "videos", nargs="*", metavar="VIDEO", help="video files; URLs of videos, playlists or channels"
    )
    discover.add_argument("--language", metavar="L", help="language spoken in them, for instance german")
    discover.add_argument("--out", type=Path, metavar="FILE", help="annotation file (annotations.json)")
    discover.add_argument(
        "--root", type=Path, metavar="DIR", help="folder for results by video; default: beside --out"
    )
    discover.add_argument("--workers", type=int, metavar="N", help="videos at work at the same time")
    discover.add_argument("--keep-raw", action="store_true", default=None, help="keep downloaded videos")
    discover.add_argument(
        "--config", type=Path, metavar="FILE", help="YAML with any setting; options win over it"
    )
    discover.add_argument("--json", action="store_true", help="print the summary as JSON")
    discover.set_defaults(run=_discover, if_stopped=GOES_ON)


def _discover(options: argparse.Namespace) -> int:
    from multitalk.flows.discovering.settings import DiscoverSettings
    from multitalk.ground.settings import read_config, validated

    values = read_config(options.config) if options.config else {}
    names = ("language", "out", "root", "workers", "keep_raw")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    if options.videos:
        given["videos"] = options.videos
    settings = validated(DiscoverSettings, {**values, **given})
    from multitalk.flows.discovering.discover import discover

    summary = discover(settings)
    if options.json:
        print(json.dumps(asdict(summary), ensure_ascii=False, indent=2))
    else:
        _print(summary)
    return 0


def _print(summary: "DiscoverSummary") -> None:
    from multitalk.flows.looking.tables import print_table

    print(
        f"{summary.clips} clips ({summary.minutes:.1f} min) in {summary.videos} videos, "
        f"{summary.looked_at} of which looked at now, in {summary.seconds:.0f} s: {summary.out}"
    )
    if summary.without_candidates:
        print(
            f"In {summary.without_candidates} of them nobody speaks long enough while exactly one face, large and "
            "roughly frontal, is seen (`candidates` in a --config file)."
        )
    print_table([asdict(failure) for failure in summary.failed])
    print_table([{"refused for": name, "candidates": count} for name, count in summary.refused.items()])

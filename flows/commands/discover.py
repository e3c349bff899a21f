"""The command ``discover``: annotations out of raw videos."""

import json as json_text
from dataclasses import asdict
from typing import TYPE_CHECKING

from multitalk.flows.commands.checks import check_head_model, check_policy, check_root
from multitalk.flows.commands.options import Option, takes
from multitalk.flows.commands.words import AsJson
from multitalk.flows.discovering.settings import DiscoverSettings

if TYPE_CHECKING:
    from multitalk.flows.discovering.discover import DiscoverSummary


@takes(
    DiscoverSettings,
    Option("videos", positional=True),
    Option("language"),
    Option("out"),
    Option("root"),
    Option("workers"),
    Option("keep_raw"),
)
def discover(
    settings: DiscoverSettings,
    *,
    json: AsJson = False,
) -> int:
    """Check what was asked for, then look for clips."""
    check_policy(settings.policy)
    check_head_model(settings.build.head_model)
    check_root(settings.folder)
    return run_discover(settings, as_json=json)


def run_discover(settings: DiscoverSettings, *, as_json: bool = False) -> int:
    """Find clips, and print the summary; 1 where there are none."""
    from multitalk.flows.discovering import discover as discovery

    summary = discovery.discover(settings)
    if as_json:
        print(json_text.dumps(asdict(summary), ensure_ascii=False, indent=2))
    else:
        _print(summary)
    return 0 if summary.clips else 1


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

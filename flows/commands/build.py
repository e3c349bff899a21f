"""The commands ``build``, a dataset out of annotations, and ``status``, how far that is."""

import json as json_text
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.commands.checks import check_annotations, check_head_model, check_policy, check_root
from multitalk.flows.commands.options import Option, takes
from multitalk.flows.commands.words import AsJson, Root

if TYPE_CHECKING:
    from multitalk.flows.looking.run_status import RunStatus

_WATCH_SEC = 5.0


@takes(
    BuildSettings,
    Option("annotations", positional=True),
    Option("root"),
    Option("source_url", metavar="TEMPLATE"),
    Option("languages", "language"),
    Option("limit"),
    Option("workers"),
    Option("head_model", metavar="NAME|PATH"),
    Option("policy", metavar="NAME|FILE"),
    Option("retry", metavar="CODE", adds=True),
    Option("keep_raw"),
    Option("task_runner"),
)
def build(
    settings: BuildSettings,
    *,
    json: AsJson = False,
) -> int:
    """Check what was asked for, then build it."""
    check_annotations(settings.annotations, settings.languages)
    check_policy(settings.policy)
    check_head_model(settings.head_model)
    check_root(settings.root)
    return run_build(settings, as_json=json)


def run_build(settings: BuildSettings, *, as_json: bool = False) -> int:
    """Build, here or on the cluster that the settings name, and print the summary; 1 where no clip came out."""
    from multitalk.ground.arrow import spare_pandas

    spare_pandas()
    from multitalk.flows.looking.tables import print_summary

    if settings.task_runner == "local":
        from multitalk.flows.building.build import build

        summary = build(settings)
    else:
        from multitalk.flows.prefect_server import set_up_prefect

        set_up_prefect()
        from multitalk.flows.build_dataset import build_dataset

        summary = build_dataset(settings)
    if as_json:
        print(json_text.dumps(asdict(summary), ensure_ascii=False, indent=2))
    else:
        print_summary(summary)
    if any(language.ok for language in summary.languages):
        return 0
    print("multitalk: no clip of the dataset came out; the reasons are in the summary", file=sys.stderr)
    return 1


def status(
    *,
    root: Root,
    watch: Annotated[
        bool,
        Parameter(
            help="Say it again every few seconds until the build ends", negative=(), show_default=False
        ),
    ] = False,
    json: AsJson = False,
) -> int:
    """Say how far the newest build is: how fast, how long still, what failed and what is slow."""
    from multitalk.flows.looking.run_status import run_status

    while True:
        found = run_status(root, time.time())
        if json:
            print(json_text.dumps(asdict(found)), flush=True)
        else:
            _print_status(found)
        if not watch or found.state != "running":
            return 0
        time.sleep(_WATCH_SEC)


def _print_status(found: "RunStatus") -> None:
    from multitalk.flows.looking.tables import print_table
    from multitalk.flows.running.progress import duration

    pace = f", {found.videos_per_hour:.0f} videos an hour" if found.videos_per_hour else ""
    left = f", about {duration(found.left_sec)} left" if found.left_sec is not None else ""
    print(
        f"{found.run}: {found.state}; {found.videos_done}/{found.videos} videos, "
        f"{found.ok + found.failed}/{found.clips} clips ({found.failed} failed, {found.kept} kept) "
        f"in {duration(found.seconds)}{pace}{left}"
    )
    print_table([asdict(reason) for reason in found.failures], title="failed")
    stages = [
        {"stage": time.stage, "processor time": duration(time.seconds), "share": f"{100 * time.share:.0f}%"}
        for time in found.cpu_by_stage
    ]
    print_table(stages, title="where the processor's time goes")
    for title, times in (("at work", found.at_work), ("slowest so far", found.slowest)):
        rows = [{"video": t.video_id, "batch": t.batch, "for": duration(t.seconds)} for t in times]
        print_table(rows, title=title)

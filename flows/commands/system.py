"""Commands about this machine: ``assets``, ``doctor``, ``demo``."""

import json as json_text
import os
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from multitalk.flows.commands.words import AsJson, several_commands
from multitalk.ground.nearest import did_you_mean

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

assets = several_commands("assets")


@assets.command(name="list", sort_key=1, help="Every model file, and whether it is here.")
def list_assets(*, json: AsJson = False) -> int:
    """Print what is known of every model file."""
    from multitalk.assets.fetch import statuses

    found = statuses()
    if json:
        print(json_text.dumps([asdict(status) for status in found], default=str, indent=2))
        return 0
    from multitalk.flows.looking.tables import print_assets

    print_assets(found)
    return 0


@assets.command(name="fetch", sort_key=2, help="Download model files, verified.")
def fetch_assets(
    *names: Annotated[str, Parameter(help="None: all that can be had freely and is missing")],
) -> int:
    """Download model files, and print where they are."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from multitalk.assets.errors import AssetError, UnknownAsset
    from multitalk.assets.fetch import fetch, statuses
    from multitalk.assets.registry import REGISTRY

    wanted = names or tuple(s.asset.name for s in statuses() if s.state == "missing" and s.asset.downloadable)
    for name in wanted:
        if name not in REGISTRY:
            raise UnknownAsset(f"there is no asset named {name!r}{did_you_mean(name, REGISTRY)}")
    failed = 0
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=False) as bar:
        for name in wanted:
            task = bar.add_task(name, total=None)
            try:
                path = fetch(name, partial(_show, bar, task))
            except AssetError as error:
                failed += 1
                bar.remove_task(task)
                print(f"multitalk: error: {error}", file=sys.stderr)
            else:
                bar.update(task, completed=1, total=1) if bar.tasks[task].total is None else None
                print(f"{name}\t{path}")
    return 1 if failed else 0


def _show(bar: "Progress", task: "TaskID", done: int, total: int | None) -> None:
    bar.update(task, completed=done, total=total)


def doctor(
    *,
    root: Annotated[
        Path, Parameter(metavar="DIR", help="Folder of the dataset, whose disk is looked at")
    ] = Path("dataset"),
    source_url: Annotated[
        str | None,
        Parameter(metavar="TEMPLATE", help="Source whose reachability is looked at; none: YouTube"),
    ] = None,
    json: AsJson = False,
) -> int:
    """Print what a build needs, and what is missing."""
    from multitalk.flows.building.settings import YOUTUBE
    from multitalk.flows.running.doctor import examine

    findings = list(examine(root, source_url or YOUTUBE))
    if json:
        print(json_text.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        from multitalk.flows.looking.tables import print_checks

        print_checks(findings)
    return 1 if any(finding.state == "missing" for finding in findings) else 0


def demo(
    *,
    root: Annotated[
        Path, Parameter(metavar="DIR", help="Folder of the dataset: new, empty, or an earlier demo's")
    ] = Path("demo-dataset"),
    workers: Annotated[
        int | None, Parameter(metavar="N", help="Batches at work at the same time; none: as many as cores")
    ] = None,
    train: Annotated[
        bool,
        Parameter(
            help="Go on: train a prior and a talker in minutes, and measure them on held-out speakers",
            negative=(),
            show_default=False,
        ),
    ] = False,
) -> int:
    """Check what was asked for, then run the demo."""
    from multitalk.flows.commands.checks import check_root
    from multitalk.ground.settings import SettingsError

    if workers is not None and workers < 1:
        raise SettingsError(f"--workers: {workers} is no whole number of 1 or more")
    check_root(root)
    return run_demo_command(root, workers or os.cpu_count() or 1, train=train)


def run_demo_command(root: Path, workers: int, *, train: bool) -> int:
    """Build the demo's dataset, and train on it if asked to."""
    from multitalk.flows.demo.build import run_demo

    status = run_demo(root, workers=workers)
    if status != 0 or not train:
        return status
    from multitalk.flows.commands.models import quiet_lightning

    quiet_lightning()
    from multitalk.flows.demo.train import print_models, train_demo

    print_models(root, train_demo(root, root.with_name(root.name + "-models")))
    return 0

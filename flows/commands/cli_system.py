"""Commands about this machine: ``assets``, ``doctor``, ``demo``; and what a failing command returns."""

import argparse
import errno
import json
import logging
import os
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
GOES_ON = ("what was finished is kept, the same command goes on from there",)
"""What is said on Ctrl-C of commands that do so."""

_USAGE_ERRORS = (
    "HeadModelError",
    "ConfigError",
    "AnnotationFileError",
    "PolicyError",
    "QueryError",
    "DatasetError",
    "UnsafeNameError",
    "MotionError",
    "UnknownAsset",
    "VertexFileError",
    "RegionError",
    "MediaError",
    "RenderError",
    "CheckpointError",
    "WeightsError",
    "VocabularyError",
    "LayoutError",
    "TrainingError",
    "NoTrainingDataError",
    "UnknownPresetError",
    "UnknownLanguageError",
    "AudioEncoderError",
    "TalkError",
)
_RUN_ERRORS = (
    "AssetError",
    "AssetMissing",
    "AssetCorrupt",
    "LipReaderMissingError",
    "DownloadFailed",
    "FfmpegMissingError",
    "ClipError",
    "PrefectServerError",
)


def status_of(error: Exception) -> int | None:
    """Exit status for an error that is the user's to mend; None for a fault of ours, which shows its trace."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if names.intersection(_USAGE_ERRORS):
        return 2
    if names.intersection(_RUN_ERRORS):
        return 1
    if isinstance(error, NotADirectoryError | IsADirectoryError | FileExistsError):
        return 2
    return 1 if isinstance(error, PermissionError) or getattr(error, "errno", None) in _FULL else None


def message_of(error: Exception) -> str:
    """Say what an error of `status_of` was; of the system's, with the file that it is about."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename2 or error.filename}: {error.strerror}"
    return str(error)


def set_up_prefect() -> None:
    """Make Prefect quiet where the user has not said how it should be, and look for the server if one is named.

    To be called before Prefect's import.

    Raises
    ------
    PrefectServerError
        The server does not answer.
    """
    # What goes wrong is raised, too, and then said once by `multitalk` itself.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_INTERNAL_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    # On a slow machine these say at the end that they are still at work; their loggers are not Prefect's.
    for service in ("EventsWorker", "APILogWorker"):
        logging.getLogger(service).setLevel(logging.CRITICAL)
    from multitalk.flows.prefect_server import require_prefect_server

    require_prefect_server()


def add_commands(commands: Any) -> None:
    """Add the commands of this module to the parser's."""
    _add_assets(commands)
    doctor = commands.add_parser("doctor", help="what of this machine a build needs, and what is missing")
    doctor.add_argument("--root", type=Path, default=Path("dataset"), metavar="DIR")
    doctor.add_argument("--source-url", metavar="TEMPLATE", help="source whose reachability is looked at")
    doctor.add_argument("--json", action="store_true")
    doctor.set_defaults(run=_doctor)
    demo = commands.add_parser(
        "demo", help="build a small dataset offline, out of videos made on the spot, and show what comes out"
    )
    demo.add_argument("--root", type=Path, default=Path("demo-dataset"), metavar="DIR")
    demo.add_argument("--workers", type=_at_least_one, default=os.cpu_count() or 1, metavar="N")
    demo.add_argument(
        "--train",
        action="store_true",
        help="go on: train a prior and a talker in minutes, and measure them on held-out speakers",
    )
    demo.set_defaults(run=_demo)


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return int(text)


def _add_assets(commands: Any) -> None:
    assets = commands.add_parser("assets", help="model files: what for, licence, where, how to get them")
    actions = assets.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="every model file, and whether it is here")
    listing.add_argument("--json", action="store_true")
    listing.set_defaults(run=_list_assets)
    fetching = actions.add_parser("fetch", help="download model files, verified")
    fetching.add_argument(
        "names", nargs="*", metavar="NAME", help="none: all that can be had freely and is missing"
    )
    fetching.set_defaults(run=_fetch_assets)


def _list_assets(options: argparse.Namespace) -> int:
    from multitalk.assets.fetch import statuses

    found = statuses()
    if options.json:
        print(json.dumps([asdict(status) for status in found], default=str, indent=2))
        return 0
    from multitalk.flows.looking.tables import print_assets

    print_assets(found)
    return 0


def _fetch_assets(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from multitalk.assets.errors import AssetError, UnknownAsset
    from multitalk.assets.fetch import fetch, statuses

    names = options.names or [
        s.asset.name for s in statuses() if s.state == "missing" and s.asset.downloadable
    ]
    failed = 0
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        for name in names:
            task = bar.add_task(name, total=None)
            try:
                path = fetch(name, partial(_show, bar, task))
            except UnknownAsset:
                raise
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


def _doctor(options: argparse.Namespace) -> int:
    from multitalk.flows.building.settings import YOUTUBE
    from multitalk.flows.running.doctor import examine

    findings = list(examine(options.root, options.source_url or YOUTUBE))
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        from multitalk.flows.looking.tables import print_findings

        print_findings(findings)
    return 1 if any(finding.state == "missing" for finding in findings) else 0


def _demo(options: argparse.Namespace) -> int:
    from multitalk.flows.demo.build import run_demo

    status = run_demo(options.root, workers=options.workers)
    if status != 0 or not options.train:
        return status
    from multitalk.flows.commands.cli_models import quiet_lightning

    quiet_lightning()
    from multitalk.flows.demo.train import print_models, train_demo

    print_models(
        options.root, train_demo(options.root, options.root.with_name(options.root.name + "-models"))
    )
    return 0

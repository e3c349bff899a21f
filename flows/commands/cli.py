"""The ``multitalk`` command: reads arguments, calls one function, prints what it gives.

Progress goes to stderr, results to stdout. Exit status: 0 when the run finished, 2 for unusable arguments
or configuration, 1 when the run could not finish.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from multitalk.flows.commands import (
    cli_data,
    cli_discover,
    cli_evaluate,
    cli_head,
    cli_import,
    cli_models,
    cli_release,
    cli_sync,
    cli_system,
)
from multitalk.flows.running import own_session as apart


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="multitalk",
        description="Datasets and models for speech-driven 3D talking heads in many languages.",
    )
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_build(commands)
    cli_discover.add_commands(commands)
    cli_data.add_commands(commands)
    cli_release.add_commands(commands)
    cli_import.add_commands(commands)
    cli_models.add_commands(commands)
    cli_head.add_commands(commands)
    cli_evaluate.add_commands(commands)
    cli_sync.add_commands(commands)
    cli_system.add_commands(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``multitalk``; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    try:
        if getattr(options, "runs_flow", False) and not apart.is_apart():
            return apart.run_apart(arguments)
        return int(options.run(options))
    except KeyboardInterrupt:
        if not apart.is_apart():
            print("; ".join(["multitalk: stopped", *getattr(options, "if_stopped", ())]), file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of a pipe went away (`| head`); writing at exit must not fail a second time.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        status = cli_system.status_of(error)
        if status is None:
            raise
        print(f"multitalk: error: {cli_system.message_of(error)}", file=sys.stderr)
        return status


def _add_build(commands: Any) -> None:
    build = commands.add_parser(
        "build",
        help="build a dataset out of annotations",
        description="Download, trim, track, fit and measure every annotated clip; run again to continue.",
    )
    build.add_argument(
        "annotations", nargs="*", metavar="ANNOTATIONS", help="MultiTalk annotation files (JSON)"
    )
    build.add_argument("--root", type=Path, metavar="DIR", help="folder of the dataset")
    build.add_argument("--source-url", metavar="TEMPLATE", help="where a video is, with {video_id} in it")
    build.add_argument(
        "--language", action="append", dest="languages", metavar="L", help="only this language"
    )
    build.add_argument(
        "--limit", type=int, metavar="N", help="only the first N source videos of each language"
    )
    build.add_argument("--workers", type=int, metavar="N", help="batches at work at the same time")
    build.add_argument("--head-model", metavar="NAME|PATH", help="canonical (default), or a FLAME file")
    build.add_argument(
        "--policy", metavar="NAME|FILE", help="applied at the end; default: the dataset's own, or `default`"
    )
    build.add_argument(
        "--retry",
        action="append",
        metavar="CODE",
        help="try clips with this error code, too",
    )
    build.add_argument("--task-runner", choices=("local", "dask", "ray"), help="where batches run")
    build.add_argument(
        "--config", type=Path, metavar="FILE", help="YAML with any setting; options win over it"
    )
    build.add_argument("--json", action="store_true", help="print the summary as JSON")
    build.set_defaults(run=_build, if_stopped=cli_system.GOES_ON)


def _build(options: argparse.Namespace) -> int:
    from multitalk.flows.building.settings import BuildSettings, build_settings
    from multitalk.ground.settings import read_config

    values = read_config(options.config) if options.config else {}
    names = [
        "root",
        "source_url",
        "languages",
        "limit",
        "workers",
        "head_model",
        "policy",
        "task_runner",
    ]
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    if options.annotations:
        given["annotations"] = options.annotations
    if options.retry:
        given["retry"] = [*values.get("retry", BuildSettings.model_fields["retry"].default), *options.retry]
    settings = build_settings(**{**values, **given})
    return run_build(settings, as_json=options.json)


def run_build(settings: Any, *, as_json: bool = False) -> int:
    """Build, here or on the cluster that the settings name, and print the summary."""
    from multitalk.flows.looking.tables import print_summary

    if settings.task_runner == "local":
        from multitalk.flows.building.build import build
        from multitalk.ground.arrow import spare_pandas

        spare_pandas()
        summary = build(settings)
    else:
        cli_system.set_up_prefect()
        from multitalk.flows.build_dataset import build_dataset

        summary = build_dataset(settings)
    if as_json:
        print(json.dumps(asdict(summary), ensure_ascii=False, indent=2))
    else:
        print_summary(summary)
    return 0


if __name__ == "__main__":
    if apart.is_apart():
        apart.end_with_parent()
    sys.exit(main())

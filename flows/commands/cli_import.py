"""The command ``import``: data in the layout of another program enter a dataset."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any


def add_commands(commands: Any) -> None:
    """Add the command of this module to the parser's."""
    take = commands.add_parser(
        "import",
        help="take data in the published trainer's layout into a dataset",
        description="Encode npy/<Language>_<clip_id>.npz (vertices) on a head model and take them with wav/ into a "
        "dataset. Every clip ends as a row; the same command again goes on where it was stopped.",
    )
    take.add_argument("source", type=Path, metavar="DIR", help="folder with npy/, wav/, templates.pkl")
    take.add_argument("--layout", choices=("multitalk",), required=True, help="what the folder is")
    take.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder of the dataset")
    take.add_argument(
        "--head-model",
        default="flame_2020",
        metavar="NAME|PATH",
        help="the FLAME release that the vertices were made with (default flame_2020, as MultiTalk's)",
    )
    take.add_argument(
        "--max-error-mm",
        type=float,
        default=1.0,
        metavar="MM",
        help="mean distance of vertices and model above which a clip is fit_diverged (default 1)",
    )
    take.add_argument(
        "--release", metavar="NAME", help="also freeze a release divided by the layout's train.txt, test.txt"
    )
    take.add_argument("--device", default="cpu", help="where to compute: cpu (default), cuda")
    take.add_argument("--json", action="store_true", help="print the outcome as JSON")
    take.set_defaults(run=_import)


def _import(options: argparse.Namespace) -> int:
    from multitalk.flows.datasets.import_layout import import_layout

    summary = import_layout(
        options.source,
        options.root,
        head_model=options.head_model,
        max_error_mm=options.max_error_mm,
        release=options.release,
        device=options.device,
    )
    if options.json:
        print(json.dumps(asdict(summary), indent=2))
        return 0
    result = summary.result
    print(
        f"{options.root}: {result.clips} clips taken in, {result.failed} failed, {result.skipped} done before, of "
        f"{result.videos} source videos"
    )
    if summary.mean_error_mm is not None:
        print(
            f"vertices are {summary.mean_error_mm:.3f} mm from {summary.head_model} in the mean, "
            f"{summary.worst_error_mm:.3f} mm in the worst clip"
        )
    for code, count in summary.failures.items():
        print(f"  {code}: {count} clips")
    for name, reason in list(result.refused.items())[:20]:
        print(f"multitalk: {name} left out: {reason}", file=sys.stderr)
    splits = ", ".join(f"{count} {side}" for side, count in sorted(summary.splits.items()))
    print(f"judged by the policy {summary.policy}" + (f"; {options.release}: {splits}" if splits else ""))
    return 0

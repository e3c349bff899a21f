"""The command ``sync``: learns audio-visual sync from a built dataset and rescores it."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any


def add_commands(commands: Any) -> None:
    """Add the command of this module to the parser's."""
    sync = commands.add_parser(
        "sync",
        help="learn audio-visual sync from the dataset and rescore its clips",
        description="Learn from all source videos how lips go with sound, rescore av_correlation, "
        "av_offset_frames and av_confidence of every clip, and keep what was learned for later builds.",
    )
    sync.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder of the dataset")
    sync.add_argument(
        "--min-videos", type=int, default=20, metavar="N", help="fewest source videos to learn from"
    )
    sync.add_argument("--json", action="store_true", help="print the outcome as JSON")
    sync.set_defaults(run=_sync)


def _sync(options: argparse.Namespace) -> int:
    from multitalk.flows.datasets.sync import train_and_rescore

    summary = train_and_rescore(options.root, min_videos=options.min_videos)
    if options.json:
        print(json.dumps(asdict(summary)))
    else:
        print(
            f"learned from {summary.learned_from} source videos: {summary.predictor}\n"
            f"{summary.rescored_clips} clips rescored, {summary.unscored_clips} too short or silent to score; "
            f"`multitalk filter --root {options.root}` judges them anew"
        )
    return 0

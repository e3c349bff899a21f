"""Commands about fits and models: ``preview``, ``evaluate``, ``train``, ``talk``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass

FORMATS = ("terminal", "markdown", "csv", "latex", "json")


def add_commands(commands: Any) -> None:
    """Add the commands of this module to the parser's."""
    _add_preview(commands)


def _add_preview(commands: Any) -> None:
    preview = commands.add_parser(
        "preview",
        help="a video that shows how one clip was fitted",
        description="Write a video of one clip: landmarks, the fitted mesh over it and from the side, lip gap and "
        "residual as curves, with sound.",
    )
    preview.add_argument("clip_id", metavar="CLIP_ID")
    preview.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder of the dataset")
    preview.add_argument("--out", type=Path, required=True, metavar="FILE.mp4")
    preview.set_defaults(run=_preview)


def _preview(options: argparse.Namespace) -> int:
    import pyarrow.compute as pc

    from flows.heads import only_model
    from flows.preview import write_preview
    from manifests import open_dataset
    from manifests.paths import DatasetError

    _require_suffix(options.out, ".mp4")
    dataset = open_dataset(options.root)
    clips = dataset.arrow(["clip_id", "head_model"])
    clip = clips.filter(pc.equal(clips["clip_id"], options.clip_id))
    if clip["head_model"].null_count == clip.num_rows:
        raise DatasetError(f"{options.clip_id}: no such clip in {options.root}, or it was not fitted")
    model = only_model(clip["head_model"])
    frames = write_preview(dataset, model, options.clip_id, options.out)
    print(f"{options.out}: {frames} frames")
    return 0


def _require_suffix(path: Path, *suffixes: str) -> None:
    from flows.config import ConfigError

    if path.suffix not in suffixes:
        raise ConfigError(f"--out: {path} must end in {' or '.join(suffixes)}")

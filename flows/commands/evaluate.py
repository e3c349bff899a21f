"""The commands ``evaluate motion``, ``lip-reading``, ``talker`` and ``all``: what models are worth."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from multitalk.flows.commands.checks import check_dataset, check_files
from multitalk.flows.commands.options import Option, takes
from multitalk.flows.commands.words import several_commands
from multitalk.flows.evaluating.lip_reading_settings import ReadLipsSettings
from multitalk.flows.evaluating.settings import EvaluateReleaseSettings
from multitalk.flows.modelling.settings import EvaluateSettings, EvaluateTalkerSettings
from multitalk.flows.running.progress import ShownProgress
from multitalk.ground.settings import SettingsError

if TYPE_CHECKING:
    from multitalk.eval.tables import Table

evaluate = several_commands("evaluate")

Format = Annotated[
    Literal["terminal", "markdown", "csv", "latex", "json"], Parameter(help="Of the tables on stdout")
]
_NAMED = "[NAME=]DIR..."


def _named_folders(option: str, given: list[str]) -> dict[str, Path]:
    """Folders by model: NAME=DIR, or DIR alone, which is called by its own name."""
    folders: dict[str, Path] = {}
    for text in given:
        name, sign, place = text.partition("=")
        if not sign or Path(text).is_dir():  # a folder's own path may hold a "="
            name, place = Path(text).resolve().name, text
        if not (name and place):
            raise SettingsError(f"{option}: {text!r}: write NAME=DIR")
        folder = Path(place)
        if name in folders:
            raise SettingsError(f"{option}: two models are called {name!r}; write NAME=DIR")
        folders[name] = folder
    return folders


_RELEASE = (
    Option("release", metavar="NAME"),
    Option("root", metavar="DIR"),
    Option("split"),
    Option("head_model", metavar="NAME|PATH"),
)


@evaluate.command(
    sort_key=1,
    help="Predicted vertices against the true ones.\n\n"
    "Measure folders of .npy or .npz vertices against a folder of true ones, or a release's clips.",
)
@takes(
    EvaluateSettings,
    Option("predictions", metavar=_NAMED, several=True, read=_named_folders),
    Option("ground_truth", metavar="DIR"),
    *_RELEASE,
    Option("sounds", metavar="DIR"),
    Option("baselines"),
    Option("measures.metrics", metavar="NAME...", several=True),
    Option("measures.masks", metavar="FILE"),
    Option("measures.regions", metavar="FILE"),
    Option("measures.template", metavar="FILE"),
    Option("measures.closures", metavar="DIR|FILE"),
    Option("measures.metres_per_unit"),
)
def motion(
    settings: EvaluateSettings,
    *,
    plot: Annotated[
        tuple[str, Path] | None,
        Parameter(metavar="CLIP FILE.png", help="Draw the lips' error of one clip over time"),
    ] = None,
    video: Annotated[
        tuple[str, Path] | None,
        Parameter(metavar="CLIP FILE.mp4", help="Write one clip: all models side by side"),
    ] = None,
    out: Annotated[
        Path | None, Parameter(metavar="DIR", help="Write the tables here, in every format")
    ] = None,
    format: Format = "terminal",
) -> int:
    """Measure motion, and print the tables."""
    _check_root(settings.root)
    from multitalk.flows.evaluating.motion import evaluate
    from multitalk.flows.evaluating.written_tables import tables_text, write_tables
    from multitalk.flows.looking.clip_views import plot_errors, write_comparison

    with ShownProgress() as shown:
        tables = evaluate(settings, shown.step("clips measured"))
    if out is not None:
        write_tables(out, tables)
    sys.stdout.write(tables_text(tables, format))
    sys.stdout.flush()
    if plot is not None:
        plot_errors(settings, *plot)
    if video is not None:
        write_comparison(settings, *video)
    return _status(tables)


@evaluate.command(
    sort_key=2,
    help="What a recogniser reads off the lips, in noise.\n\n"
    "Read lips in noise with AV-HuBERT: of models, of the real video, and by sound alone. A run that was cut off "
    "goes on when it is started again.",
)
@takes(
    ReadLipsSettings,
    Option("languages", "language", metavar="L"),
    Option("models", "model", metavar=_NAMED, several=True, read=_named_folders),
    *_RELEASE,
    Option("clips", metavar="DIR"),
    Option("avlr", metavar="DIR"),
    Option("reading.protocol"),
    Option("reading.noises", "noise", metavar="DIR"),
    Option("reading.snrs_db", "snr", metavar="DB...", several=True),
    Option("reading.beam"),
    Option("reading.valid_clips", metavar="FILE"),
    Option("weights", metavar="DIR"),
    Option("whisper", metavar="DIR"),
    Option("metres_per_unit"),
    Option("reading.device"),
    Option("out", metavar="DIR"),
)
def lip_reading(settings: ReadLipsSettings, *, format: Format = "terminal") -> int:
    """Read lips, and print the tables."""
    _check_root(settings.root)
    from multitalk.flows.evaluating.lip_reading import read_lips
    from multitalk.flows.evaluating.written_tables import tables_text

    with ShownProgress() as shown:
        tables = read_lips(settings, shown.step)
    tables = [table for table in tables if "by noise" not in table.title]
    sys.stdout.write(tables_text(tables, format))
    return 0


@evaluate.command(
    sort_key=3,
    help="A talker on a release: motion, speed and codes.\n\n"
    "Speak the clips of a release, for `evaluate motion --predictions`; says how fast, and how the prior's codes "
    "are used.",
)
@takes(
    EvaluateTalkerSettings,
    *_RELEASE,
    Option("prior", metavar="CKPT"),
    Option("talker", metavar="CKPT"),
    Option("audio_encoder", metavar="DIR"),
    Option("device"),
)
def talker(
    settings: EvaluateTalkerSettings,
    *,
    out: Annotated[Path, Parameter(metavar="DIR", help="Gets <language>/<clip>.npz")],
    format: Format = "terminal",
) -> int:
    """Let a talker speak a release, and print the tables."""
    _check_root(settings.root)
    check_files("--prior", settings.prior)
    check_files("--talker", settings.talker)
    # As in `talk`: threads that spin between frames' small steps cost a fifth of the CPU time.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from multitalk.flows.evaluating.talker import evaluate_talker
    from multitalk.flows.evaluating.written_tables import tables_text

    with ShownProgress() as shown:
        tables = evaluate_talker(settings, out, shown.step("clips spoken"))
    sys.stdout.write(tables_text(tables, format))
    return 0


@evaluate.command(
    name="all",
    sort_key=4,
    help="Motion and lips on a release, for the report page.\n\n"
    "Measure motion and read lips on a release; `multitalk report` then shows the tables.",
)
@takes(
    EvaluateReleaseSettings,
    Option("predictions", metavar=_NAMED, several=True, read=_named_folders),
    *_RELEASE,
    Option("name"),
)
def both(settings: EvaluateReleaseSettings, *, format: Format = "terminal") -> int:
    """Measure motion, read lips, and print the tables."""
    _check_root(settings.root)
    from multitalk.flows.evaluating.release import evaluate_release
    from multitalk.flows.evaluating.written_tables import tables_text

    with ShownProgress() as shown:
        tables = evaluate_release(settings, shown.step)
    sys.stdout.write(tables_text(tables, format))
    return _status(tables)


def _status(tables: "Sequence[Table]") -> int:
    """Return 1 where a model that was named has no figure."""
    from multitalk.flows.evaluating.motion import UNMEASURED

    for table in tables:
        if table.title == UNMEASURED:
            names = ", ".join(str(row[0]) for row in table.rows)
            print(
                f"multitalk: no clip of {names} could be measured; the last table says why", file=sys.stderr
            )
            return 1
    return 0


def _check_root(root: Path | None) -> None:
    if root is not None:
        check_dataset(root)

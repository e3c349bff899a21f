"""The commands ``evaluate motion``, ``evaluate lip-reading``, ``evaluate talker`` and ``evaluate all``."""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multitalk.flows.commands.cli_system import GOES_ON
from multitalk.flows.running.step_progress import StepProgress

FORMATS = ("terminal", "markdown", "csv", "latex", "json")


def add_commands(commands: Any) -> None:
    """Add the commands of this module to the parser's."""
    evaluate = commands.add_parser("evaluate", help="measure what models predict")
    kinds = evaluate.add_subparsers(title="kinds", metavar="KIND", required=True)
    _add_motion(kinds)
    _add_lip_reading(kinds)
    _add_talker(kinds)
    _add_all(kinds)


def _add_motion(kinds: Any) -> None:
    motion = kinds.add_parser(
        "motion",
        help="predicted vertices against the true ones",
        description="Measure folders of .npy or .npz vertices against a folder of true ones, or a release's clips.",
    )
    motion.add_argument(
        "--predictions", nargs="+", default=[], metavar="[NAME=]DIR", help="a folder for each model"
    )
    motion.add_argument("--ground-truth", type=Path, metavar="DIR", help="folder of true vertices")
    _add_release(motion)
    motion.add_argument("--sounds", type=Path, metavar="DIR", help="<clip>.wav beside --ground-truth")
    motion.add_argument(
        "--baselines",
        action="store_true",
        default=None,
        help="add the still face, the mean face, and others' motion",
    )
    motion.add_argument("--metrics", nargs="+", metavar="NAME", help="default: all that can be measured")
    motion.add_argument("--masks", type=Path, metavar="FILE", help="FLAME_masks.pkl, for the upper face")
    motion.add_argument("--regions", type=Path, metavar="FILE", help="JSON regions of another mesh")
    motion.add_argument("--template", type=Path, metavar="FILE", help="neutral face: .npy or templates.pkl")
    motion.add_argument(
        "--closures",
        type=Path,
        metavar="DIR|FILE",
        help="when p, b and m close the lips: <clip>.TextGrid from an aligner, or JSON",
    )
    motion.add_argument("--metres-per-unit", type=float, metavar="X", help="0.001 for millimetres")
    motion.add_argument(
        "--plot", nargs=2, metavar=("CLIP", "FILE.png"), help="draw the lips' error of one clip over time"
    )
    motion.add_argument(
        "--video", nargs=2, metavar=("CLIP", "FILE.mp4"), help="write one clip: all models side by side"
    )
    motion.add_argument("--out", type=Path, metavar="DIR", help="write the tables here, in every format")
    _add_common(motion)
    motion.set_defaults(run=_evaluate_motion)


def _add_lip_reading(kinds: Any) -> None:
    lips = kinds.add_parser(
        "lip-reading",
        help="what a recogniser reads off the lips, in noise",
        description="Read lips in noise with AV-HuBERT: of models, of the real video, and by sound alone. A run "
        "that was cut off goes on when it is started again.",
    )
    lips.add_argument("--language", action="append", dest="languages", metavar="L", help="may be repeated")
    lips.add_argument(
        "--model",
        nargs="+",
        default=[],
        metavar="[NAME=]DIR",
        help="a folder for each model: .npy or .npz vertices, or .mp4",
    )
    _add_release(lips)
    lips.add_argument(
        "--clips", type=Path, metavar="DIR", help="instead: <clip>.wav, <clip>.mp4, transcripts.json"
    )
    lips.add_argument("--avlr", type=Path, metavar="DIR", help="instead: MultiTalk's avlr/<language>")
    lips.add_argument("--protocol", choices=("fair", "multitalk"), help="default: fair")
    lips.add_argument("--noise", type=Path, metavar="DIR", help="recordings; default: babble of the dataset")
    lips.add_argument("--snr", nargs="+", type=float, metavar="DB", help="default: -7.5 -10")
    lips.add_argument("--beam", type=int, metavar="N", help="default: 1, greedy")
    lips.add_argument("--valid-clips", type=Path, metavar="FILE", help="JSON: true or false by clip")
    lips.add_argument("--weights", type=Path, metavar="DIR", help="recogniser; default: av_hubert_<code>")
    lips.add_argument("--whisper", type=Path, metavar="DIR", help="makes references; default: Whisper base")
    lips.add_argument("--metres-per-unit", type=float, metavar="X", help="0.001 for millimetres")
    lips.add_argument("--device", help="torch device, such as cuda; default: cpu")
    lips.add_argument("--out", type=Path, metavar="DIR", help="readings and tables, a folder a language")
    _add_common(lips)
    lips.set_defaults(run=_evaluate_lip_reading, if_stopped=GOES_ON)


def _add_talker(kinds: Any) -> None:
    talker = kinds.add_parser(
        "talker",
        help="a talker on a release: motion, speed and codes",
        description="Speak the clips of a release, for `evaluate motion --predictions`; says how fast, and how the "
        "prior's codes are used.",
    )
    _add_release(talker)
    talker.add_argument("--prior", type=Path, metavar="CKPT")
    talker.add_argument("--talker", type=Path, metavar="CKPT")
    talker.add_argument("--audio-encoder", type=Path, metavar="DIR", help="default: Whisper base")
    talker.add_argument("--device", help="torch device, such as cuda; default: cpu")
    talker.add_argument("--out", type=Path, required=True, metavar="DIR", help="gets <language>/<clip>.npz")
    _add_common(talker)
    talker.set_defaults(run=_evaluate_talker)


def _add_all(kinds: Any) -> None:
    both = kinds.add_parser(
        "all",
        help="both, on a release, for the report page",
        description="Measure motion and read lips on a release; `multitalk report` then shows the tables.",
    )
    both.add_argument(
        "--predictions", nargs="+", default=[], metavar="[NAME=]DIR", help="a folder for each model"
    )
    _add_release(both)
    both.add_argument("--name", help="of the evaluation; default: the release's")
    _add_common(both)
    both.set_defaults(run=_evaluate_all, if_stopped=GOES_ON)


def _add_release(parser: Any) -> None:
    parser.add_argument("--release", metavar="NAME", help="clips of a release of --root")
    parser.add_argument("--root", type=Path, metavar="DIR", help="folder of the dataset")
    parser.add_argument("--split", choices=("train", "val", "test"), help="part of the release: test")
    parser.add_argument("--head-model", metavar="NAME|PATH", help="where the release does not tell")


def _add_common(parser: Any) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="YAML with any setting; options win over it"
    )
    parser.add_argument("--format", choices=FORMATS, default="terminal", help="of the tables on stdout")


def _evaluate_motion(options: argparse.Namespace) -> int:
    from multitalk.flows.modelling.settings import EvaluateSettings
    from multitalk.ground.settings import validated

    named = _given(options, "ground_truth", "release", "root", "split", "sounds", "baselines", "head_model")
    if options.predictions:
        named["predictions"] = _named_folders("--predictions", options.predictions)
    measures = _given(options, "metrics", "masks", "regions", "template", "closures", "metres_per_unit")
    settings = validated(EvaluateSettings, _with_config(options.config, named, "measures", measures))
    from multitalk.flows.evaluating.motion import evaluate
    from multitalk.flows.evaluating.written_tables import tables_text, write_tables
    from multitalk.flows.looking.clip_views import plot_errors, write_comparison

    tables = evaluate(settings, StepProgress("clips measured"))
    if options.out is not None:
        write_tables(options.out, tables)
    sys.stdout.write(tables_text(tables, options.format))
    sys.stdout.flush()
    if options.plot is not None:
        plot_errors(settings, options.plot[0], Path(options.plot[1]))
    if options.video is not None:
        write_comparison(settings, options.video[0], Path(options.video[1]))
    return 0


def _evaluate_lip_reading(options: argparse.Namespace) -> int:
    from multitalk.flows.evaluating.lip_reading_settings import ReadLipsSettings
    from multitalk.ground.settings import validated

    names = ("languages", "release", "root", "split", "clips", "avlr", "weights", "whisper")
    named = _given(options, *names, "head_model", "metres_per_unit", "out")
    if options.model:
        named["models"] = _named_folders("--model", options.model)
    reading = _given(options, "protocol", "beam", "valid_clips", "device")
    reading |= {k: v for k, v in (("noises", options.noise), ("snrs_db", options.snr)) if v is not None}
    settings = validated(ReadLipsSettings, _with_config(options.config, named, "reading", reading))
    from multitalk.flows.evaluating.lip_reading import read_lips
    from multitalk.flows.evaluating.written_tables import tables_text

    tables = [table for table in read_lips(settings, StepProgress) if "by noise" not in table.title]
    sys.stdout.write(tables_text(tables, options.format))
    return 0


def _evaluate_talker(options: argparse.Namespace) -> int:
    from multitalk.flows.modelling.settings import EvaluateTalkerSettings
    from multitalk.ground.settings import read_config, validated

    names = ("root", "release", "split", "prior", "talker", "audio_encoder", "head_model", "device")
    values = read_config(options.config) if options.config is not None else {}
    settings = validated(EvaluateTalkerSettings, values | _given(options, *names))
    # As in `talk`: threads that spin between frames' small steps cost a fifth of the CPU time.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from multitalk.flows.evaluating.talker import evaluate_talker
    from multitalk.flows.evaluating.written_tables import tables_text

    tables = evaluate_talker(settings, options.out, StepProgress("clips spoken"))
    sys.stdout.write(tables_text(tables, options.format))
    return 0


def _evaluate_all(options: argparse.Namespace) -> int:
    from multitalk.flows.evaluating.settings import EvaluateReleaseSettings
    from multitalk.ground.settings import read_config, validated

    named = _given(options, "root", "release", "split", "head_model", "name")
    if options.predictions:
        named["predictions"] = _named_folders("--predictions", options.predictions)
    values = read_config(options.config) if options.config is not None else {}
    settings = validated(EvaluateReleaseSettings, {**values, **named})
    from multitalk.flows.evaluating.release import evaluate_release
    from multitalk.flows.evaluating.written_tables import tables_text

    sys.stdout.write(tables_text(evaluate_release(settings, StepProgress), options.format))
    return 0


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def _with_config(
    config: Path | None, named: Mapping[str, Any], part: str, of_part: Mapping[str, Any]
) -> dict[str, Any]:
    """Lay the command line's settings over a YAML file's; `part` holds settings of its own."""
    from multitalk.ground.settings import read_config

    values = read_config(config) if config is not None else {}
    inner = values.get(part, {})
    # What is no mapping is left for the settings to refuse, with the field's name.
    merged = {**inner, **of_part} if isinstance(inner, dict) else inner
    return {**values, **named, part: merged}


def _named_folders(option: str, given: list[str]) -> dict[str, Path]:
    """Folders by model: NAME=DIR, or DIR alone, which is called by its own name."""
    from multitalk.ground.settings import ConfigError

    folders: dict[str, Path] = {}
    for text in given:
        name, sign, place = text.partition("=")
        if not sign or Path(text).is_dir():  # a folder's own path may hold a "="
            name, place = Path(text).resolve().name, text
        if not (name and place):
            raise ConfigError(f"{option}: {text!r}: write NAME=DIR")
        folder = Path(place)
        if name in folders:
            raise ConfigError(f"{option}: two models are called {name!r}; write NAME=DIR")
        folders[name] = folder
    return folders

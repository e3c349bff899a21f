"""Commands about fits and models: ``preview``, ``train``, ``talk``."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from multitalk.flows.running.step_progress import StepProgress


def add_commands(commands: Any) -> None:
    """Add the commands of this module to the parser's."""
    _add_preview(commands)
    _add_train(commands)
    _add_talk(commands)


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

    from multitalk.flows.looking.preview import write_preview
    from multitalk.flows.modelling.stored_heads import only_model
    from multitalk.manifests import open_dataset
    from multitalk.manifests.paths import DatasetError

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


def _add_train(commands: Any) -> None:
    train = commands.add_parser(
        "train",
        help="train a motion prior, then a talker",
        description="Train on accepted clips, or on a release. The talker speaks through the prior of --out.",
    )
    train.add_argument("kind", choices=("prior", "talker"))
    train.add_argument("--root", type=Path, metavar="DIR", help="folder of the dataset")
    train.add_argument("--preset", metavar="NAME", help="multitalk (default), multitalk-reference or tiny")
    train.add_argument("--out", type=Path, metavar="DIR", help="the experiment: gets prior/ and talker/")
    train.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    train.add_argument("--release", metavar="NAME", help="train on this release")
    train.add_argument("--steps", type=int, metavar="N", help="optimiser steps, instead of the preset's")
    train.add_argument(
        "--audio-encoder", type=Path, metavar="DIR", help="of the talker; default: Whisper base"
    )
    train.add_argument(
        "--audio-tuning",
        choices=("frozen", "lora", "top_layers", "full"),
        help="how much of a wav2vec 2.0 in --audio-encoder is trained along with the talker; default: frozen",
    )
    train.add_argument(
        "--config", type=Path, metavar="FILE", help="YAML with any setting; options win over it"
    )
    train.set_defaults(run=_train, if_stopped=("go on with --resume",))


def _train(options: argparse.Namespace) -> int:
    from multitalk.flows.modelling.settings import TrainSettings
    from multitalk.ground.settings import read_config, validated

    values = read_config(options.config) if options.config else {}
    names = ("root", "preset", "out", "release", "steps", "audio_encoder", "audio_tuning")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    settings = validated(TrainSettings, values | given | ({"resume": True} if options.resume else {}))
    quiet_lightning()
    from multitalk.flows.modelling.models import train

    shown: dict[str, StepProgress] = {}

    def told(what: str, done: int, of: int) -> None:
        shown.setdefault(what, StepProgress(what))(done, of)

    trained = train(options.kind, settings, told)
    print(f"best   {trained.best}\nlast   {trained.last}")
    for name, value in sorted(trained.figures.items()):
        print(f"{name}   {value:.6g}")
    if trained.note:
        print(f"note: {trained.note}", file=sys.stderr)
    return 0


def quiet_lightning() -> None:
    """Keep Lightning's tips and notes off the terminal; errors are raised."""
    import logging
    import warnings

    import lightning.pytorch  # noqa: F401 - sets the level of its logger when it is imported

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\.")


def _add_talk(commands: Any) -> None:
    talk = commands.add_parser(
        "talk",
        help="speech in, moving face out",
        description="Speak sound files of any length: vertices and motion (.npz, .npy) or a video with the sound.",
    )
    talk.add_argument("audio", nargs="+", type=Path, metavar="AUDIO", help="sound or video file")
    talk.add_argument(
        "--language", required=True, metavar="L", help="style: french, or french:0.3,german:0.7"
    )
    talk.add_argument("--prior", type=Path, required=True, metavar="CKPT")
    talk.add_argument("--talker", type=Path, required=True, metavar="CKPT")
    talk.add_argument("--out", type=Path, required=True, metavar="FILE.npz|FILE.mp4|DIR")
    talk.add_argument("--format", choices=("npz", "npy", "mp4"), default="npz", help="of files in --out DIR")
    talk.add_argument("--head-model", metavar="NAME|PATH", help="default: the one that the prior names")
    talk.add_argument("--audio-encoder", type=Path, metavar="DIR", help="default: Whisper base")
    talk.set_defaults(run=_talk)


def _talk(options: argparse.Namespace) -> int:
    out = _talk_files(options)
    # Frames follow one another in small steps: threads that spin between them cost a fifth of the CPU time.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from multitalk.flows.modelling.models import speak

    spoken = speak(
        options.audio,
        options.language,
        options.prior,
        options.talker,
        out,
        head_model=options.head_model,
        encoder=options.audio_encoder,
    )
    for place, frames in zip(out, spoken, strict=True):
        print(f"{place}: {frames} frames")
    return 0


def _talk_files(options: argparse.Namespace) -> list[Path]:
    """Files to write: --out, or with several sounds one for each in it; never over a sound."""
    from multitalk.ground.settings import ConfigError

    files = _named_talk_files(options)
    sounds = {audio.resolve() for audio in options.audio}
    if over := next((place for place in files if place.resolve() in sounds), None):
        raise ConfigError(
            f"--out: {over} is one of the sounds, and would be overwritten; choose another place"
        )
    return files


def _named_talk_files(options: argparse.Namespace) -> list[Path]:
    from multitalk.ground.settings import ConfigError

    if len(options.audio) == 1:
        _require_suffix(options.out, ".npz", ".npy", ".mp4")
        return [options.out]
    if options.out.suffix:
        raise ConfigError(f"--out: several sounds need a folder, {options.out} looks like a file")
    names = [audio.stem for audio in options.audio]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"--out: several sounds are called {', '.join(twice)}")
    return [options.out / f"{name}.{options.format}" for name in names]


def _require_suffix(path: Path, *suffixes: str) -> None:
    from multitalk.ground.settings import ConfigError

    if path.suffix not in suffixes:
        raise ConfigError(f"--out: {path} must end in {' or '.join(suffixes)}")

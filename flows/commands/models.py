"""Commands about models: ``train``, ``talk``, ``sync``, ``preview``, ``view``, ``head-model embed``."""

import json as json_text
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from multitalk.flows.commands.checks import (
    check_dataset,
    check_files,
    check_head_model,
    check_preset,
    check_suffix,
)
from multitalk.flows.commands.options import Option, takes
from multitalk.flows.commands.words import AsJson, Root, several_commands
from multitalk.flows.modelling.settings import TalkFilesSettings, TrainSettings
from multitalk.ground.settings import SettingsError
from multitalk.training.talk import parse_languages

head_model = several_commands("head-model")
TALK_ENDINGS = (".npz", ".npy", ".mp4", ".glb", ".usd", ".usda", ".usdc", ".csv", ".json")


@takes(
    TrainSettings,
    Option("root", metavar="DIR"),
    Option("out", metavar="DIR"),
    Option("preset"),
    Option("release", metavar="NAME"),
    Option("steps"),
    Option("resume"),
    Option("audio_encoder", metavar="DIR"),
    Option("audio_tuning"),
)
def train(
    settings: TrainSettings,
    kind: Annotated[Literal["prior", "talker"], Parameter(help="What to train; a talker needs a prior")],
    /,
) -> int:
    """Check what was asked for, then train."""
    check_preset(settings.preset)
    check_dataset(settings.root)
    return run_training(kind, settings)


def run_training(kind: Literal["prior", "talker"], settings: TrainSettings) -> int:
    """Train, and print the checkpoints and what they are worth."""
    quiet_lightning()
    from multitalk.flows.modelling.trained_models import train
    from multitalk.flows.running.progress import ShownProgress

    with ShownProgress() as shown:
        trained = train(kind, settings, shown.update)
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


def _style(_: str, texts: list[str]) -> dict[str, float]:
    return parse_languages(",".join(texts))


@takes(
    TalkFilesSettings,
    Option("audio", positional=True),
    Option("languages", "language", metavar="L", read=_style),
    Option("prior", metavar="CKPT"),
    Option("talker", metavar="CKPT"),
    Option("out", metavar="FILE|DIR"),
    Option("format"),
    Option("head_model", metavar="NAME|PATH"),
    Option("audio_encoder", metavar="DIR"),
    Option("temperature"),
    Option("seed"),
    Option("batch"),
    Option("device"),
)
def talk(settings: TalkFilesSettings) -> int:
    """Speak sounds, and say what was written."""
    out = _talk_files(settings)
    check_files("--prior", settings.prior)
    check_files("--talker", settings.talker)
    check_files("AUDIO", *settings.audio)
    check_head_model(settings.head_model)
    # Frames follow one another in small steps: threads that spin between them cost a fifth of the CPU time.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from multitalk.flows.modelling.trained_models import talk_to_files

    spoken = talk_to_files(
        settings.audio,
        settings.style,
        settings.prior,
        settings.talker,
        out,
        head_model=settings.head_model,
        encoder=settings.audio_encoder,
    )
    for place, frames in zip(out, spoken, strict=True):
        print(f"{place}: {frames} frames")
    return 0


def _talk_files(settings: TalkFilesSettings) -> list[Path]:
    """Files to write: --out, or with several sounds one for each in it; never over a sound."""
    files = _named_talk_files(settings)
    sounds = {audio.resolve() for audio in settings.audio}
    if over := next((place for place in files if place.resolve() in sounds), None):
        raise SettingsError(
            f"--out: {over} is one of the sounds, and would be overwritten; choose another place"
        )
    return files


def _named_talk_files(settings: TalkFilesSettings) -> list[Path]:
    audio, out = settings.audio, settings.out
    if len(audio) == 1:
        check_suffix(out, *TALK_ENDINGS)
        return [out]
    if out.suffix:
        raise SettingsError(f"--out: several sounds need a folder, {out} looks like a file")
    names = [sound.stem for sound in audio]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SettingsError(f"--out: several sounds are called {', '.join(twice)}")
    return [out / f"{name}.{settings.format}" for name in names]


def preview(
    clip_id: Annotated[str, Parameter(help="A clip that was fitted")],
    /,
    *,
    root: Root,
    out: Annotated[Path, Parameter(metavar="FILE.mp4", help="The video to write")],
) -> int:
    """Write the preview of one clip."""
    check_suffix(out, ".mp4")
    check_dataset(root)
    import pyarrow.compute as pc

    from multitalk.flows.looking.preview import write_preview
    from multitalk.flows.modelling.stored_heads import only_model
    from multitalk.flows.running.progress import ShownProgress
    from multitalk.manifests import open_dataset
    from multitalk.manifests.paths import DatasetError

    dataset = open_dataset(root)
    clips = dataset.arrow(["clip_id", "head_model"])
    clip = clips.filter(pc.equal(clips["clip_id"], clip_id))
    if clip["head_model"].null_count == clip.num_rows:
        raise DatasetError(f"{clip_id}: no such clip in {root}, or it was not fitted")
    model = only_model(clip["head_model"])
    with ShownProgress() as shown:
        frames = write_preview(dataset, model, clip_id, out, shown.step("frames drawn"))
    print(f"{out}: {frames} frames")
    return 0


def view(
    shown: Annotated[
        list[str],
        Parameter(metavar="CLIP|FILE", help="Clips of --root, and .npz or .npy files; side by side"),
    ],
    /,
    *,
    out: Annotated[Path, Parameter(metavar="FILE.html", help="The page to write")],
    root: Annotated[
        Path | None, Parameter(metavar="DIR", help="Folder of the dataset with the clips")
    ] = None,
    sound: Annotated[Path | None, Parameter(metavar="FILE", help="What the files speak")] = None,
    head_model: Annotated[
        str | None, Parameter(metavar="NAME|PATH", help="Head model of files that do not name theirs")
    ] = None,
) -> int:
    """Write the page."""
    check_suffix(out, ".html")
    files = [Path(name) for name in shown if Path(name).suffix in (".npz", ".npy")]
    check_files("FILE", *files, *filter(None, [sound]))
    if len(files) < len(shown) and root is None:
        raise SettingsError("--root: clips are those of a dataset: give its folder")
    if root is not None:
        check_dataset(root)
    check_head_model(head_model)
    from multitalk.flows.looking.shown_heads import head_of_clip, head_of_file
    from multitalk.flows.looking.viewer import write_page
    from multitalk.manifests import open_dataset

    heads = []
    for name in shown:
        if Path(name) in files:
            heads.append(head_of_file(Path(name), sound, head_model))
        else:
            assert root is not None
            heads.append(head_of_clip(open_dataset(root), name, head_model))
    size = write_page(heads, out)
    print(f"{out}: {len(heads)} heads, {size / 1e6:.1f} MB")
    return 0


def sync(
    *,
    root: Root,
    min_videos: Annotated[int, Parameter(metavar="N", help="Fewest source videos to learn from")] = 20,
    json: AsJson = False,
) -> int:
    """Learn sync, rescore the clips, and say how many."""
    check_dataset(root)
    from multitalk.flows.datasets.sync import train_and_rescore

    summary = train_and_rescore(root, min_videos=min_videos)
    if json:
        print(json_text.dumps(asdict(summary)))
    else:
        print(
            f"learned from {summary.learned_from} source videos: {summary.predictor}\n"
            f"{summary.rescored_clips} clips rescored, {summary.unscored_clips} too short or silent to score; "
            f"`multitalk filter --root {root}` judges them anew"
        )
    return 0


@head_model.command(
    help="MediaPipe's 468 points on FLAME's surface, or on the head `anny`.\n\n"
    "Register MediaPipe's canonical face mesh to a FLAME file's mean head, so that fits need no landmark "
    "embedding of FLAME's. Beside the FLAME file, which is the default, fits use it. On `anny`, which comes with its "
    "own, the detector itself is asked, by pictures of the head; that takes minutes."
)
def embed(
    flame: Annotated[
        str, Parameter(metavar="FLAME.pkl|anny", help="A FLAME file, the name of a release, or `anny`")
    ],
    /,
    *,
    out: Annotated[
        Path | None,
        Parameter(metavar="FILE.npz", help="None: beside the FLAME file; anny_landmarks.npz here"),
    ] = None,
    picture: Annotated[
        Path | None, Parameter(metavar="FILE.png", help="Draw the points on the mean head")
    ] = None,
) -> int:
    """Make an embedding and say how good it is."""
    if out is not None:
        check_suffix(out, ".npz")
    if picture is not None:
        check_suffix(picture, ".png", option="--picture")
    check_head_model(flame)
    if flame == "anny":
        from multitalk.flows.modelling.asked_embedding import embed_anny

        place = out or Path("anny_landmarks.npz")
        figures = embed_anny(place, picture)
    else:
        from multitalk.flows.modelling.landmark_embedding import embed as make_embedding

        place, figures = make_embedding(flame, out, picture)
    print(place)
    for name, value in figures.items():
        print(f"{name:62} {value:.2f}")
    return 0

"""``multitalk demo --train``: a prior and a talker on the demo's dataset, measured on speakers they never met."""

import os
import shutil
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from multitalk.eval.drawing.talking_video import write_side_by_side
from multitalk.eval.ground_truth import ReleaseTruth
from multitalk.eval.motion.baselines import write_baseline
from multitalk.eval.motion.evaluate_motion import MotionEvaluation, evaluate_motion
from multitalk.eval.motion.motion_tables import legend_table, summary_table
from multitalk.eval.settings import MotionEvaluationSettings
from multitalk.eval.tables import Table
from multitalk.eval.vertex_files import read_vertices
from multitalk.filters.policy import load_policy, policy_text
from multitalk.filters.verdicts import apply
from multitalk.flows.building.dataset_policy import policy_of
from multitalk.flows.evaluating.talker import evaluate_talker
from multitalk.flows.looking.curves import read_curve
from multitalk.flows.modelling.settings import EvaluateTalkerSettings, TrainSettings
from multitalk.flows.modelling.stored_heads import only_model
from multitalk.flows.modelling.trained_models import Kind, train
from multitalk.ground.files import atomic
from multitalk.manifests.media import read_sound
from multitalk.manifests.paths import audio_path, clip_path
from multitalk.manifests.releases.release import create_release, read_release
from multitalk.manifests.schema import MANIFEST
from multitalk.training.run.lightning_run import Progress

RELEASE = "unheard-speakers"
HELD_OUT = ("enSpeaker00", "itSpeaker00")
"""Source videos of the test split: their voices and their languages are in no training clip."""
TALKER, MEAN_MOTION, MEAN_FACE = "talker", "mean_motion", "mean_face"
_LINE = 110
_METRICS = (
    "lve_squared",
    "lve_rms",
    "mve",
    "mod_inner",
    "lip_correlation",
    "opening_correlation",
    "jitter_ratio",
)


@dataclass(frozen=True, slots=True)
class DemoModels:
    """What was trained and measured."""

    folder: Path
    """The experiment, with `prior/`, `talker/`, `predictions/`, `evaluation.md` and `side-by-side.mp4`."""
    losses: Table
    talker: list[Table]
    """How fast it spoke, and in which codes."""
    evaluation: MotionEvaluation


def train_demo(
    root: Path, out: Path, *, held_out: Sequence[str] = HELD_OUT, steps: int | None = None
) -> DemoModels:
    """Train preset `tiny` on all speakers of the demo but some, and measure it on those.

    Parameters
    ----------
    root
        The demo's dataset, built.
    out
        Folder of the experiment; what was there is replaced.
    held_out
        Source videos that are kept from training.
    steps
        Optimiser steps of each model; none: the preset's.
    """
    shutil.rmtree(out, ignore_errors=True)
    _divide(root, held_out)
    settings = TrainSettings(root=root, out=out, preset="tiny", release=RELEASE, steps=steps)
    losses = Table(
        "Training",
        ("model", "loss, first steps", "loss, last steps", "seconds"),
        tuple(_trained(kind, settings) for kind in ("prior", "talker")),
    )
    # The release has no validation split: `best` was chosen on training clips, held-out ones choose nothing.
    speaking = EvaluateTalkerSettings(
        root=root, release=RELEASE, prior=out / "prior/best.pt", talker=out / "talker/best.pt"
    )
    spoken = evaluate_talker(speaking, out / "predictions" / TALKER)
    evaluation = _evaluate(root, out)
    _write_video(root, out)
    models = DemoModels(out, losses, spoken, evaluation)
    parts = [table.text("markdown") for table in (*_tables(models), legend_table(evaluation))]
    with atomic(out / "evaluation.md") as temporary:
        temporary.write_text("\n".join([*parts, worth(evaluation)]), "utf-8")
    return models


def print_models(root: Path, models: DemoModels) -> None:
    """Print the tables, what they say, and where to look."""
    shown = [table.text("terminal") for table in _tables(models)]
    folder, command = models.folder, Path(os.path.relpath(sys.executable)).with_name("multitalk")
    predictions = " ".join(f"{name}={folder}/predictions/{name}" for name in (TALKER, MEAN_MOTION, MEAN_FACE))
    print("\n".join([*shown, textwrap.fill(worth(models.evaluation), _LINE), ""]))
    print(f"Look at\n  video      {folder}/side-by-side.mp4\n  tables     {folder}/evaluation.md")
    print(
        f"Measure\n  {command} evaluate motion --predictions {predictions} --release {RELEASE} --root {root}\n"
        f"Talk\n  {command} talk SPEECH.wav --language german --prior {folder}/prior/best.pt "
        f"--talker {folder}/talker/best.pt --out talk.mp4"
    )


def _tables(models: DemoModels) -> list[Table]:
    return [models.losses, *models.talker, summary_table(models.evaluation, "clip")]


def lip_errors(evaluation: MotionEvaluation) -> dict[str, float]:
    """Return the Lip Vertex Error of each model, m^2, mean over clips."""
    return {
        model: next(
            f.value for f in figures if (f.metric, f.group, f.pooling) == ("lve_squared", "all", "clip")
        )
        for model, figures in evaluation.figures.items()
    }


def worth(evaluation: MotionEvaluation) -> str:
    """Say in words what the figures mean, and what they do not."""
    errors = lip_errors(evaluation)
    ratios = {name: errors[TALKER] / errors[name] for name in (MEAN_MOTION, MEAN_FACE)}
    clips = evaluation.scores[TALKER]
    beaten = all(ratio < 1 for ratio in ratios.values())
    wins = sum(
        own.means["lve_squared"] < mean.means["lve_squared"]
        for own, mean in zip(clips, evaluation.scores[MEAN_MOTION], strict=True)
    )
    return (
        f"The talker {'beats' if beaten else 'DOES NOT BEAT'} both baselines on held-out clips: its Lip Vertex Error "
        f"is {ratios[MEAN_MOTION]:.0%} of the mean motion's and {ratios[MEAN_FACE]:.0%} of the mean face's, and below "
        f"the mean motion's in {wins} of {len(clips)} clips. Held out are all clips of "
        f"{len({clip.source for clip in clips})} of the demo's five source videos, so that neither their voices nor "
        "their languages were heard in training. What it is worth: it shows that sound, models and metrics hang "
        "together, and no more. The demo's lips follow synthetic speech by a simple rule, on one portrait, for less "
        "than a minute in all; such a model knows that rule and nothing of real faces.\n"
    )


def _divide(root: Path, held_out: Sequence[str]) -> None:
    source = policy_of(root)
    policy = load_policy(source, MANIFEST)
    shutil.rmtree(root / "releases" / RELEASE, ignore_errors=True)

    def split(clips: pa.Table) -> pa.Array:
        return pc.if_else(pc.is_in(clips["video_id"], pa.array(held_out)), "test", "train").combine_chunks()

    create_release(
        root,
        RELEASE,
        policy=policy_text(source),
        add_verdicts=lambda clips: apply(policy, clips),
        split=split,
    )


def _trained(kind: Kind, settings: TrainSettings) -> tuple[str, float, float, float]:
    begun = time.monotonic()
    train(kind, settings, _progress_of(kind))
    losses = [value for _, value in read_curve(settings.out / kind, "train/loss")]
    few = max(1, len(losses) // 10)  # single steps are noisy
    first, last = sum(losses[:few]) / few, sum(losses[-few:]) / few
    return kind, first, last, round(time.monotonic() - begun, 1)


def _progress_of(kind: Kind) -> Progress:
    """Make a line on stderr for every tenth of the work."""

    def show_progress(what: str, done: int, of: int) -> None:
        if done * 10 // of != (done - 1) * 10 // of:
            print(f"{kind}: {what}: {done} of {of}", file=sys.stderr, flush=True)

    return show_progress


def _evaluate(root: Path, out: Path) -> MotionEvaluation:
    folders = {name: out / "predictions" / name for name in (TALKER, MEAN_MOTION, MEAN_FACE)}
    head_model = only_model(read_release(root, RELEASE)["head_model"])
    truth = ReleaseTruth(root, RELEASE, head_model, "test")
    seen = ReleaseTruth(root, RELEASE, head_model, "train")
    write_baseline("mean", truth, folders[MEAN_MOTION], learnt_from=seen)
    write_baseline("still", truth, folders[MEAN_FACE])
    return evaluate_motion(truth, folders, MotionEvaluationSettings(metrics=_METRICS))


def _write_video(root: Path, out: Path) -> None:
    """Write the first held-out clip: real video, fitted motion, talker and mean motion, with its sound."""
    head_model = only_model(read_release(root, RELEASE)["head_model"])
    truth = ReleaseTruth(root, RELEASE, head_model, "test")
    clip = truth.load(truth.clip_ids[0])
    columns = {"fitted": clip.vertices}
    for name in (TALKER, MEAN_MOTION):
        place = next((out / "predictions" / name / clip.language).glob(f"{clip.clip_id}.np?"))
        columns[name] = read_vertices(place)
    write_side_by_side(
        out / "side-by-side.mp4",
        columns,
        head_model.faces,
        head_model.v_template,
        real=clip_path(root, clip.language, clip.clip_id),
        sound=read_sound(audio_path(root, clip.language, clip.clip_id)),
        colours=head_model.colours,
    )

"""A talker on the clips of a release: its motion in a folder, how fast it speaks, and which codes."""

import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from multitalk.eval.ground_truth import ReleaseTruth
from multitalk.eval.motion.generation import codebook_perplexity, codebook_usage, speed_of
from multitalk.eval.tables import Table
from multitalk.fit_flame.heads.head_model import HeadModel
from multitalk.flows.modelling.settings import EvaluateTalkerSettings
from multitalk.flows.modelling.stored_heads import only_model, to_motion
from multitalk.flows.modelling.trained_models import open_audio_encoder
from multitalk.ground.settings import SettingsError
from multitalk.manifests import open_dataset
from multitalk.manifests.paths import audio_path
from multitalk.manifests.releases.release import read_release

if TYPE_CHECKING:
    from multitalk.training.model.motion_prior import MotionPrior
    from multitalk.training.reference.prior import ReferencePrior
    from multitalk.training.talk import Spoken

Codes = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


def evaluate_talker(
    settings: EvaluateTalkerSettings, folder: Path, progress: Callable[[int, int], None] | None = None
) -> list[Table]:
    """Speak the sound of each clip of a split in the style of its language, one clip after the other.

    Parameters
    ----------
    settings
        Which models, which clips.
    folder
        Gets `<language>/<clip_id>.npz`, as `multitalk evaluate motion` takes them.
    progress
        Called with clips done and clips in all.

    Returns
    -------
    list of Table
        Speed; and perplexity and use of the prior's codes, by the true motion and by the talker's.

    Raises
    ------
    SettingsError
        The split has no clips.
    DatasetError, MotionError, TalkError, CheckpointError, UnknownLanguageError, AudioEncoderError, AssetError
        The release or a model can not be used; the message says what to do.
    """
    import torch

    from multitalk.ground.units import FPS
    from multitalk.training.model.model_files import load_prior
    from multitalk.training.talk import Spoken, write_spoken

    clips = read_release(settings.root, settings.release)
    clips = clips.filter(pc.equal(clips["split"], settings.split))
    if not clips.num_rows:
        raise SettingsError(f"release {settings.release}: no clip is in its split {settings.split!r}")
    head_model = only_model(clips["head_model"], settings.head_model)
    places = sorted((str(row["language"]), str(row["clip_id"])) for row in clips.to_pylist())
    prior, dataset = load_prior(settings.prior).prior, open_dataset(settings.root)
    truth = ReleaseTruth(settings.root, settings.release, head_model, settings.split)
    seconds: list[float] = []
    frames: list[int] = []
    true: list[Codes] = []
    spoken: list[Codes] = []
    for (language, clip_id), (spent, said) in zip(places, _timed(settings, places, head_model), strict=True):
        if progress is not None:
            progress(len(frames), len(places))
        write_spoken(said, folder / language / f"{clip_id}.npz")
        seconds.append(spent)
        frames.append(len(said.vertices))
        spoken.append(_codes(prior, said, head_model))
        fitted = Spoken(truth.load(clip_id).vertices, to_motion(dataset.motion(clip_id)))
        true.append(_codes(prior, fitted, head_model))
    speed = speed_of(seconds, frames, FPS, f"{settings.device}, {torch.get_num_threads()} threads")
    figures = (speed.device, len(frames), sum(frames) / FPS)
    columns = ("device", "clips", "speech, s", "real-time factor", "latency, s", "frames/s")
    row = (*figures, speed.real_time_factor, speed.latency_sec, speed.frames_per_second)
    note = "One clip after the other, audio encoder included; latency: median time until a clip's motion is there."
    return [Table("Speed", columns, (row,), note), _codes_table(true, spoken, prior.settings.codebook_size)]


def _timed(
    settings: EvaluateTalkerSettings, places: list[tuple[str, str]], head_model: HeadModel
) -> Iterator[tuple[float, "Spoken"]]:
    """Seconds of work and motion of each clip; the places are sorted by language."""
    from multitalk.training.model.model_files import load_prior
    from multitalk.training.talk import TalkSettings, talk

    # Talkers of the reference's architecture hold their own encoder.
    architecture = load_prior(settings.prior).prior.settings.architecture
    encoder = open_audio_encoder(settings.audio_encoder) if architecture == "multitalk" else None
    for language, own in groupby(places, key=lambda place: place[0]):
        sounds = [audio_path(settings.root, language, clip_id) for _, clip_id in own]
        how = TalkSettings(languages={language: 1.0}, batch=1, device=settings.device)
        # The first clip opens the models and warms up; it is spoken once more.
        spoken = talk([sounds[0], *sounds], settings.prior, settings.talker, head_model, how, encoder)
        next(spoken)
        for _ in sounds:
            begun = time.perf_counter()
            said = next(spoken)
            yield time.perf_counter() - begun, said


def _codes(prior: "MotionPrior | ReferencePrior", said: "Spoken", head_model: HeadModel) -> Codes:
    """(T, G) codes nearest to what the prior encodes: our values of motion, the reference's offsets of vertices."""
    import torch

    from multitalk.training.model.motion_prior import MotionPrior

    if isinstance(prior, MotionPrior):
        assert said.motion is not None
        values = np.concatenate([said.motion.expression, said.motion.jaw], axis=1)
    else:
        values = (said.vertices - head_model.v_template).reshape(len(said.vertices), -1)
    with torch.inference_mode():
        codes: Codes = prior.quantise(torch.as_tensor(values, dtype=torch.float32)[None]).codes[0].numpy()
    return codes


def _codes_table(true: list[Codes], spoken: list[Codes], entries: int) -> Table:
    rows = []
    for name, codes in (("true", true), ("talker", spoken)):
        flat = np.concatenate([c.ravel() for c in codes])
        rows.append((name, codebook_perplexity(flat, entries), codebook_usage(flat, entries)))
    note = (
        f"Of the prior's {entries} codes, those nearest to the motion's latents: perplexity is {entries} when all are "
        "used alike, 1 when only one is."
    )
    return Table("Codes", ("motion", "perplexity", "share in use"), tuple(rows), note)

"""Training a motion prior, then a talker over it, on a dataset.

An experiment is a folder: `prior/` and `talker/` in it hold `best.pt` and `last.pt` (models, see
`multitalk.training.model.model_files`), `last.ckpt` (the run, to go on from) and the logged curves.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from multitalk.training.errors import TrainingError
from multitalk.training.run.lightning_run import Progress, TrainedModel, claim, run_task
from multitalk.training.run_settings import PriorRun, TalkerRun, TrainingSettings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from multitalk.fit_flame.heads.head_model import HeadModel
    from multitalk.training.data.motion_data import CachedFeatures, Samples
    from multitalk.training.data.packed import PackedMotion
    from multitalk.training.data.rounds import Rounds
    from multitalk.training.model.audio_encoder import AudioEncoder
    from multitalk.training.model.tuning import TunedEncoder
    from multitalk.training.reference.talker import ReferenceTalker
    from multitalk.training.run.tasks import RunContext
    from multitalk.training.settings import TuningSettings


def train_prior(
    root: Path,
    run: PriorRun,
    out: Path,
    head_model: HeadModel,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> TrainedModel:
    """Train a motion prior on the dataset at `root`, into `out`/prior.

    Parameters
    ----------
    root : Path
        Folder of the dataset.
    run : PriorRun
        Model and training.
    out : Path
        Folder of the experiment.
    head_model : HeadModel
        The one that the dataset was fitted with.
    resume : bool
        Go on from the last checkpoint if there is one; without it an experiment is never overwritten.
    progress : callable, optional
        Told how many steps are done.

    Raises
    ------
    TrainingError
        When the head model is another, or the experiment is there already.
    NoTrainingDataError
        When there is nothing to train on.
    """
    import torch

    from multitalk.training.model.face_decoder import FaceDecoder
    from multitalk.training.model.model_files import PriorFile, save_prior
    from multitalk.training.model.motion_prior import MotionPrior, statistics
    from multitalk.training.reference.prior import ReferencePrior
    from multitalk.training.run.tasks import PriorTask
    from multitalk.training.settings import MotionPriorSettings

    folder = out / "prior"
    packed = _packed(root, run, head_model)
    claim(folder, run, resume=resume)
    torch.manual_seed(run.training.seed)
    mean, deviation = statistics(_sample(packed))
    prior: MotionPrior | ReferencePrior
    if isinstance(run.model, MotionPriorSettings):
        prior = MotionPrior(run.model, mean, deviation)
    else:
        _check_vertices(run.model.vertex_values, head_model)
        prior = ReferencePrior(run.model)
    names = sorted(set(packed.language.tolist()))
    rounds = _rounds(packed, {name: row for row, name in enumerate(names)}, run.training)

    def export(model: nn.Module, name: str) -> None:
        assert isinstance(model, MotionPrior | ReferencePrior)
        save_prior(PriorFile(model, head_model.key), folder / f"{name}.pt")

    context = _run_context(rounds, names, mean)
    task = PriorTask(prior, FaceDecoder(head_model), run.training, context, export)
    return run_task(task, rounds, folder, resume=resume, progress=progress)


def train_talker(
    root: Path,
    run: TalkerRun,
    out: Path,
    head_model: HeadModel,
    *,
    prior: Path | None = None,
    audio_encoder: AudioEncoder | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> TrainedModel:
    """Train a talker on the dataset at `root`, into `out`/talker.

    Parameters
    ----------
    root : Path
        Folder of the dataset.
    run : TalkerRun
        Model, audio encoder and training.
    out : Path
        Folder of the experiment.
    head_model : HeadModel
        The one that the dataset was fitted with.
    prior : Path, optional
        The motion prior; by default the experiment's, `out`/prior/best.pt.
    audio_encoder : AudioEncoder, optional
        Instead of the one that the settings name. A reference talker brings its own.
    resume : bool
        Go on from the last checkpoint if there is one; without it an experiment is never overwritten.
    progress : callable, optional
        Told how the encoding of sound and the training go.

    Raises
    ------
    TrainingError
        When head model or prior do not go with the dataset, the experiment is there already, or it was begun
        over another prior or audio encoder.
    NoTrainingDataError
        When there is nothing to train on.
    AudioEncoderError
        When the audio encoder can not be opened.
    """
    import torch

    from multitalk.training.data.motion_data import Samples
    from multitalk.training.model.audio_encoder import load_audio_encoder
    from multitalk.training.model.face_decoder import FaceDecoder
    from multitalk.training.model.model_files import TalkerFile, load_prior, save_talker, weights_digest
    from multitalk.training.model.motion_prior import MotionPrior, statistics
    from multitalk.training.model.talker import Talker
    from multitalk.training.reference.talker import ReferenceTalker
    from multitalk.training.run.tasks import TalkerTask
    from multitalk.training.settings import TalkerSettings

    folder = out / "talker"
    packed = _packed(root, run, head_model)
    prior_file = load_prior(prior or out / "prior" / "best.pt")
    if prior_file.head_model not in (None, head_model.key):
        raise TrainingError(
            f"the prior was trained on head model {prior_file.head_model}, not {head_model.key}"
        )
    rows = _language_rows(packed, run.model.languages)
    rounds, samples = _rounds(packed, rows, run.training), Samples(root, packed)
    talker: Talker | ReferenceTalker
    fingerprint = None
    if isinstance(run.model, TalkerSettings) != isinstance(prior_file.prior, MotionPrior):
        raise TrainingError("talker and prior must be of the same architecture")
    built_on = {"prior": weights_digest(prior_file.prior)}
    torch.manual_seed(run.training.seed)
    if isinstance(run.model, TalkerSettings):
        assert isinstance(prior_file.prior, MotionPrior)
        encoder = audio_encoder or load_audio_encoder(run.audio)
        fingerprint, width = encoder.fingerprint, encoder.width
        claim(folder, run, built_on | {"audio_encoder": fingerprint}, resume=resume)
        tuned_encoder, encoder = _cut(encoder, run.audio.tuning)
        cache = run.training.data.cache or root / "cache"
        rounds.sound = _encoded(samples, encoder, cache, rounds, progress)
        talker = Talker(run.model, width, prior_file.prior.settings, tuned_encoder)
    else:
        claim(folder, run, built_on, resume=resume)
        _check_vertices(run.model.vertex_values, head_model)
        rounds.sound = samples
        talker = ReferenceTalker(run.model)
        _start_from_pretrained(talker, run.audio.directory)

    def export(model: nn.Module, name: str) -> None:
        assert isinstance(model, Talker | ReferenceTalker)
        save_talker(TalkerFile(model, built_on["prior"], fingerprint), folder / f"{name}.pt")

    context = _run_context(rounds, list(run.model.languages), statistics(_sample(packed))[0])
    task = TalkerTask(talker, prior_file.prior, FaceDecoder(head_model), run.training, context, export)
    return run_task(task, rounds, folder, resume=resume, progress=progress)


def _packed(root: Path, run: PriorRun | TalkerRun, head_model: HeadModel) -> PackedMotion:
    """Pack the dataset, and refuse one that this run can not be trained on."""
    from multitalk.manifests import open_dataset
    from multitalk.training.data.packed import packed_motion

    data = run.training.data
    packed = packed_motion(open_dataset(root), data.cache or root / "cache", data.release)
    if str(packed.head_model) != head_model.key:
        raise TrainingError(f"{root} was fitted with head model {packed.head_model}, not {head_model.key}")
    if not len(packed.of_split("train")):
        raise TrainingError(f"{root}: no clip is left for training beside validation and test")
    return packed


def _rounds(packed: PackedMotion, rows: dict[str, int], training: TrainingSettings) -> Rounds:
    from multitalk.training.data.rounds import Rounds

    return Rounds(packed, rows, None, training)


def _run_context(rounds: Rounds, languages: list[str], mean: Tensor) -> RunContext:
    from multitalk.training.run.tasks import RunContext

    return RunContext(rounds.steps, rounds.steps_per_epoch, languages, mean)


def _sample(packed: PackedMotion, clips: int = 2000) -> Tensor:
    """Motion (M, F) of training clips spread over the dataset: enough to know its statistics."""
    import numpy as np
    import torch

    train = packed.of_split("train")
    chosen = train[:: max(1, len(train) // clips)]
    return torch.from_numpy(np.concatenate([packed.window(c, 0, int(packed.frames[c])) for c in chosen]))


def _language_rows(packed: PackedMotion, languages: tuple[str, ...]) -> dict[str, int]:
    unknown = sorted(set(packed.language.tolist()) - set(languages))
    if unknown:
        raise TrainingError(
            f"the talker has no row for {', '.join(unknown)}: set `model.languages` in the `changes` of a "
            "--config file"
        )
    return {name: row for row, name in enumerate(languages)}


def _check_vertices(vertex_values: int, head_model: HeadModel) -> None:
    wanted = head_model.v_template.size
    if vertex_values != wanted:
        raise TrainingError(
            f"`model.vertex_values` is {vertex_values}, but head model {head_model.key} has {wanted}"
        )


def _encoded(
    samples: Samples, encoder: AudioEncoder, cache: Path, rounds: Rounds, progress: Progress | None
) -> CachedFeatures:
    """Encode the sound of all clips that training or validation will hear."""
    from multitalk.training.data.motion_data import cache_features

    held_out = {clip for context in rounds.validation_batches() for clip in context.clips}
    clips = sorted(held_out | set(samples.packed.of_split("train").tolist()))

    def show_progress(done: int, of: int) -> None:
        if progress is not None:
            progress("sound encoded", done, of)

    return cache_features(samples, encoder, cache, clips, show_progress)


def _cut(encoder: AudioEncoder, tuning: TuningSettings) -> tuple[TunedEncoder | None, AudioEncoder]:
    """Divide an audio encoder into what is trained along and what stays frozen."""
    if tuning.kind == "frozen":
        return None, encoder
    from multitalk.training.model.audio_encoder import Wav2Vec2Encoder
    from multitalk.training.model.tuning import TunedEncoder, lower_part

    if not isinstance(encoder, Wav2Vec2Encoder):
        raise TrainingError(f"audio encoder {encoder.fingerprint} can only be frozen; tune a wav2vec 2.0")
    return TunedEncoder(encoder.model, tuning), lower_part(encoder, tuning)


def _start_from_pretrained(talker: ReferenceTalker, directory: Path | None) -> None:
    """Begin with published weights of the audio encoder, as the reference did; without them from nothing."""
    from multitalk.training.model.pretrained import load_wav2vec2

    if directory is not None:
        pretrained = load_wav2vec2(directory)
        if pretrained.state_dict().keys() != talker.audio_encoder.state_dict().keys():
            raise TrainingError(f"{directory}: not of the size that `model.audio` says")
        talker.audio_encoder.load_state_dict(pretrained.state_dict())

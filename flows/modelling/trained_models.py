"""Training and using models: what a command or a flow has to bring together for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from multitalk.assets.fetch import require
from multitalk.fit_flame.heads.anny import NAME as ANNY
from multitalk.fit_flame.heads.head_model import HeadModel
from multitalk.flows.modelling.head_models import load_head_model
from multitalk.flows.modelling.motion_files import LAYOUT_OF, with_weights, write_motion
from multitalk.flows.modelling.settings import TrainSettings
from multitalk.flows.modelling.stored_heads import model_of, only_model
from multitalk.flows.running.devices import check_device
from multitalk.ground.settings import validated
from multitalk.training.model.audio_encoder import AudioEncoder, load_audio_encoder
from multitalk.training.presets import prior_preset, talker_preset
from multitalk.training.run.lightning_run import Progress, TrainedModel
from multitalk.training.run.loop import train_prior, train_talker
from multitalk.training.run_settings import AudioSettings, PriorRun, TalkerRun
from multitalk.training.settings import AudioEncoderError
from multitalk.training.talk import Spoken, TalkError, TalkSettings, talk, write_spoken

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float32

Kind = Literal["prior", "talker"]
EncoderKind = Literal["whisper", "wav2vec2"]
Run = TypeVar("Run", PriorRun, TalkerRun)


def train(kind: Kind, settings: TrainSettings, progress: Progress | None = None) -> TrainedModel:
    """Train a motion prior, or a talker over the experiment's prior.

    Parameters
    ----------
    kind
        `prior` or `talker`.
    settings
    progress
        Told how the encoding of sound and the training go.

    Raises
    ------
    TrainingError, NoTrainingDataError, UnknownPresetError, AudioEncoderError, CheckpointError
        Training can not begin or go on; the message says what to do.
    SettingsError
        A change does not fit the preset.
    DatasetError, MotionError
        The dataset can not be used, or was fitted with several head models.
    """
    resume = settings.resume
    if kind == "prior":
        prior = _run(prior_preset(settings.preset), settings)
        head_model = _head_model(settings)
        return train_prior(settings.root, prior, settings.out, head_model, resume=resume, progress=progress)
    talker = _talker_run(settings)
    encoder = None
    if talker.model.architecture == "multitalk":
        encoder = load_audio_encoder(_with_folder(talker.audio))
        # Its folder may be another when the run goes on elsewhere.
        talker = talker.model_copy(update={"audio": talker.audio.model_copy(update={"directory": None})})
    elif talker.audio.tuning.kind != "frozen":
        raise AudioEncoderError(
            f"preset {settings.preset} always trains its audio encoder: leave out the tuning"
        )
    return train_talker(
        settings.root,
        talker,
        settings.out,
        _head_model(settings),
        audio_encoder=encoder,
        resume=resume,
        progress=progress,
    )


def open_audio_encoder(folder: Path | None) -> AudioEncoder:
    """Open the frozen audio encoder in a folder, Whisper base if none is given.

    Raises
    ------
    AudioEncoderError, AssetError
        There is no such model.
    """
    given = (
        AudioSettings() if folder is None else AudioSettings(encoder=_encoder_in(folder), directory=folder)
    )
    return load_audio_encoder(_with_folder(given))


def _encoder_in(folder: Path) -> EncoderKind:
    # CTranslate2's models are all in a file of this name.
    return "whisper" if (folder / "model.bin").is_file() else "wav2vec2"


def _with_folder(audio: AudioSettings) -> AudioSettings:
    """Take Whisper base where no folder is given."""
    if audio.encoder != "whisper" or audio.directory is not None:
        return audio
    return audio.model_copy(update={"directory": require("whisper_base")})


def talk_to_files(
    audio: Sequence[Path],
    style: TalkSettings,
    prior: Path,
    talker: Path,
    out: Sequence[Path],
    *,
    head_model: str | None = None,
    encoder: Path | None = None,
) -> Iterator[int]:
    """Speak sound files: motion as `.npz` or `.npy`, a video with the sound as `.mp4`, or a file of an engine.

    Parameters
    ----------
    audio
        Sound or video files; they run in lock step.
    style
        Languages, temperature, seed, batch and device.
    prior, talker
        Files of the models.
    out
        File to write for each.
    head_model
        Name or path; none: the one that the prior names.
    encoder
        Folder of the talker's audio encoder; none: Whisper base.

    Yields
    ------
    int
        Frames of each file, once it is written.

    Raises
    ------
    TalkError, CheckpointError, UnknownLanguageError, AudioEncoderError, AssetError, RenderError
        A file or model can not be used; the message says what to do.
    SettingsError
        There is no such device.
    """
    from multitalk.training.model.model_files import load_prior

    check_device(style.device)
    opened = load_prior(prior)
    named = opened.head_model
    if named is not None:
        model = model_of(named, head_model)
    elif head_model is not None:
        model = load_head_model(head_model)
    else:
        raise TalkError(f"{prior}: does not name its head model: give --head-model")
    # Talkers of the reference's architecture hold their own encoder.
    opened_encoder = (
        open_audio_encoder(encoder) if opened.prior.settings.architecture == "multitalk" else None
    )
    for path, place, spoken in zip(
        audio, out, talk(audio, prior, talker, model, style, opened_encoder), strict=True
    ):
        if place.suffix == ".mp4":
            _write_video(path, spoken.vertices, model, place)
        elif place.suffix in LAYOUT_OF:
            _write_for_engine(spoken, model, place)
        else:
            write_spoken(spoken, place)
        yield len(spoken.vertices)


def _write_for_engine(spoken: Spoken, model: HeadModel, place: Path) -> None:
    if spoken.motion is None:
        raise TalkError(f"{place}: the reference's talker moves vertices only: write .npz, .npy or .mp4")
    arkit = load_head_model(ANNY) if model.rules is None else None
    write_motion(*with_weights(spoken.motion, model, arkit), place, LAYOUT_OF[place.suffix])


def _write_video(
    audio: Path, vertices: Float32[Array, "frames vertices 3"], model: HeadModel, place: Path
) -> None:
    from multitalk.eval.drawing.talking_video import write_head_video
    from multitalk.ground.units import FPS
    from multitalk.manifests.media import read_sound

    place.parent.mkdir(parents=True, exist_ok=True)
    write_head_video(
        place,
        vertices,
        model.faces,
        model.v_template,
        fps=FPS,
        sound=read_sound(audio),
        colours=model.colours,
    )


def _head_model(settings: TrainSettings) -> HeadModel:
    import pyarrow.compute as pc

    from multitalk.manifests.releases.release import read_release
    from multitalk.manifests.store import read_manifest

    if settings.release is not None:
        return only_model(read_release(settings.root, settings.release)["head_model"])
    clips = read_manifest(settings.root, ["accepted", "head_model"])
    return only_model(clips.filter(pc.fill_null(clips["accepted"], False))["head_model"])


def _talker_run(settings: TrainSettings) -> TalkerRun:
    """Change a preset's run as the settings say; the two options about the audio encoder win where they are given."""
    preset, options = talker_preset(settings.preset), dict[str, Any]()
    if settings.audio_encoder is not None:
        options |= {"encoder": _encoder_in(settings.audio_encoder), "directory": settings.audio_encoder}
    if "audio_tuning" in settings.model_fields_set:
        options["tuning"] = {"kind": settings.audio_tuning}
    if preset.model.architecture == "reference":
        options["encoder"] = "wav2vec2"
    return _run(preset, settings, {"audio": options} if options else {})


def _run(preset: Run, settings: TrainSettings, options: dict[str, Any] | None = None) -> Run:
    """Change a preset's run as the settings say, then as the options do."""
    wanted: dict[str, Any] = {"training": {"data": {"release": settings.release}}}
    if settings.steps is not None:
        round_steps = min(settings.steps, preset.training.round_steps)
        wanted["training"] |= {"steps": settings.steps, "round_steps": round_steps}
    values = _merged(_merged(preset.model_dump(), wanted), settings.changes)
    return validated(type(preset), _merged(values, options or {}))


def _merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Put `changes` over `values`, mapping by mapping."""
    merged = dict(values)
    for name, change in changes.items():
        old = values.get(name)
        nested = isinstance(old, dict) and isinstance(change, dict)
        merged[name] = _merged(dict(old or {}), change) if nested else change
    return merged

"""Speech in, motion out: what is behind `multitalk talk`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveInt

from multitalk.ground.units import FPS
from multitalk.manifests.media import MediaError, read_sound
from multitalk.training.model.audio_encoder import SAMPLES_PER_FRAME
from multitalk.training.settings import ModelSettings

if TYPE_CHECKING:
    from torch import Tensor

    from multitalk.fit_flame.heads.head_model import HeadModel
    from multitalk.fit_flame.parameters.motion import Motion
    from multitalk.ground.arrays import Array, Float32
    from multitalk.training.model.audio_encoder import AudioEncoder
    from multitalk.training.model.model_files import TalkerFile
    from multitalk.training.model.motion_prior import MotionPrior
    from multitalk.training.reference.prior import ReferencePrior

CAMERA, DISTANCE = (1400.0, 256.0, 256.0), 0.6
"""Focal length and centre in pixels of a 512 px picture, and metres to the head: it fills most of the picture."""


class TalkError(ValueError):
    """Sound can not be read, or models do not go together; the message says what to do."""


class TalkSettings(ModelSettings):
    """How a talker speaks."""

    languages: dict[str, float] = Field(
        description="style: french, or a mixture such as french:0.3,german:0.7"
    )
    temperature: float = Field(
        default=0.0,
        ge=0,
        description="0: the most even motion; about 1: a likely one, another with every seed",
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="of drawn motion")
    batch: PositiveInt = Field(default=32, description="files that run in lock step")
    device: str = Field(default="cpu", description="where torch runs, e.g. `cuda`")


@dataclass(frozen=True, slots=True)
class Spoken:
    """Motion that goes with a sound, T frames at 25 a second."""

    vertices: Float32[Array, "frames vertices 3"]
    """(T, V, 3) metres, head at rest before the camera."""
    motion: Motion | None
    """Head-model parameters; None from the reference's models, which know vertices alone."""


def parse_languages(text: str) -> dict[str, float]:
    """Read `french` or a mixture `french:0.3,german:0.7`.

    Raises
    ------
    TalkError
        When a weight is no finite number, or a name is empty or comes twice.
    """
    weights: dict[str, float] = {}
    for part in text.split(","):
        written, _, weight = part.strip().partition(":")
        name = written.strip().lower()
        if name in weights:
            raise TalkError(f"{text!r} names {name} twice; give it one weight")
        weights[name] = _weight(weight or "1", part.strip())
    if "" in weights:
        raise TalkError(f"{text!r} names no language; write french, or french:0.3,german:0.7")
    return weights


def _weight(text: str, part: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise TalkError(f"{part!r} is not a language with a weight such as french:0.3")
    return weight


def talk(
    audio: Sequence[Path],
    prior: Path,
    talker: Path,
    head_model: HeadModel,
    settings: TalkSettings,
    audio_encoder: AudioEncoder | None = None,
) -> Iterator[Spoken]:
    """Speak files of any length, several at a time.

    Parameters
    ----------
    audio : sequence of Path
        Sound or video files of any kind that FFmpeg's libraries read.
    prior, talker : Path
        Files of the models, ours or the reference's.
    head_model : HeadModel
        Decodes motion; for the reference's models it gives the mean face.
    settings : TalkSettings
        Language style and batches.
    audio_encoder : AudioEncoder, optional
        The one that the talker was trained with, as it was before; the reference's brings its own.

    Yields
    ------
    Spoken
        For each file in turn.

    Raises
    ------
    CheckpointError, UnknownLanguageError
        When a model can not be opened, or does not know a language.
    TalkError
        When a file holds no sound, or models do not go together.
    """
    import torch

    from multitalk.training.model.model_files import load_prior, load_talker

    prior_file = load_prior(prior)
    if prior_file.head_model not in (None, head_model.key):
        raise TalkError(f"{prior}: speaks head model {prior_file.head_model}, not {head_model.key}")
    talker_file = load_talker(talker, prior_file.prior, audio_encoder)
    speaker = _LoadedModels(prior_file.prior, talker_file, head_model, settings, audio_encoder)
    torch.manual_seed(settings.seed)
    for start in range(0, len(audio), settings.batch):
        yield from speaker.speak([read_audio(path) for path in audio[start : start + settings.batch]])


def write_spoken(spoken: Spoken, path: Path) -> None:
    """Write `.npy` (the vertices) or `.npz` (vertices, and the motion's arrays by name).

    Raises
    ------
    TalkError
        When the name ends otherwise.
    """
    from multitalk.ground.files import atomic

    if path.suffix == ".npy":
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.save(file, spoken.vertices)
    elif path.suffix == ".npz":
        arrays: dict[str, Any] = {"vertices": spoken.vertices}
        if spoken.motion is not None:
            arrays |= spoken.motion.to_arrays()
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)
    else:
        raise TalkError(f"{path}: ends in neither .npy nor .npz")


def read_audio(path: Path) -> Float32[Array, " samples"]:
    """Read samples (S,) in -1..1 at 16 kHz, all channels mixed, of any file with sound.

    Raises
    ------
    TalkError
        When it can not be opened or holds less than a frame of sound.
    """
    try:
        samples = read_sound(path)
    except MediaError as error:
        raise TalkError(f"no readable sound: {error}") from error
    if len(samples) < SAMPLES_PER_FRAME:
        raise TalkError(f"{path}: {len(samples)} samples are less than a frame of sound")
    return samples.astype(np.float32) / np.float32(32768)


class _LoadedModels:
    """Models on their device, ready to speak."""

    def __init__(
        self,
        prior: MotionPrior | ReferencePrior,
        file: TalkerFile,
        head_model: HeadModel,
        settings: TalkSettings,
        audio_encoder: AudioEncoder | None,
    ) -> None:
        import torch

        from multitalk.training.model.audio_encoder import Wav2Vec2Encoder
        from multitalk.training.model.face_decoder import FaceDecoder
        from multitalk.training.model.tuning import lower_part
        from multitalk.training.reference.decoding import ReferenceDecoder
        from multitalk.training.reference.prior import ReferencePrior
        from multitalk.training.reference.talker import ReferenceTalker

        self.settings, self.head_model, self.encoder = settings, head_model, audio_encoder
        self.prior, self.talker = prior.to(settings.device), file.talker.to(settings.device)
        self.face = FaceDecoder(head_model).to(settings.device)
        self.style = self.talker.style(settings.languages).detach()
        self.decoder = None
        if isinstance(self.talker, ReferenceTalker):
            assert isinstance(self.prior, ReferencePrior)
            vertices = self.prior.settings.vertex_values // 3
            if vertices != len(head_model.v_template):
                message = (
                    f"the model moves {vertices} vertices, head model {head_model.key} has another number"
                )
                raise TalkError(message)
            if settings.temperature > 0:
                raise TalkError(
                    "the reference's talker only speaks its likeliest motion: give no temperature"
                )
            self.decoder = ReferenceDecoder(self.talker, self.prior)
        elif audio_encoder is None or audio_encoder.fingerprint != file.audio_encoder:
            given = audio_encoder.fingerprint if audio_encoder else "none"
            raise TalkError(f"the talker hears through audio encoder {file.audio_encoder}; given: {given}")
        elif self.talker.tuned_encoder is not None:
            assert isinstance(audio_encoder, Wav2Vec2Encoder)
            self.encoder = lower_part(audio_encoder, self.talker.tuned_encoder.tuning)
        self.tensor = partial(torch.as_tensor, dtype=torch.float32, device=settings.device)

    def speak(self, audio: list[Float32[Array, " samples"]]) -> Iterator[Spoken]:
        """Motion for each sound."""
        from multitalk.training.layers.wav2vec2 import normalise_sound
        from multitalk.training.model.motion_prior import MotionPrior
        from multitalk.training.model.talker import Talker

        styles = self.style.expand(len(audio), -1)
        if self.decoder is not None:
            for offsets in self.decoder.predict([normalise_sound(self.tensor(a)) for a in audio], styles):
                yield Spoken(self._vertices(offsets), None)
            return
        assert isinstance(self.prior, MotionPrior) and isinstance(self.talker, Talker)
        assert self.encoder is not None
        encoded_audio = [self.tensor(self.encoder.features(a, len(a) // SAMPLES_PER_FRAME)) for a in audio]
        for spoken in self.talker.generate(self.prior, encoded_audio, styles, self.settings.temperature):
            motion = self._within_limits(spoken)
            yield Spoken(self._vertices(self.face(motion)), self._motion(motion))

    def _within_limits(self, motion: Tensor) -> Tensor:
        """Motion values (T, F) whose expression keeps to 0..1 where the head model's weights have limits."""
        if self.head_model.rules is None:
            return motion
        expression = motion[:, : self.head_model.expression_size].clamp(0, 1)
        limited = motion.clone()
        limited[:, : expression.shape[1]] = expression
        return limited

    def _vertices(self, offsets: Tensor) -> Float32[Array, "frames vertices 3"]:
        moved: npt.NDArray[np.float32] = (
            offsets.view(len(offsets), -1, 3).cpu().numpy() + self.head_model.v_template
        )
        return moved

    def _motion(self, motion: Tensor) -> Motion:
        """Head-model parameters of motion values (T, F): mean identity, head straight before the camera."""
        from multitalk.fit_flame.parameters.motion import Motion

        values = motion.cpu().numpy()
        frames = len(values)

        def still(width: int) -> Float32[Array, "frames width"]:
            return np.zeros((frames, width), np.float32)

        return Motion(
            head_model=self.head_model.key,
            fps=FPS,
            shape=np.zeros(self.head_model.shape_size, np.float32),
            expression=values[:, :-3],
            jaw=values[:, -3:],
            eyes=still(6),
            rotation=still(3),
            translation=still(3) + np.array([0, 0, -DISTANCE], np.float32),
            camera=np.array(CAMERA, np.float32),
            valid=np.ones(frames, bool),
            residual=np.zeros(frames, np.float32),
        )

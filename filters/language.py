"""Which language a clip's speech is in, and whether it says what the annotation says: faster-whisper.

Only speech is shown to Whisper, never a clip without: it would invent some. Words cut at their edges cost it
dearly (one clip's English fell from 0.94 to 0.03), so stretches of speech keep 0.2 s on both sides and pauses
up to half a second. One encoder pass per clip serves both questions, over a window of 15 s. Whisper's own is
30 s; the shorter one is three times faster and moves the probabilities of real speech by a few per cent.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from filters.language_codes import NAME_OF_CODE, whisper_code
from filters.speech import SAMPLE_RATE, Interval, as_float, speech_part
from filters.transcript import character_error_rate

_LONGEST_WINDOW_SEC = 30.0  # what Whisper was trained on
_STEPS_PER_SEC = 100  # of its log-mel spectrogram
_PADDING = SAMPLE_RATE // 5  # kept on both sides of speech
_PAUSE = SAMPLE_RATE // 2  # kept where shorter; also put in front of the speech
_SHORTEST_TAIL_SEC = 1.0  # a rest of a long speech shorter than this says nothing about the language
_MODEL_FILES = ("config.json", "model.bin", "tokenizer.json", "vocabulary.txt")


class LanguageSettings(BaseModel):
    """How spoken language and transcript are recognised."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where Whisper runs: int8 on the CPU, float16 on CUDA."
    )
    threads: int = Field(default=1, ge=1, description="CPU threads of Whisper in each worker.")
    transcribe: bool = Field(
        default=True, description="Also recognise the words and compare them with the annotated transcript."
    )
    beam_size: int = Field(default=5, ge=1, le=20, description="Hypotheses kept while recognising words.")
    max_tokens_per_sec: float = Field(
        default=25.0,
        gt=0,
        description="Recognition stops after this many tokens per second of speech (fast speech has 10, or "
        "20 in scripts of which a letter takes two tokens): it bounds the time of one clip.",
    )
    min_window_sec: float = Field(
        default=15.0,
        ge=5,
        le=30,
        description="Shortest window shown to Whisper, in seconds; 30, as in training, takes 3 times longer.",
    )
    min_transcribe_probability: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Words are recognised in the annotated language where it has at least this probability, "
        "else in the detected one.",
    )


@dataclass(frozen=True, slots=True)
class LanguageMetrics:
    """Language columns of the manifest; all None where there is no speech."""

    detected_language: str | None = None
    """Most probable language, by our name (`mandarin`)."""
    detected_language_probability: float | None = None
    """Its probability, 0..1."""
    annotated_language_probability: float | None = None
    """Probability of the annotated language, 0..1; None where Whisper does not know it."""
    recognised_transcript: str | None = None
    """Words heard; None where they were not asked for or recognition ran into a loop."""
    transcript_cer: float | None = None
    """Character error rate against the annotated transcript (`filters.transcript`); None without one."""


class LanguageIdentifier:
    """Whisper behind one question per clip. Deterministic on the CPU; not to be shared between threads.

    Parameters
    ----------
    model
        Folder of a multilingual model in CTranslate2's format (the asset `whisper_base`).
    settings
        Device, threads and bounds.

    Raises
    ------
    FileNotFoundError
        The folder lacks one of the model's files.
    ValueError
        The model knows English only.
    """

    def __init__(self, model: Path, settings: LanguageSettings | None = None) -> None:
        missing = [name for name in _MODEL_FILES if not (model / name).is_file()]
        if missing:
            raise FileNotFoundError(f"no Whisper model in {model}: {', '.join(missing)} missing")
        import ctranslate2
        from faster_whisper import WhisperModel

        self._settings = settings or LanguageSettings()
        device = self._settings.device
        if device == "auto":
            device = "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
        self._whisper: Any = WhisperModel(
            str(model),
            device=device,
            compute_type="float16" if device == "cuda" else "int8",
            cpu_threads=self._settings.threads,
            local_files_only=True,
        )
        if not self._whisper.model.is_multilingual:
            raise ValueError(f"the Whisper model in {model} knows English only: use a multilingual one")

    def measure(
        self,
        samples: npt.NDArray[Any],
        intervals: Sequence[Interval],
        language: str,
        transcript: str = "",
    ) -> LanguageMetrics:
        """Measure one clip.

        Parameters
        ----------
        samples
            (N,) int16, or floats in -1..1, 16 kHz.
        intervals
            Its stretches of speech, from `measure_speech`.
        language
            Annotated language, one of MultiTalk's names or another of Whisper's.
        transcript
            Annotated transcript; may be empty.
        """
        if not intervals:
            return LanguageMetrics()
        audio = as_float(samples)
        speech = speech_part(audio, _with_surroundings(intervals, len(audio)))
        windows = [self._encode(part) for part in _windows(speech)]
        probabilities = self._language_probabilities(windows)
        annotated = whisper_code(language)
        detected = max(probabilities, key=lambda code: probabilities[code])
        heard = detected
        if annotated and probabilities.get(annotated, 0.0) >= self._settings.min_transcribe_probability:
            heard = annotated
        text = self._transcribe(windows, heard) if self._settings.transcribe else None
        return LanguageMetrics(
            detected_language=NAME_OF_CODE.get(detected, detected),
            detected_language_probability=probabilities[detected],
            annotated_language_probability=probabilities.get(annotated, 0.0) if annotated else None,
            recognised_transcript=text,
            transcript_cer=character_error_rate(transcript, text, annotated or heard)
            if text is not None
            else None,
        )

    def _encode(self, audio: npt.NDArray[np.float32]) -> "_Window":
        seconds = len(audio) / SAMPLE_RATE
        # Whole multiples of 5 s, with some silence on both sides, as a model of padded windows expects.
        length = min(_LONGEST_WINDOW_SEC, max(self._settings.min_window_sec, 5 * ceil((seconds + 1) / 5)))
        padding = max(0, int(length * SAMPLE_RATE) - _PAUSE - len(audio))
        features = self._whisper.feature_extractor(np.pad(audio, (_PAUSE, padding)))
        return _Window(self._whisper.encode(features[:, : int(length * _STEPS_PER_SEC)]), seconds)

    def _language_probabilities(self, windows: "list[_Window]") -> dict[str, float]:
        """Mean over the windows, weighted by their seconds, of each language's probability, by code."""
        total = sum(window.seconds for window in windows)
        mean: dict[str, float] = {}
        for window in windows:
            for token, probability in self._whisper.model.detect_language(window.encoded)[0]:
                code = token[2:-2]  # "<|de|>"
                mean[code] = mean.get(code, 0.0) + probability * window.seconds / total
        return mean

    def _transcribe(self, windows: "list[_Window]", code: str) -> str | None:
        from faster_whisper.tokenizer import Tokenizer

        tokenizer = Tokenizer(self._whisper.hf_tokenizer, multilingual=True, task="transcribe", language=code)
        prompt = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        texts = []
        for window in windows:
            tokens = ceil(self._settings.max_tokens_per_sec * window.seconds)
            result = self._whisper.model.generate(
                window.encoded,
                [prompt],
                beam_size=self._settings.beam_size,
                max_length=min(448, 2 * (tokens + len(prompt))),  # CTranslate2 generates half of this at most
            )[0]
            text = tokenizer.decode(result.sequences_ids[0]).strip()
            if _is_loop(text):
                return None
            texts.append(text)
        return " ".join(texts)


@dataclass(frozen=True, slots=True)
class _Window:
    encoded: Any
    """Whisper's encoder output, a ctranslate2.StorageView."""
    seconds: float
    """Of speech in it."""


def _with_surroundings(intervals: Sequence[Interval], n_samples: int) -> tuple[Interval, ...]:
    """Pad the stretches of speech, and join those between which only a short pause is left."""
    joined: list[Interval] = []
    for start, end in intervals:
        padded = (max(0, start - _PADDING), min(n_samples, end + _PADDING))
        if joined and padded[0] - joined[-1][1] < _PAUSE:
            joined[-1] = (joined[-1][0], padded[1])
        else:
            joined.append(padded)
    return tuple(joined)


def _windows(speech: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    size = int(_LONGEST_WINDOW_SEC * SAMPLE_RATE) - _PAUSE
    parts = [speech[start : start + size] for start in range(0, len(speech), size)]
    return [part for part in parts if part is parts[0] or len(part) >= _SHORTEST_TAIL_SEC * SAMPLE_RATE]


def _is_loop(text: str) -> bool:
    """Whether the text repeats itself: it compresses more than 2.4 times, Whisper's rule for a failure."""
    encoded = text.encode()
    return len(encoded) > 2.4 * len(zlib.compress(encoded)) if encoded else False

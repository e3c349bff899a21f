"""Which language a clip's speech is in, and whether it says what the annotation says: faster-whisper.

Only speech is shown to Whisper, never a clip without: it would invent some. Words cut at their edges cost it
dearly (one clip's English fell from 0.94 to 0.03), so stretches of speech keep 0.2 s on both sides and pauses
up to half a second. One encoder pass per clip serves both questions, over a window of 8 s. Whisper's own is
30 s; the shorter one is seven times faster and moves the probabilities of real speech by a few per cent.
On a GPU, windows of many clips go through Whisper together: one alone would leave it idle.
"""

import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from multitalk.filters.language_codes import NAME_OF_CODE, whisper_code
from multitalk.filters.speech import Interval, as_float
from multitalk.filters.speech_windows import SpeechWindow, batched, joined_window, speech_of, speech_windows
from multitalk.filters.transcript import TranscriptMatch, match_transcript
from multitalk.filters.word_times import TimedWord, timed_words, timed_words_of_windows
from multitalk.ground.outcome import OUTCOME, RUNTIME

_STEPS_PER_SEC = 100  # of its log-mel spectrogram
_CUDA_BATCH = 16
_MODEL_FILES = ("config.json", "model.bin", "tokenizer.json", "vocabulary.txt")


class LanguageSettings(BaseModel):
    """How spoken language and transcript are recognised."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: Annotated[Literal["auto", "cpu", "cuda"], RUNTIME] = Field(
        default="auto", description="Where Whisper runs: int8 on the CPU, float16 on CUDA."
    )
    threads: Annotated[int, RUNTIME] = Field(
        default=1, ge=1, description="CPU threads of Whisper in each worker."
    )
    batch_size: Annotated[int | None, RUNTIME] = Field(
        default=None,
        ge=1,
        description="Windows of speech that Whisper takes at once; none: 16 on CUDA, 1 on the CPU.",
    )
    transcribe: Annotated[bool, OUTCOME] = Field(
        default=True, description="Also recognise the words and compare them with the annotated transcript."
    )
    word_times: Annotated[bool, OUTCOME] = Field(
        default=True, description="Also tell when each recognised word is spoken."
    )
    beam_size: Annotated[int, OUTCOME] = Field(
        default=5, ge=1, le=20, description="Hypotheses kept while recognising words."
    )
    max_tokens_per_sec: Annotated[float, OUTCOME] = Field(
        default=25.0,
        gt=0,
        description="Recognition stops after this many tokens per second of speech (fast speech has 10, or "
        "20 in scripts of which a letter takes two tokens): it bounds the time of one clip.",
    )
    min_window_sec: Annotated[float, OUTCOME] = Field(
        default=8.0,
        ge=5,
        le=30,
        description="Shortest window shown to Whisper, in seconds; 30, as in training, takes 7 times longer.",
    )
    min_transcribe_probability: Annotated[float, OUTCOME] = Field(
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
    """Probability of the annotated language, 0..1; None where the model does not know it."""
    recognised_transcript: str | None = None
    """Words heard; None where they were not asked for or recognition ran into a loop."""
    transcript_cer: float | None = None
    """Character error rate of the part that the annotated transcript covers, 0..1; None without one."""
    transcript_coverage: float | None = None
    """Share of the words heard, by letters, that the annotated transcript covers, 0..1; None without one."""
    words: list[dict[str, Any]] | None = None
    """Each word heard with its times (`TimedWord`); None where none were, or times were not asked for."""


@dataclass(frozen=True, slots=True)
class VideoLanguageMetrics:
    """Language columns of the manifest that are told of all clips of a source video together."""

    video_language: str | None = None
    """Most probable language, by our name; None where no clip has speech."""
    video_language_probability: float | None = None
    """Its probability, 0..1."""
    video_annotated_language_probability: float | None = None
    """Probability of the annotated language, 0..1; None where the model does not know it."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """What is asked about one clip."""

    samples: npt.NDArray[Any]
    """(N,) int16, or floats in -1..1, 16 kHz."""
    intervals: Sequence[Interval]
    """Its stretches of speech, from `measure_speech`."""
    language: str
    """Annotated language, one of MultiTalk's names or another of Whisper's."""
    transcript: str = ""
    """Annotated transcript; may be empty."""


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
        self.batch_size = self._settings.batch_size or (_CUDA_BATCH if device == "cuda" else 1)
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
        [metrics] = self.measure_all([Utterance(samples, intervals, language, transcript)])
        return metrics

    def measure_all(
        self, clips: Sequence[Utterance], *, transcribe: bool | None = None
    ) -> list[LanguageMetrics]:
        """Measure several clips, `batch_size` windows of speech at a time; see `measure`.

        `transcribe` says whether words are recognised; None: as the settings say.
        """
        transcribe = self._settings.transcribe if transcribe is None else transcribe
        shortest = self._settings.min_window_sec
        windows = [
            window
            for number, clip in enumerate(clips)
            for window in speech_windows(number, as_float(clip.samples), clip.intervals, shortest)
        ]
        batches = [self._encode(batch) for batch in batched(windows, self.batch_size)]
        probabilities = [self._language_probabilities(batches, number) for number in range(len(clips))]
        languages = [
            self._language_to_transcribe(clip, found)
            for clip, found in zip(clips, probabilities, strict=True)
        ]
        texts = self._transcribe(batches, languages) if transcribe else {}
        return [
            _metrics(*known, texts.get(number))
            for number, known in enumerate(zip(clips, probabilities, languages, strict=True))
        ]

    def measure_video(self, clips: Sequence[Utterance]) -> VideoLanguageMetrics:
        """Identify the language of a source video from up to 30 s of speech, taken evenly from all its clips.

        Parameters
        ----------
        clips
            Of one video, annotated with one language.
        """
        spoken = [speech_of(as_float(clip.samples), clip.intervals) for clip in clips if clip.intervals]
        window = joined_window(spoken, self._settings.min_window_sec)
        if window is None:
            return VideoLanguageMetrics()
        [probabilities] = self._encode([window]).languages
        metrics = _metrics(clips[0], probabilities, language="", said=None)
        return VideoLanguageMetrics(
            metrics.detected_language,
            metrics.detected_language_probability,
            metrics.annotated_language_probability,
        )

    def timed_words(self, samples: npt.NDArray[Any], language: str, text: str) -> list[TimedWord]:
        """When each word of a clip's transcript is spoken; samples and language as in `measure`, at most 30 s.

        No words where the model does not know the language.
        """
        code = whisper_code(language)
        if self._whisper.hf_tokenizer.token_to_id(f"<|{code}|>") is None:
            return []
        return timed_words(self._whisper, self._tokenizer(code), as_float(samples), text)

    def _encode(self, windows: list[SpeechWindow]) -> "_WindowBatch":
        steps = int(windows[0].length_sec * _STEPS_PER_SEC)
        features = [self._whisper.feature_extractor(window.padded())[:, :steps] for window in windows]
        encoded = self._whisper.encode(np.stack(features))
        languages = self._whisper.model.detect_language(encoded)
        return _WindowBatch(windows, encoded, [{token[2:-2]: p for token, p in found} for found in languages])

    @staticmethod
    def _language_probabilities(batches: "list[_WindowBatch]", clip: int) -> dict[str, float]:
        """Mean over a clip's windows, weighted by their seconds, of each language's probability, by code."""
        found = [
            (window.seconds, languages)
            for batch in batches
            for window, languages in zip(batch.windows, batch.languages, strict=True)
            if window.clip == clip
        ]
        total = sum(seconds for seconds, _ in found)
        mean: dict[str, float] = {}
        for seconds, languages in found:
            for code, probability in languages.items():
                mean[code] = mean.get(code, 0.0) + probability * seconds / total
        return mean

    def _language_to_transcribe(self, clip: Utterance, probabilities: dict[str, float]) -> str | None:
        if not probabilities:
            return None
        annotated = whisper_code(clip.language)
        if (
            annotated in probabilities
            and probabilities[annotated] >= self._settings.min_transcribe_probability
        ):
            return annotated
        return max(probabilities, key=lambda code: probabilities[code])

    def _transcribe(
        self, batches: "list[_WindowBatch]", languages: Sequence[str | None]
    ) -> "dict[int, _Heard]":
        """Words of each clip that has speech."""
        found: dict[int, list[_Heard]] = {}
        for batch in batches:
            tokenizers = [self._tokenizer(languages[window.clip]) for window in batch.windows]
            prompts = [[*t.sot_sequence, t.no_timestamps] for t in tokenizers]
            tokens = ceil(self._settings.max_tokens_per_sec * max(window.seconds for window in batch.windows))
            results = self._whisper.model.generate(
                batch.encoded,
                prompts,
                beam_size=self._settings.beam_size,
                max_length=min(
                    448, 2 * (tokens + len(prompts[0]))
                ),  # CTranslate2 generates half of this at most
            )
            texts = [
                tokenizer.decode(result.sequences_ids[0]).strip()
                for tokenizer, result in zip(tokenizers, results, strict=True)
            ]
            words = self._time_words(batch, tokenizers[0], texts)
            for window, text, timed in zip(batch.windows, texts, words, strict=True):
                found.setdefault(window.clip, []).append(_Heard(text, timed))
        return {
            clip: _Heard(
                " ".join(part.text for part in parts), [word for part in parts for word in part.words]
            )
            for clip, parts in found.items()
            if not any(_is_loop(part.text) for part in parts)
        }

    def _time_words(
        self, batch: "_WindowBatch", tokenizer: Any, texts: Sequence[str]
    ) -> list[list[TimedWord]]:
        """Align each window's words with its sound, whatever other languages its batch has."""
        if not self._settings.word_times:
            return [[] for _ in texts]
        tokens = [[] if _is_loop(text) else tokenizer.encode(" " + text) for text in texts]
        return timed_words_of_windows(self._whisper, tokenizer, batch.encoded, batch.windows, tokens)

    def _tokenizer(self, code: str | None) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        return Tokenizer(self._whisper.hf_tokenizer, multilingual=True, task="transcribe", language=code)


@dataclass(frozen=True, slots=True)
class _WindowBatch:
    windows: list[SpeechWindow]
    encoded: Any
    """Whisper's encoder output of all of them, a ctranslate2.StorageView."""
    languages: list[dict[str, float]]
    """Of each window the probability of each language, by code."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """What was recognised in a clip or a window of it."""

    text: str
    words: list[TimedWord]


def _metrics(
    clip: Utterance, probabilities: dict[str, float], language: str | None, said: _Heard | None
) -> LanguageMetrics:
    if language is None:
        return LanguageMetrics()
    annotated = whisper_code(clip.language)
    detected = max(probabilities, key=lambda code: probabilities[code])
    match: TranscriptMatch | None = None
    if said is not None:
        match = match_transcript(clip.transcript, said.text, annotated or language)
    return LanguageMetrics(
        detected_language=NAME_OF_CODE.get(detected, detected),
        detected_language_probability=probabilities[detected],
        annotated_language_probability=probabilities.get(annotated) if annotated else None,
        recognised_transcript=said.text if said else None,
        transcript_cer=match.error_rate if match else None,
        transcript_coverage=match.coverage if match else None,
        words=[asdict(word) for word in said.words] if said and said.words else None,
    )


def _is_loop(text: str) -> bool:
    """Whether the text repeats itself: it compresses more than 2.4 times, Whisper's rule for a failure.

    Ordinary speech of 30 s compresses less than 2 times in every script, a loop of 120 letters more than 2.4.
    """
    letters = _one_byte_each(text)
    return len(letters) > 2.4 * len(zlib.compress(letters)) if letters else False


def _one_byte_each(text: str) -> bytes:
    """Write each letter as a byte: the three that UTF-8 takes for Thai or Hindi are alike, and compress 2.5 times."""
    numbers = {letter: number for number, letter in enumerate(dict.fromkeys(text))}
    return bytes(numbers[letter] for letter in text) if len(numbers) < 256 else text.encode()

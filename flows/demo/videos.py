"""The demo's source videos and annotations: made on the spot, offline, the same on every run.

Five speakers of five languages, and beside them each fault that real sources show, planted on purpose.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from multitalk.extract.annotation_json import AnnotationEntry
from multitalk.extract.errors import ErrorCode
from multitalk.flows.demo.articulation import Articulation, articulate
from multitalk.flows.demo.portrait import (
    FACE_BOX,
    FRAME_HEIGHT,
    FRAME_WIDTH,
    HEAD_CENTRE,
    SCALE,
    Look,
    Portrait,
    Pose,
)
from multitalk.flows.demo.sentences import SCRIPTS
from multitalk.flows.demo.speech import SAMPLE_RATE, Sentence, synthesise
from multitalk.flows.demo.video_file import write_demo_video

Sound = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

_PAUSE_SEC = 0.6  # before, between and after sentences
_MARGIN_SEC = 0.2  # of silence that a clip keeps around its sentence
_TRUNCATED_BYTES = 60_000


@dataclass(frozen=True, slots=True)
class PlantedFault:
    """A clip that must not end in a release."""

    clip_id: str
    what: str
    """The fault in words."""
    error_code: ErrorCode | None
    """How its manifest row must fail; None where the clip is made and the default policy has to reject it."""


@dataclass(frozen=True, slots=True)
class DemoSource:
    """What `make_demo_source` made."""

    videos: Path
    """Folder of `<video_id>.mp4`."""
    annotations: tuple[Path, ...]
    """One file a language, in MultiTalk's format."""
    good: tuple[str, ...]
    """Clip ids that must come out well."""
    faults: tuple[PlantedFault, ...]


_PLAIN = Look()


@dataclass(frozen=True, slots=True)
class _Take:
    """One source video to be made, and what its annotation claims."""

    video_id: str
    language: str
    spoken: tuple[Sentence, ...]
    look: Look = _PLAIN
    fps: int = 25
    picture: Literal["speaker", "pair", "pattern"] = "speaker"
    """One face, two, or none."""
    sound: Literal["speech", "silence", "none"] = "speech"
    """`none`: no audio stream at all."""
    fault: str = ""
    error_code: ErrorCode | None = None

    @property
    def clip_ids(self) -> tuple[str, ...]:
        """One clip a sentence."""
        return tuple(f"{self.video_id}_{index}" for index in range(len(self.spoken)))


def _short(language: str) -> tuple[Sentence]:
    return (SCRIPTS[language].short,)


_TAKES = (
    _Take("deSpeaker00", "german", SCRIPTS["german"].long),
    _Take("enSpeaker00", "english", SCRIPTS["english"].long, Look(mirrored=True, warmth=1.05), fps=30),
    _Take("esSpeaker00", "spanish", SCRIPTS["spanish"].long, Look(brightness=0.8, warmth=1.12, width=1.06)),
    _Take(
        "itSpeaker00", "italian", SCRIPTS["italian"].long, Look(mirrored=True, brightness=1.12, width=0.94)
    ),
    _Take("jaSpeaker00", "japanese", SCRIPTS["japanese"].long, Look(brightness=0.9, warmth=0.92)),
    _Take("deWrongLang", "german", _short("english"), fault="annotated German, spoken English"),
    _Take("deTwoFaces0", "german", _short("german"), picture="pair", fault="two faces in the box"),
    _Take("esSilent000", "spanish", _short("spanish"), sound="silence", fault="digital silence"),
    _Take(
        "enNoFace000",
        "english",
        _short("english"),
        picture="pattern",
        fault="a test pattern",
        error_code=ErrorCode.NO_FACE,
    ),
    _Take(
        "itNoAudio00",
        "italian",
        _short("italian"),
        sound="none",
        fault="no audio stream",
        error_code=ErrorCode.NO_AUDIO,
    ),
    _Take(
        "jaLowFps000",
        "japanese",
        _short("japanese"),
        fps=12,
        fault="12 frames a second",
        error_code=ErrorCode.FPS_TOO_LOW,
    ),
)


def make_demo_source(folder: Path, *, workers: int = 2) -> DemoSource:
    """Make the demo's source videos and annotations.

    Parameters
    ----------
    folder : Path
        Gets `videos/<video_id>.mp4` and `annotations/<language>.json`; files of those names are replaced.
    workers : int
        Videos made at a time.

    Returns
    -------
    DemoSource

    Raises
    ------
    RuntimeError
        The extra `demo` is not installed.
    """
    spoken = _spoken({sentence for take in _TAKES for sentence in take.spoken})
    videos = folder / "videos"
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda take: _make_video(take, spoken, videos), _TAKES))
    whole = (videos / "enSpeaker00.mp4").read_bytes()
    (videos / "enTruncated.mp4").write_bytes(whole[:_TRUNCATED_BYTES])

    clips: dict[str, AnnotationEntry] = {}
    for take in _TAKES:
        clips |= _annotated(take, spoken)
    clips |= _annotations_without_a_good_video()
    annotations = tuple(_write_annotations(folder / "annotations", language, clips) for language in SCRIPTS)
    good = tuple(clip_id for take in _TAKES if not take.fault for clip_id in take.clip_ids)
    faults = tuple(
        PlantedFault(clip_id, take.fault, take.error_code)
        for take in _TAKES
        if take.fault
        for clip_id in take.clip_ids
    )
    return DemoSource(videos, annotations, good, faults + _FAULTS_WITHOUT_A_VIDEO)


_FAULTS_WITHOUT_A_VIDEO = (
    PlantedFault("enTruncated_0", "the first 60,000 bytes of a file", ErrorCode.CORRUPT_MEDIA),
    PlantedFault("esGone40400_0", "not there (404)", ErrorCode.VIDEO_UNAVAILABLE),
    PlantedFault("enSpeaker00_2", "an interval that ends before it starts", ErrorCode.INVALID_ANNOTATION),
)


def _annotations_without_a_good_video() -> dict[str, AnnotationEntry]:
    english, spanish = SCRIPTS["english"].long[0].text, SCRIPTS["spanish"].long[0].text
    box = _face_box(_PLAIN)
    return {
        "enTruncated_0": _annotation("enTruncated", "english", (0.4, 6.4), box, english),
        "esGone40400_0": _annotation("esGone40400", "spanish", (0.4, 6.4), box, spanish),
        "enSpeaker00_2": _annotation("enSpeaker00", "english", (6.4, 0.4), box, english),
    }


def _spoken(sentences: set[Sentence]) -> dict[Sentence, Sound]:
    ordered = sorted(sentences, key=lambda sentence: (sentence.voice, sentence.text))
    return dict(zip(ordered, synthesise(ordered), strict=True))


def _soundtrack(take: _Take, spoken: Mapping[Sentence, Sound]) -> tuple[Sound, list[tuple[float, float]]]:
    """Join a take's sentences with pauses; return the sound and each sentence's first and last second."""
    pause = np.zeros(round(_PAUSE_SEC * SAMPLE_RATE), np.float32)
    pieces, times, start = [pause], [], len(pause)
    for sentence in take.spoken:
        speech = spoken[sentence]
        pieces += [speech, pause]
        times.append((start / SAMPLE_RATE, (start + len(speech)) / SAMPLE_RATE))
        start += len(speech) + len(pause)
    return np.concatenate(pieces), times


def _make_video(take: _Take, spoken: Mapping[Sentence, Sound], videos: Path) -> None:
    speech, _ = _soundtrack(take, spoken)
    if take.sound == "silence":
        speech = np.zeros_like(speech)
    frame_count = math.ceil(len(speech) / SAMPLE_RATE * take.fps)
    movement = articulate(speech, SAMPLE_RATE, frame_count, take.fps)
    frames = {"speaker": _speaker, "pair": _pair, "pattern": _pattern}[take.picture](take, movement)
    write_demo_video(
        videos / f"{take.video_id}.mp4", frames, take.fps, None if take.sound == "none" else speech
    )


def _speaker(take: _Take, movement: Articulation) -> Iterator[Image]:
    portrait = Portrait(take.look)
    for index, (opening, narrowing) in enumerate(zip(movement.opening, movement.narrowing, strict=True)):
        yield portrait.frame(float(opening), float(narrowing), head_pose(take.video_id, index / take.fps))


def _pair(take: _Take, movement: Articulation) -> Iterator[Image]:
    left, right = Portrait(_PLAIN), Portrait(Look(mirrored=True, brightness=0.85))
    half = FRAME_WIDTH // 2
    aside = Pose((-half / 3.2, -115), 0.0, 0.6), Pose((half / 3.2, -115), 0.0, 0.6)
    still = right.frame(0.0, 0.0, aside[1])[:, half:]
    for opening, narrowing in zip(movement.opening, movement.narrowing, strict=True):
        yield np.hstack([left.frame(float(opening), float(narrowing), aside[0])[:, :half], still])


def _pattern(take: _Take, movement: Articulation) -> Iterator[Image]:
    colours = np.asarray(
        [[192, 192, 192], [192, 192, 0], [0, 192, 192], [0, 192, 0], [192, 0, 192], [192, 0, 0], [0, 0, 192]],
        np.uint8,
    )
    columns = np.arange(FRAME_WIDTH)
    for index in range(len(movement.opening)):
        row = colours[(columns + 4 * index) * len(colours) // FRAME_WIDTH % len(colours)]
        yield np.broadcast_to(row, (FRAME_HEIGHT, FRAME_WIDTH, 3))


def head_pose(video_id: str, seconds: float) -> Pose:
    """Return the pose of a speaker's head: slow swaying, different for each video."""
    phase = zlib.crc32(video_id.encode()) / 2**32 * 2 * math.pi

    def sway(period: float, offset: float) -> float:
        return math.sin(2 * math.pi * seconds / period + phase + offset)

    shift = (16 * sway(5.3, 0.0) + 5 * sway(1.9, 1.0), 8 * sway(3.7, 2.0) + 3 * sway(1.3, 3.0))
    return Pose(shift, 2.2 * sway(4.1, 4.0), 1 + 0.025 * sway(6.7, 5.0))


def _face_box(look: Look) -> dict[str, float]:
    left, top, right, bottom = FACE_BOX
    x = [FRAME_WIDTH / 2 + (edge - HEAD_CENTRE[0]) * SCALE * look.width for edge in (left, right)]
    y = [FRAME_HEIGHT / 2 + (edge - HEAD_CENTRE[1]) * SCALE for edge in (top, bottom)]
    return {
        "top": round(y[0] / FRAME_HEIGHT, 4),
        "bottom": round(y[1] / FRAME_HEIGHT, 4),
        "left": round(x[0] / FRAME_WIDTH, 4),
        "right": round(x[1] / FRAME_WIDTH, 4),
    }


_PAIR_BOX = {"top": 0.0, "bottom": 1.0, "left": 0.22, "right": 0.78}


def _annotated(take: _Take, spoken: Mapping[Sentence, Sound]) -> dict[str, AnnotationEntry]:
    box = _PAIR_BOX if take.picture == "pair" else _face_box(take.look)
    _, times = _soundtrack(take, spoken)
    return {
        clip_id: _annotation(take.video_id, take.language, _on_grid(*interval), box, sentence.text)
        for clip_id, sentence, interval in zip(take.clip_ids, take.spoken, times, strict=True)
    }


def _on_grid(start: float, end: float) -> tuple[float, float]:
    """Widen an interval by the margin, onto MultiTalk's grid of 1/25 s."""
    return math.floor((start - _MARGIN_SEC) * 25) / 25, math.ceil((end + _MARGIN_SEC) * 25) / 25


def _annotation(
    video_id: str, language: str, interval: tuple[float, float], box: Mapping[str, float], transcript: str
) -> AnnotationEntry:
    return {
        "youtube_id": video_id,
        "duration": {"start_sec": interval[0], "end_sec": interval[1]},
        "bbox": dict(box),
        "language": language,
        "transcript": transcript,
    }


def _write_annotations(folder: Path, language: str, clips: Mapping[str, AnnotationEntry]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{language}.json"
    chosen = {clip_id: clip for clip_id, clip in clips.items() if clip["language"] == language}
    path.write_text(json.dumps(chosen, ensure_ascii=False, indent=1), encoding="utf-8")
    return path

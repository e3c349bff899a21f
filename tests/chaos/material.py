"""What the chaos builds are made of: tiny videos with a real face, cheap enough for thirty rounds, or real ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multitalk.flows.demo.portrait import Look, Portrait, Pose
from multitalk.flows.demo.speech import SAMPLE_RATE
from multitalk.flows.demo.video_file import write_demo_video

_BOX = {"top": 0.0, "bottom": 1.0, "left": 0.22, "right": 0.78}
_CLIP_FRAMES = 12
# Video id, language, frames a second, clips, and whether it has sound.
_VIDEOS = (
    ("withFace", "german", 30, 2, True),
    ("noSound", "italian", 25, 1, False),
)


@dataclass(frozen=True, slots=True)
class Material:
    """Source videos and their annotations."""

    videos: Path
    annotations: tuple[Path, ...]


def real_material(sample: Path) -> Material:
    """Take a folder with ``videos/`` and ``annotations/`` as it is."""
    return Material(sample / "videos", tuple(sorted((sample / "annotations").glob("*.json"))))


def small_material(folder: Path) -> Material:
    """Make two videos of a second or two, and annotate these, one that is cut off and one that is not there.

    Nobody speaks in them, so that no worker loads Whisper: that alone would take longer than all the rest.
    """
    videos = folder / "videos"
    clips: dict[str, dict[str, object]] = {}
    for video_id, language, fps, count, sound in _VIDEOS:
        seconds = 0.4 * count + 0.8
        hum = 0.05 * np.sin(np.arange(round(seconds * SAMPLE_RATE)) * 0.05).astype(np.float32)
        frames = _frames(round(seconds * fps))
        write_demo_video(videos / f"{video_id}.mp4", frames, fps, hum if sound else None)
        for index in range(count):  # they overlap by 2 frames
            clips[f"{video_id}_{index}"] = _annotation(video_id, language, 3 + (_CLIP_FRAMES - 2) * index)
    (videos / "cutOff.mp4").write_bytes((videos / "withFace.mp4").read_bytes()[:30_000])
    clips["cutOff_0"] = _annotation("cutOff", "italian", 3)
    clips["notThere_0"] = _annotation("notThere", "german", 3)
    clips["reversed_0"] = _annotation("withFace", "german", 3) | {
        "duration": {"start_sec": 1.0, "end_sec": 0.2}
    }
    annotations = folder / "annotations.json"
    annotations.write_text(json.dumps(clips))
    return Material(videos, (annotations,))


def _frames(count: int) -> Iterator[npt.NDArray[np.uint8]]:
    portrait = Portrait(Look())
    for index in range(count):
        yield portrait.frame(index % 5 / 5, 0.0, Pose((float(index % 7), 0.0)))


def _annotation(video_id: str, language: str, start_frame: int) -> dict[str, object]:
    duration = {"start_sec": start_frame / 25, "end_sec": (start_frame + _CLIP_FRAMES) / 25}
    return {
        "youtube_id": video_id, "duration": duration, "bbox": _BOX, "language": language, "transcript": "so",
    }  # fmt: skip

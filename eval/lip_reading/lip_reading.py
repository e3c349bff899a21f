"""Audio-visual lip reading (AVLR): how well a recogniser reads speech off rendered lips in noise.

Every clip is read with every row's pictures (models, the real video, none at all) in every noise at every
signal-to-noise ratio. The pictures of a clip are encoded once. Each reading is written down as soon as it
is made, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from multitalk.eval.lip_reading.noise import Noise, mix
from multitalk.eval.settings import LipReadingSettings
from multitalk.manifests.media import MediaError, read_sound

if TYPE_CHECKING:
    from torch import Tensor

    from multitalk.eval.lip_reading.lip_reader import LipReader

Progress = Callable[[int, int], None]
MouthCrops = Callable[[str], npt.NDArray[np.float32]]
"""Gives a clip's mouth pictures (T, 88, 88), as `multitalk.eval.lip_reading.mouth.model_input` makes them, by clip id;
raises LookupError, OSError or ValueError where it has none."""
Version = Callable[[str], str]
"""Tells, by clip id, of what file the pictures are made and how, and changes when that does."""

AUDIO_ONLY = "audio only"


@dataclass(frozen=True, slots=True)
class SpokenClip:
    """A clip to be read."""

    clip_id: str
    source: str
    """Source video; clips of one are not independent."""
    sound: Path
    reference: str
    """What is said."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of one clip."""

    row: str
    clip_id: str
    noise: str
    snr_db: float
    text: str


@dataclass(frozen=True, slots=True)
class Readings:
    """All readings of a run."""

    readings: tuple[Reading, ...]
    skipped: Mapping[str, Mapping[str, str]]
    """By row: clips without a picture or sound, and why."""


def read_clips(
    clips: Sequence[SpokenClip],
    mouth_crops: Mapping[str, MouthCrops],
    reader: LipReader,
    noises: Sequence[Noise],
    settings: LipReadingSettings,
    record: Path,
    progress: Progress | None = None,
    versions: Mapping[str, Version] | None = None,
) -> Readings:
    """Read all clips, or what an earlier run with the same settings, files and noises left unread.

    Parameters
    ----------
    clips
    mouth_crops
        Mouth pictures by row: the name of a model, or `video`.
    reader
        Recogniser of the clips' language.
    noises
    settings
    record
        JSON-lines file that readings are added to.
    progress
        Called with clips done and clips in all.
    versions
        By row; without it, pictures are taken to be those of the earlier run.

    Raises
    ------
    ValueError
        Not one clip could be read.
    """
    rows: dict[str, MouthCrops | None] = {
        **mouth_crops,
        **({AUDIO_ONLY: None} if settings.audio_only else {}),
    }
    conditions = [(noise, snr) for noise in noises for snr in settings.snrs_db]
    keys = _Keys(settings, reader, {noise.name: noise.digest for noise in noises}, versions or {})
    kept = _Record(record)
    skipped: dict[str, dict[str, str]] = {row: {} for row in rows}
    readings: list[Reading] = []
    for index, clip in enumerate(clips):
        if progress is not None:
            progress(index, len(clips))
        for row, crops in rows.items():
            try:
                key = keys.of(row, clip)
                todo = [(n, snr) for n, snr in conditions if (key, n.name, snr) not in kept.done]
                if todo:
                    kept.add(key, _read(clip, row, crops, reader, todo, settings))
            except (LookupError, OSError, ValueError) as error:
                skipped[row][clip.clip_id] = str(error) or type(error).__name__
                continue
            readings += [kept.done[key, n.name, snr] for n, snr in conditions]
    if progress is not None:
        progress(len(clips), len(clips))
    if not readings:
        reason = next((why for row in skipped.values() for why in row.values()), "there are no clips")
        raise ValueError(f"not one clip could be read ({reason})")
    return Readings(tuple(readings), skipped)


@dataclass(frozen=True, slots=True)
class _Keys:
    """What decides a clip's readings in a row, beside noise and ratio, as a hash."""

    settings: LipReadingSettings
    reader: LipReader
    digests: Mapping[str, str]
    """Of the noises, by name."""
    versions: Mapping[str, Version]

    def of(self, row: str, clip: SpokenClip) -> str:
        """Raise LookupError or OSError where the clip's sound, or the row's file of it, is not there."""
        version = self.versions[row](clip.clip_id) if row in self.versions else ""
        decisive = [
            self.settings.model_dump(mode="json", include={"beam", "max_length"}),
            [self.reader.name, self.reader.version],
            self.digests,
            [row, clip.clip_id, version, file_version(clip.sound)],
        ]
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


def file_version(path: Path) -> str:
    """Size and time of a file: what changes when its content does."""
    if not path.is_file():
        raise LookupError(f"there is no {path}")
    state = path.stat()
    return f"{state.st_size} {state.st_mtime_ns}"


class _Record:
    """The JSON-lines file of a run: what it holds, by key, noise and ratio, and what is added."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.done = {(key, r.noise, r.snr_db): r for key, r in _recorded(path)}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.stat().st_size and not path.read_bytes().endswith(b"\n"):
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")  # an earlier run was stopped in the middle of a line

    def add(self, key: str, readings: Sequence[Reading]) -> None:
        """Write readings down."""
        lines = [json.dumps({"key": key, **asdict(r)}, ensure_ascii=False) + "\n" for r in readings]
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(lines)
        self.done.update({(key, r.noise, r.snr_db): r for r in readings})


def _read(
    clip: SpokenClip,
    row: str,
    crops: MouthCrops | None,
    reader: LipReader,
    conditions: Sequence[tuple[Noise, float]],
    settings: LipReadingSettings,
) -> list[Reading]:
    sound = read_sound(clip.sound)
    if len(sound) == 0:
        raise MediaError(f"{clip.sound}: has no samples")
    video_features: Tensor | None = reader.encode_video(crops(clip.clip_id)) if crops is not None else None
    readings = []
    for noise, snr in conditions:
        noisy = mix(sound, noise.samples(clip.source, len(sound)), snr)
        text = reader.read(noisy, video_features, beam=settings.beam, max_length=settings.max_length)
        readings.append(Reading(row, clip.clip_id, noise.name, snr, text))
    return readings


def _recorded(record: Path) -> Iterator[tuple[str, Reading]]:
    if not record.is_file():
        return
    for line in record.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            content = json.loads(line)
            yield content.pop("key"), Reading(**content)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue  # the line that an interrupted run was writing

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

from eval.noise import Noise, mix
from eval.settings import LipReadingSettings
from eval.video import MediaError, read_sound

if TYPE_CHECKING:
    from torch import Tensor

    from eval.lip_reader import LipReader

Progress = Callable[[int, int], None]
Sight = Callable[[str], npt.NDArray[np.float32]]
"""Gives a clip's mouth pictures (T, 88, 88), as `eval.mouth.model_input` makes them, by clip id; raises
LookupError, OSError or ValueError where it has none."""

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
    sights: Mapping[str, Sight],
    reader: LipReader,
    noises: Sequence[Noise],
    settings: LipReadingSettings,
    record: Path,
    progress: Progress | None = None,
) -> Readings:
    """Read all clips, or what an earlier run with the same settings left unread.

    Parameters
    ----------
    clips
    sights
        Mouth pictures by row: the name of a model, or `video`.
    reader
        Recogniser of the clips' language.
    noises
    settings
    record
        JSON-lines file that readings are added to.
    progress
        Called with clips done and clips in all.

    Raises
    ------
    ValueError
        Not one clip could be read.
    """
    rows: dict[str, Sight | None] = {**sights, **({AUDIO_ONLY: None} if settings.audio_only else {})}
    conditions = [(noise, snr) for noise in noises for snr in settings.snrs_db]
    kept = _Record(record, _fingerprint(settings, reader.name))
    skipped: dict[str, dict[str, str]] = {row: {} for row in rows}
    for index, clip in enumerate(clips):
        if progress is not None:
            progress(index, len(clips))
        for row, sight in rows.items():
            todo = [(n, snr) for n, snr in conditions if (row, clip.clip_id, n.name, snr) not in kept.done]
            if not todo:
                continue
            try:
                made = _read(clip, row, sight, reader, todo, settings)
            except (LookupError, OSError, ValueError) as error:
                skipped[row][clip.clip_id] = str(error) or type(error).__name__
                continue
            kept.add(made)
    wanted = [(row, clip.clip_id, n.name, snr) for row in rows for clip in clips for n, snr in conditions]
    readings = tuple(kept.done[key] for key in wanted if key in kept.done)
    if not readings:
        reason = next((why for row in skipped.values() for why in row.values()), "there are no clips")
        raise ValueError(f"not one clip could be read ({reason})")
    return Readings(readings, skipped)


class _Record:
    """The JSON-lines file of a run: what it holds of these settings, and what is added."""

    def __init__(self, path: Path, key: str) -> None:
        self._path, self._key = path, key
        self.done = {(r.row, r.clip_id, r.noise, r.snr_db): r for r in _recorded(path, key)}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.stat().st_size and not path.read_bytes().endswith(b"\n"):
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")  # an earlier run was stopped in the middle of a line

    def add(self, readings: Sequence[Reading]) -> None:
        """Write readings down."""
        lines = [json.dumps({"key": self._key, **asdict(r)}, ensure_ascii=False) + "\n" for r in readings]
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(lines)
        self.done.update({(r.row, r.clip_id, r.noise, r.snr_db): r for r in readings})


def _read(
    clip: SpokenClip,
    row: str,
    sight: Sight | None,
    reader: LipReader,
    conditions: Sequence[tuple[Noise, float]],
    settings: LipReadingSettings,
) -> list[Reading]:
    sound = read_sound(clip.sound)
    if len(sound) == 0:
        raise MediaError(f"{clip.sound}: has no samples")
    seen: Tensor | None = reader.see(sight(clip.clip_id)) if sight is not None else None
    readings = []
    for noise, snr in conditions:
        noisy = mix(sound, noise.samples(clip.source, len(sound)), snr)
        text = reader.read(noisy, seen, beam=settings.beam, max_length=settings.max_length)
        readings.append(Reading(row, clip.clip_id, noise.name, snr, text))
    return readings


def _fingerprint(settings: LipReadingSettings, reader_name: str) -> str:
    """Hash of what decides a reading, beside clip, row, noise and ratio."""
    decisive = settings.model_dump(
        mode="json", include={"beam", "max_length", "noises", "babble_speakers", "seed"}
    )
    return hashlib.sha256(json.dumps([decisive, reader_name], sort_keys=True).encode()).hexdigest()[:16]


def _recorded(record: Path, key: str) -> Iterator[Reading]:
    if not record.is_file():
        return
    for line in record.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            content = json.loads(line)
            if content.pop("key") == key:
                yield Reading(**content)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue  # the line that an interrupted run was writing

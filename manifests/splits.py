"""Train, validation and test: by source video, so that no speaker's video is on two sides.

A seeded hash puts every source video at a place between 0 and 1, and each language is cut there at two
places, chosen so that the splits get their shares of the language's hours. A place depends on nothing but the
video's id. So a dataset that grows, or loses videos, keeps every video where it was as long as the same cuts
are used: a release keeps its cuts, and a later release can take them over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from multitalk.ground.files import atomic
from multitalk.manifests.paths import DatasetError

TRAIN, VALIDATION, TEST = SPLITS = ("train", "val", "test")


class SplitSettings(BaseModel):
    """How clips are divided."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    validation: float = Field(
        default=0.1, ge=0, lt=1, description="Share of each language's hours for validation."
    )
    test: float = Field(default=0.1, ge=0, lt=1, description="Share of each language's hours for testing.")
    seed: int = Field(default=0, description="Another seed divides the videos another way.")

    @model_validator(mode="after")
    def _leaves_something_to_train(self) -> SplitSettings:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together must leave a share for training")
        return self


@dataclass(frozen=True, slots=True)
class Cuts:
    """Where a language is cut: test below `test`, validation from there to `validation`, training above."""

    test: float
    validation: float

    def split(self, position: float) -> str:
        """Name of the split at a place in 0..1."""
        return TEST if position < self.test else VALIDATION if position < self.validation else TRAIN


def split_position(video_id: str, seed: int) -> float:
    """Place of a source video in 0..1: uniform, and the same for ever."""
    digest = hashlib.sha256(f"{seed}:{video_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def find_cuts(clips: pa.Table, settings: SplitSettings) -> dict[str, Cuts]:
    """Cut each language so that the splits get their shares of its hours, as nearly as whole videos allow.

    With three videos or more, no split that has a share stays empty.

    Parameters
    ----------
    clips
        Rows with `language`, `video_id` and `duration_sec`.
    """
    seconds: dict[str, dict[str, float]] = {}
    for language, video, duration in _rows(clips, "language", "video_id", "duration_sec"):
        of_language = seconds.setdefault(language, {})
        of_language[video] = of_language.get(video, 0.0) + (duration or 0.0)
    return {language: _cut(videos, settings) for language, videos in sorted(seconds.items())}


def assign(clips: pa.Table, cuts: Mapping[str, Cuts], seed: int) -> pa.Array:
    """Split of each clip.

    A video with clips in several languages goes where the first of them, by name, puts it.

    Raises
    ------
    DatasetError
        When `cuts` lacks a language of `clips`.
    """
    first: dict[str, str] = {}
    for language, video in _rows(clips, "language", "video_id"):
        first[video] = min(language, first.get(video, language))
    missing = sorted(set(first.values()) - set(cuts))
    if missing:
        raise DatasetError(
            f"the split has no cuts for {', '.join(missing)}: make cuts for these languages, too"
        )
    of_video = {video: cuts[language].split(split_position(video, seed)) for video, language in first.items()}
    return pa.array([of_video[video] for (video,) in _rows(clips, "video_id")], pa.string())


def file_stem(language: str, clip_id: str) -> str:
    """Name of a clip's files in MultiTalk's own layout, without suffix: ``English_QrDZjUeiUwc_0``."""
    return f"{language.capitalize()}_{clip_id}"


def read_lists(clips: pa.Table, train: Path, test: Path, validation: Path | None = None) -> pa.Array:
    """Split of each clip by MultiTalk's ``train.txt`` and ``test.txt``; null where neither names it.

    The reference has no list of validation clips: it takes a tenth of the training files, in the order in which
    the file system happens to list them. Our own export adds ``val.txt``, which names them within ``train.txt``.

    Raises
    ------
    DatasetError
        When a list can not be read, names nothing, or both name the same clip.
    """
    listed, test_names = _stems(train), _stems(test)
    both = listed & test_names
    if both:
        raise DatasetError(f"{train} and {test} both name {sorted(both)[0]} ({len(both)} clips in all)")
    named = {
        VALIDATION: _stems(validation) & listed if validation else set(),
        TRAIN: listed,
        TEST: test_names,
    }
    stems = [file_stem(*row) for row in _rows(clips, "language", "clip_id")]
    splits = [next((split for split, names in named.items() if stem in names), None) for stem in stems]
    if not any(splits):
        raise DatasetError(f"{train} and {test} name no clip of this dataset")
    return pa.array(splits, pa.string())


def write_lists(clips: pa.Table, folder: Path) -> None:
    """Write ``train.txt`` (training, then validation) and ``test.txt`` as the reference's trainer reads them.

    Beside them lies ``val.txt`` with the validation clips again, which the reference does not look at.

    Parameters
    ----------
    clips
        Rows with `language`, `clip_id` and `split`.
    """
    names: dict[str, list[str]] = {split: [] for split in SPLITS}
    for language, clip, split in _rows(clips, "language", "clip_id", "split"):
        names[split].append(file_stem(language, clip) + ".wav\n")
    files = (("train.txt", (TRAIN, VALIDATION)), ("val.txt", (VALIDATION,)), ("test.txt", (TEST,)))
    for name, splits in files:
        with atomic(folder / name) as temporary:
            temporary.write_text("".join(line for split in splits for line in names[split]), "utf-8")


def _cut(videos: Mapping[str, float], settings: SplitSettings) -> Cuts:
    ordered = sorted((split_position(video, settings.seed), seconds) for video, seconds in videos.items())
    places = [0.0, *(where for where, _ in ordered), 1.0]
    total = sum(seconds for _, seconds in ordered) or 1.0
    reached = [0.0]
    for _, seconds in ordered:
        reached.append(reached[-1] + seconds / total)
    count = len(ordered)
    wants = [settings.test > 0, settings.validation > 0]
    least = int(count >= 3)
    test = _nearest(reached, settings.test, wants[0] * least, count - least * (1 + wants[1]))
    low = test + wants[1] * least
    validation = _nearest(reached, settings.test + settings.validation, low, max(low, count - least))
    # Between two videos, so that either keeps its side.
    at = [(places[n] + places[n + 1]) / 2 if n else 0.0 for n in (test, validation)]
    return Cuts(at[0], at[1])


def _nearest(reached: Sequence[float], share: float, low: int, high: int) -> int:
    """Return the number of videos whose hours come nearest to a share."""
    return min(range(low, max(low, high) + 1), key=lambda n: (abs(reached[n] - share), n))


def _stems(path: Path) -> set[str]:
    try:
        lines = path.read_text("utf-8-sig").split("\n")  # Windows' editors write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} can not be read as a list of clips: {error}") from error
    return {line.strip().removesuffix(".wav").removesuffix(".npz") for line in lines if line.strip()}


def _rows(table: pa.Table, *columns: str) -> Iterable[tuple[Any, ...]]:
    return zip(*(table[name].to_pylist() for name in columns), strict=True)

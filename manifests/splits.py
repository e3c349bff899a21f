"""Train, validation and test: by person, and by source video, so that nobody and no recording is on two sides.

What must stay together is a unit: source videos that share a person, and the persons whom they share; where persons
are not told, a unit is a video. A seeded hash puts every unit at a place between 0 and 1, and each language is cut
there at two places, chosen so that the splits get their shares of the language's hours. A place depends on nothing but
the first of the unit's video ids. So a dataset that grows, or loses videos, keeps nearly all where they were as long
as the same cuts are used: a release keeps its cuts, and a later release can take them over. Where a new video brings
two units together, or comes first in one, that unit stays where most of it was in the earlier release.
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
    seed: int = Field(default=0, description="Another seed divides persons and videos another way.")

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


def split_position(unit: str, seed: int) -> float:
    """Place in 0..1 of what stays together, named by its first source video: uniform, and the same for ever."""
    digest = hashlib.sha256(f"{seed}:{unit}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def find_cuts(clips: pa.Table, settings: SplitSettings) -> dict[str, Cuts]:
    """Cut each language so that the splits get their shares of its hours, as nearly as whole persons allow.

    With three units or more, no split that has a share stays empty.

    Parameters
    ----------
    clips
        Rows with `language`, `video_id` and `duration_sec`, and `person_id` where persons are told.
    """
    units = _units(clips)
    seconds: dict[str, dict[str, float]] = {}
    for unit, (language, duration) in zip(units, _rows(clips, "language", "duration_sec"), strict=True):
        of_language = seconds.setdefault(language, {})
        of_language[unit] = of_language.get(unit, 0.0) + (duration or 0.0)
    return {language: _cut(found, settings) for language, found in sorted(seconds.items())}


def assign(clips: pa.Table, cuts: Mapping[str, Cuts], seed: int, earlier: pa.Table | None = None) -> pa.Array:
    """Split of each clip.

    A unit with clips in several languages goes where the first of them, by name, puts it.

    Parameters
    ----------
    clips
        Rows with `language` and `video_id`, and `person_id` where persons are told.
    cuts
        Of each language.
    seed
        Of the places.
    earlier
        Rows with `video_id`, `split` and `duration_sec` of an earlier release: a unit that has videos of it goes where
        most of their hours were.

    Raises
    ------
    DatasetError
        When `cuts` lacks a language of `clips`.
    """
    units = _units(clips)
    first: dict[str, str] = {}
    for unit, (language,) in zip(units, _rows(clips, "language"), strict=True):
        first[unit] = min(language, first.get(unit, language))
    missing = sorted(set(first.values()) - set(cuts))
    if missing:
        raise DatasetError(
            f"the split has no cuts for {', '.join(missing)}: make cuts for these languages, too"
        )
    sides = {unit: cuts[language].split(split_position(unit, seed)) for unit, language in first.items()}
    if earlier is not None:
        sides |= _as_before(clips, units, earlier)
    return pa.array([sides[unit] for unit in units], pa.string())


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


def _units(clips: pa.Table) -> list[str]:
    """Name, for each clip, what has to stay together with it: by the first of its source videos."""
    videos = clips["video_id"].to_pylist()
    persons = clips["person_id"].to_pylist() if "person_id" in clips.column_names else [None] * len(videos)
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for video, person in set(zip(videos, persons, strict=True)):
        if person is not None:
            a, b = root(("video", video)), root(("person", person))
            parent[a] = b
    first: dict[tuple[str, str], str] = {}
    for video in set(videos):
        unit = root(("video", video))
        first[unit] = min(video, first.get(unit, video))
    return [first[root(("video", video))] for video in videos]


def _as_before(clips: pa.Table, units: Sequence[str], earlier: pa.Table) -> dict[str, str]:
    """Find where most hours of each unit were; of equal ones, where training was."""
    unit_of = dict(zip(clips["video_id"].to_pylist(), units, strict=True))
    hours: dict[str, dict[str, float]] = {}
    for video, split, duration in _rows(earlier, "video_id", "split", "duration_sec"):
        if (unit := unit_of.get(video)) is not None:
            of_unit = hours.setdefault(unit, dict.fromkeys(SPLITS, 0.0))
            of_unit[split] += duration or 0.0
    return {unit: max(SPLITS, key=found.__getitem__) for unit, found in hours.items()}


def _cut(units: Mapping[str, float], settings: SplitSettings) -> Cuts:
    ordered = sorted((split_position(unit, settings.seed), seconds) for unit, seconds in units.items())
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
    # Between two units, so that either keeps its side.
    at = [(places[n] + places[n + 1]) / 2 if n else 0.0 for n in (test, validation)]
    return Cuts(at[0], at[1])


def _nearest(reached: Sequence[float], share: float, low: int, high: int) -> int:
    """Return the number of units whose hours come nearest to a share."""
    return min(range(low, max(low, high) + 1), key=lambda n: (abs(reached[n] - share), n))


def _stems(path: Path) -> set[str]:
    try:
        lines = path.read_text("utf-8-sig").split("\n")  # Windows' editors write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} can not be read as a list of clips: {error}") from error
    return {line.strip().removesuffix(".wav").removesuffix(".npz") for line in lines if line.strip()}


def _rows(table: pa.Table, *columns: str) -> Iterable[tuple[Any, ...]]:
    return zip(*(table[name].to_pylist() for name in columns), strict=True)

"""Who is in a release: how many persons, how much of each, and that nobody is in two splits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True, slots=True)
class ReleasedPersons:
    """Persons in the clips of a release."""

    persons: int
    """0 where persons are not told."""
    untold_clips: int
    """Clips without a person; they are divided with their source video."""
    minutes_median: float
    minutes_most: float
    """Speech of a person, in clips."""
    in_two_splits: int
    """Persons, which a split by lists of others can part."""

    def __str__(self) -> str:
        if not self.persons:
            return "persons are not told apart: source videos were divided"
        told = (
            f"{self.persons:,} persons, {self.minutes_median:.1f} minutes of each in the median, "
            f"{self.minutes_most:.1f} at most"
        )
        if self.untold_clips:
            told += f"; {self.untold_clips:,} clips of nobody that is told"
        none = "no person is in two splits"
        return (
            f"{told}; {f'{self.in_two_splits:,} PERSONS ARE IN TWO SPLITS' if self.in_two_splits else none}"
        )


def released_persons(clips: pa.Table) -> ReleasedPersons:
    """Count the persons of clips with `person_id`, `duration_sec` and `split`."""
    persons, splits = clips["person_id"].to_pylist(), clips["split"].to_pylist()
    seconds: dict[str, float] = {}
    sides: dict[str, set[str]] = {}
    for person, duration, split in zip(persons, clips["duration_sec"].to_pylist(), splits, strict=True):
        if person is not None:
            seconds[person] = seconds.get(person, 0.0) + (duration or 0.0)
            sides.setdefault(person, set()).add(split)
    minutes = np.array([*seconds.values()]) / 60 if seconds else np.zeros(1)
    return ReleasedPersons(
        persons=len(seconds),
        untold_clips=sum(person is None for person in persons),
        minutes_median=float(np.median(minutes)),
        minutes_most=float(minutes.max()),
        in_two_splits=sum(len(some) > 1 for some in sides.values()),
    )

"""Who is in a dataset's clips: the columns `person_id`, `voice_faces` and `repeat_of`, told over all videos at once."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from multitalk.filters.persons.cluster import Clips, tell_persons
from multitalk.filters.persons.face import DESCRIPTOR_SIZE
from multitalk.filters.persons.repeats import find_repeats
from multitalk.filters.persons.voice import VOICE_SIZE
from multitalk.ground.files import locked
from multitalk.manifests import paths
from multitalk.manifests.paths import check_inside
from multitalk.manifests.schema import FINGERPRINTS, MANIFEST
from multitalk.manifests.storage.persons import descriptors, number_lists, read_persons
from multitalk.manifests.store import compact, read_manifest

TOLD = ("person_id", "voice_faces", "repeat_of")
"""The columns that are told here."""

_READ = ("clip_id", "video_id", "language", "persons_xxh3", "source_scale", "duration_sec", *TOLD)
_MOSTLY = 0.5  # share of a clip that is found in another one, from which on it is a repeat


@dataclass(frozen=True, slots=True)
class ToldPersons:
    """How many persons a dataset has, and what else was found."""

    persons: int
    clips: int
    """Clips whose person is told."""
    hours: float
    """Of these clips."""
    several_videos: int
    """Persons who are in more than one source video."""
    other_voices: int
    """Clips whose voice is heard with another face, too."""
    repeats: int
    """Clips that are found in another source video."""


def tell(root: Path) -> ToldPersons:
    """Tell the persons of all clips, and write them into the manifest.

    It is done over all videos, and gives the same for the same clips. A person is named after the first clip, by video
    and clip, in which they are seen, so that a dataset that grows renames few.

    Raises
    ------
    DatasetError
        There is no dataset at `root`, or a file of it is damaged.
    """
    rows = read_manifest(root, _READ)
    described = rows.filter(pc.is_valid(rows["persons_xxh3"]))
    told = _told(root, described) if len(described) else {}
    stale = [language for language in paths.languages(root) if _differs(rows, told, language)]
    if stale:
        compact(root, lambda clips: _with(clips, told), stale)
    return _summary(rows, told)


def are_told(root: Path) -> bool:
    """Whether anything was told of persons before.

    Raises
    ------
    DatasetError
        There is no dataset at `root`.
    """
    rows = read_manifest(root, [*TOLD])
    return any(rows[name].null_count < len(rows) for name in TOLD)


def forget(root: Path) -> int:
    """Delete everything that describes persons, and what was told from it; returns how many clips had any.

    Raises
    ------
    DatasetError
        There is no dataset at `root`, or the folder lies behind a link.
    """
    rows = read_manifest(root, ["persons_xxh3"])
    folder = root / "persons"
    check_inside(root, folder / "language" / "file")
    with locked(root, exclusive=True):
        if folder.is_symlink():
            folder.unlink()
        elif folder.is_dir():
            shutil.rmtree(folder)
    compact(root, _forgotten)
    return int(len(rows) - rows["persons_xxh3"].null_count)


_Told = Mapping[tuple[str, str, str], tuple[str | None, int | None, str | None]]


def _told(root: Path, rows: pa.Table) -> _Told:
    keys = list(zip(*(rows[name].to_pylist() for name in ("language", "video_id", "clip_id")), strict=True))
    videos = sorted({(language, video) for language, video, _ in keys})
    found = read_persons(root, videos)
    scale = dict(zip(keys, rows["source_scale"].to_pylist(), strict=True))
    names = ("language", "video_id", "clip_id")
    found_keys = list(zip(*(found[name].to_pylist() for name in names), strict=True))
    # Clips in the order of their videos' ids, whatever language they are in: persons are named by that order.
    order = sorted(
        (n for n, key in enumerate(found_keys) if key in scale),
        key=lambda n: (found_keys[n][1], found_keys[n][2], found_keys[n][0]),
    )
    found, found_keys = found.take(pa.array(order, pa.int64())), [found_keys[n] for n in order]
    ids = [key[1] for key in found_keys]
    video = (
        np.unique(np.array(ids, object), return_inverse=True)[1].astype(np.int64) if ids else np.zeros(0, int)
    )
    clips = Clips(
        video,
        descriptors(found["face"], DESCRIPTOR_SIZE),
        descriptors(found["voice"], VOICE_SIZE),
        np.asarray(pc.fill_null(found["voice_sec"], 0).to_numpy(), np.float32),
    )
    persons = tell_persons(clips)
    voice_faces = persons.voice_faces.copy()
    repeat_of = _repeats(
        number_lists(found["sound_print"]),
        video,
        persons.person,
        [scale[key] for key in found_keys],
        voice_faces,
    )
    clip_ids = [key[2] for key in found_keys]
    return {
        key: (
            clip_ids[person] if person >= 0 else None,
            int(faces) if faces >= 0 else None,
            clip_ids[repeat] if repeat >= 0 else None,
        )
        for key, person, faces, repeat in zip(found_keys, persons.person, voice_faces, repeat_of, strict=True)
    }


def _repeats(
    prints: list[npt.NDArray[np.uint32]],
    video: npt.NDArray[np.int64],
    person: npt.NDArray[np.int64],
    scales: list[float | None],
    voice_faces: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Return, for each clip, a better copy of the same recording in another video; -1 where it is the best itself.

    Of two copies the one that was enlarged least is kept, of equals the first. Where the same sound is heard under
    another face it is no repeat: one of the two is dubbed, which `voice_faces` then says of both.
    """
    of = np.full(len(prints), -1, np.int64)
    found = find_repeats(prints, video)
    enlarged = np.array([np.inf if scale is None else scale for scale in scales], float)
    rank = np.lexsort((np.arange(len(prints)), enlarged))
    place = np.empty(len(prints), np.int64)
    place[rank] = np.arange(len(prints))
    for a, b, frames in zip(found.first, found.second, found.frames, strict=True):
        better, worse = (a, b) if place[a] < place[b] else (b, a)
        if person[a] != person[b] and person[a] >= 0 and person[b] >= 0:
            voice_faces[[a, b]] = np.maximum(voice_faces[[a, b]], 2)
        elif frames >= _MOSTLY * len(prints[worse]) and (of[worse] < 0 or place[better] < place[of[worse]]):
            of[worse] = better
    return of


def _columns(rows: pa.Table, told: _Told) -> dict[str, pa.ChunkedArray]:
    keys = zip(*(rows[name].to_pylist() for name in ("language", "video_id", "clip_id")), strict=True)
    values = [told.get(key, (None, None, None)) for key in keys]
    return {
        name: pa.chunked_array([pa.array([value[n] for value in values], MANIFEST.field(name).type)])
        for n, name in enumerate(TOLD)
    }


def _with(rows: pa.Table, told: _Told) -> pa.Table:
    for name, column in _columns(rows, told).items():
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, rows.schema.field(at), column)
    return rows


def _differs(rows: pa.Table, told: _Told, language: str) -> bool:
    some = rows.filter(pc.equal(rows["language"], language))
    return any(not some[name].equals(column) for name, column in _columns(some, told).items())


def _forgotten(rows: pa.Table) -> pa.Table:
    for name in ("persons_xxh3", *TOLD):
        at = rows.schema.get_field_index(name)
        field = rows.schema.field(at)
        rows = rows.set_column(at, field, pa.chunked_array([pa.nulls(len(rows), field.type)]))
    at = rows.schema.get_field_index("stage_fingerprints")
    done = rows["stage_fingerprints"].combine_chunks()
    stages = [
        pa.nulls(len(rows), pa.string()) if field.name == "persons" else pc.struct_field(done, field.name)
        for field in FINGERPRINTS
    ]
    names = [field.name for field in FINGERPRINTS]
    struct = pa.StructArray.from_arrays(stages, names=names, mask=pc.is_null(done))
    return rows.set_column(at, rows.schema.field(at), struct)


def _summary(rows: pa.Table, told: _Told) -> ToldPersons:
    keys = zip(*(rows[name].to_pylist() for name in ("language", "video_id", "clip_id")), strict=True)
    videos: dict[str, set[str]] = {}
    seconds, clips = 0.0, 0
    for key, duration in zip(keys, rows["duration_sec"].to_pylist(), strict=True):
        person = told.get(key, (None,))[0]
        if person is not None:
            videos.setdefault(person, set()).add(key[1])
            seconds, clips = seconds + (duration or 0.0), clips + 1
    return ToldPersons(
        persons=len(videos),
        clips=clips,
        hours=seconds / 3600,
        several_videos=sum(len(some) > 1 for some in videos.values()),
        other_voices=sum((value[1] or 0) > 1 for value in told.values()),
        repeats=sum(value[2] is not None for value in told.values()),
    )

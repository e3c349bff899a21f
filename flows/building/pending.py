"""Which source videos have something to do: what the manifest says of every clip, beside what is wanted.

All clips are looked at together, in columns: MultiTalk has 293,812 of them. Nothing here opens a file but the
manifest; files that were lost or damaged are `multitalk verify`'s to find.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from multitalk.extract.annotations import Annotation
from multitalk.extract.errors import ErrorCode, Stage
from multitalk.flows.building.plan import AnnotatedVideo
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.building.settled import Wanted, try_fingerprint
from multitalk.flows.building.stages import STAGES, configuration_fingerprint
from multitalk.manifests.paths import languages
from multitalk.manifests.schema import MANIFEST
from multitalk.manifests.store import compact, read_manifest

Mask = npt.NDArray[np.bool_]

_SIDES = ("top", "bottom", "left", "right")
_COLUMNS = (
    *("language", "video_id", "clip_id", "status", "error_code", "error_message", "stage", "source_url"),
    *("start_sec", "end_sec", "bbox", "transcript"),
    *("config_fingerprint", "stage_fingerprints"),
    *("last_try_fingerprint", "last_try_stage", "last_try_error_code", "last_try_error_message"),
)


def pending_videos(
    videos: Sequence[AnnotatedVideo], wanted: Mapping[Stage, str], settings: BuildSettings
) -> list[AnnotatedVideo]:
    """Return the source videos of which a clip is new, annotated otherwise, or not done as it is wanted.

    A clip that failed is done where it failed with the same settings, for a reason that is not to be tried again
    (`BuildSettings.retry`).

    Raises
    ------
    DatasetError
        If the manifest is damaged.
    """
    if not (settings.root / "manifest").is_dir():
        return list(videos)
    by_language: dict[str, list[AnnotatedVideo]] = {}
    for video in videos:
        by_language.setdefault(video.language, []).append(video)
    by = Wanted.by(settings, wanted)
    there, pending = set(languages(settings.root)), []
    # A language at a time: all of the manifest at once takes more memory than all the annotations.
    for language, members in by_language.items():
        if language not in there:
            pending += members
            continue
        found = _Found(read_manifest(settings.root, list(_COLUMNS), [language]), by)
        pending += [video for video in members if not found.has_all(video)]
    return pending


def adopt_older_rows(root: Path, wanted: Mapping[Stage, str]) -> int:
    """Take rows that an earlier version of this program made for the outcome of the settings wanted now.

    Those rows do not tell which settings made them. What they lack, such as a metric that was not measured, stays
    without a fingerprint, and so is measured by the build that follows.

    Returns
    -------
    int
        Rows that were taken over.
    """
    if not (root / "manifest").is_dir():
        return 0
    tables = (read_manifest(root, list(_TELLING), [language]) for language in languages(root))
    unknown = sum(pc.sum(_from_earlier_versions(rows)).as_py() or 0 for rows in tables)
    if unknown:
        compact(root, lambda rows: _adopted(rows, wanted))
    return unknown


class _Found:
    """The manifest's clips of a language, looked up by id; what `settled` says of one, for all."""

    def __init__(self, table: pa.Table, wanted: Wanted) -> None:
        self._wanted = wanted
        self._rows = _Rows(table, wanted)
        # Not by the clip alone: one that is annotated of another video or language now is another.
        names = zip(table["video_id"].to_pylist(), table["clip_id"].to_pylist(), strict=True)
        self._at = {clip: at for at, clip in enumerate(names)}

    def has_all(self, video: AnnotatedVideo) -> bool:
        return all(self._has(clip, video) for clip in video.annotations) and all(
            self._has_invalid(video, bad.clip_id, bad.message) for bad in video.invalid
        )

    def _has(self, clip: Annotation, video: AnnotatedVideo) -> bool:
        at, rows = self._at.get((video.file_id, clip.clip_id)), self._rows
        if at is None:
            return False
        if rows.removed[at]:  # nothing is left of it that could be compared with what is wanted
            return not rows.removed_again
        if rows.tried[at]:
            fresh = rows.try_fingerprints[at].as_py() == try_fingerprint(clip, video, self._wanted)
            return bool(fresh and not rows.may_try_again[at])
        if not rows.settled[at]:
            return False
        if rows.failed_at_source[at] and rows.sources[at].as_py() not in (None, video.source_url):
            return False
        box = clip.bbox
        values = [clip.start_sec, clip.end_sec, box.top, box.bottom, box.left, box.right]
        return bool(rows.transcripts[at] == clip.transcript and rows.numbers[at].tolist() == values)

    def _has_invalid(self, video: AnnotatedVideo, clip_id: str, message: str) -> bool:
        at, rows = self._at.get((video.file_id, clip_id)), self._rows
        if at is None:
            return False
        if rows.removed[at] and not rows.removed_again:
            return True
        return any(messages[at].as_py() == message for messages in rows.messages)


class _Rows:
    """What is compared of the rows of a language. What is asked of few of them stays in Arrow's columns."""

    def __init__(self, rows: pa.Table, wanted: Wanted) -> None:
        self.settled = _settled(rows, wanted)
        self.tried = _mask(pc.is_valid(rows["last_try_fingerprint"]))
        self.may_try_again = _may_try_again(rows, wanted)
        self.removed = _mask(pc.equal(rows["error_code"], str(ErrorCode.REMOVED)))
        self.removed_again = str(ErrorCode.REMOVED) in wanted.retry
        self.failed_at_source = _mask(pc.equal(rows["stage"], str(Stage.SOURCE)))
        boxes = rows["bbox"].combine_chunks()
        numbers = [rows["start_sec"], rows["end_sec"], *(pc.struct_field(boxes, side) for side in _SIDES)]
        # (clips, 6), NaN where a row has none, which no annotation has.
        self.numbers = np.stack([pc.fill_null(column, np.nan).to_numpy() for column in numbers], axis=1)
        self.transcripts = rows["transcript"].to_pylist()
        self.try_fingerprints, self.sources = rows["last_try_fingerprint"], rows["source_url"]
        self.messages = [rows[name] for name in ("error_message", "last_try_error_message")]


def _may_try_again(rows: pa.Table, wanted: Wanted) -> Mask:
    """Rows of an earlier outcome whose last try is made again with the same settings."""
    return _is_in(rows["last_try_error_code"], wanted.retry) | _is_in(rows["last_try_stage"], wanted.redo)


def _settled(rows: pa.Table, wanted: Wanted) -> Mask:
    """Which rows need nothing, as far as settings tell."""
    fingerprints = rows["stage_fingerprints"].combine_chunks()
    done = {
        stage: _mask(pc.equal(pc.struct_field(fingerprints, str(stage)), fingerprint))
        for stage, fingerprint in wanted.fingerprints.items()
    }
    good = _mask(pc.equal(rows["status"], "ok")) & np.logical_and.reduce(list(done.values()))
    failed = np.zeros(len(rows), bool)
    for stage, mask in done.items():
        failed |= _mask(pc.equal(rows["stage"], str(stage))) & mask
    failed |= _mask(
        pc.equal(rows["config_fingerprint"], wanted.configuration)
    )  # of those that failed before any stage, too
    failed &= _mask(pc.equal(rows["status"], "failed"))
    failed &= ~_is_in(rows["error_code"], wanted.retry) & ~_is_in(rows["stage"], wanted.redo)
    settled: Mask = (good & (not wanted.redo)) | failed
    return settled


_TELLING = ("stage_fingerprints", "config_fingerprint", "status", "error_code", "clip_path")
_NOT_BEGUN = [str(ErrorCode.INVALID_ANNOTATION), str(ErrorCode.REMOVED)]


def _from_earlier_versions(rows: pa.Table) -> Any:
    unknown = pc.and_(pc.is_null(rows["stage_fingerprints"]), pc.is_valid(rows["config_fingerprint"]))
    # Imported clips have no picture, and were never on this way; nor were clips that no stage was done on.
    begun = pc.invert(pc.is_in(rows["error_code"], pa.array(_NOT_BEGUN, pa.string())))
    built = pc.or_(pc.is_valid(rows["clip_path"]), pc.and_(pc.equal(rows["status"], "failed"), begun))
    return pc.and_(unknown, built)


def _adopted(rows: pa.Table, wanted: Mapping[Stage, str]) -> pa.Table:
    """Give rows without fingerprints those of the stages that they have the columns of."""
    unknown = _mask(_from_earlier_versions(rows))
    present = rows["stage_fingerprints"].combine_chunks()
    order = list(STAGES)
    failed_at = _positions(rows["stage"], order)
    kind = MANIFEST.field("stage_fingerprints").type
    columns = []
    for position, stage in enumerate(order):
        known = pc.struct_field(present, str(stage))
        done = unknown & (failed_at >= position) & _has_columns(rows, stage)
        done |= unknown & (failed_at == position)
        value = pa.scalar(wanted.get(stage), pa.string())
        columns.append(pc.if_else(pa.array(done), value, known.cast(pa.string())))
    names = [field.name for field in kind]
    by_name = {str(stage): column for stage, column in zip(order, columns, strict=True)}
    struct = pa.StructArray.from_arrays([by_name[name] for name in names], names=names).cast(kind)
    at = rows.schema.get_field_index("stage_fingerprints")
    rows = rows.set_column(at, rows.schema.field(at), struct)
    whole = pa.scalar(configuration_fingerprint(wanted), pa.string())
    at = rows.schema.get_field_index("config_fingerprint")
    label = pc.if_else(pa.array(unknown), whole, rows["config_fingerprint"])
    return rows.set_column(at, rows.schema.field(at), label)


def _has_columns(rows: pa.Table, stage: Stage) -> Mask:
    """Rows in which a stage has left something: metrics that could not be measured are null, not all of a stage."""
    if stage is Stage.PERSONS:
        return _mask(pc.is_valid(rows["persons_xxh3"]))
    columns = {
        Stage.TEXT: "text_near_face",
        Stage.SPEAKING: "speaking_score",
        Stage.VIDEO_LANGUAGE: "video_language",
        Stage.SYNC: "video_sync",
    }
    return _mask(pc.is_valid(rows[columns[stage]])) if stage in columns else np.ones(len(rows), bool)


def _positions(stages: pa.ChunkedArray, order: Sequence[Stage]) -> npt.NDArray[np.int64]:
    """Where in the order each row failed; after the last for those that did not, before the first where unknown."""
    place = {str(stage): position for position, stage in enumerate(order)} | {None: len(order)}
    return np.array([place.get(stage, -1) for stage in stages.to_pylist()], np.int64)


def _is_in(column: pa.ChunkedArray, values: Iterable[str]) -> Mask:
    return _mask(pc.is_in(column, pa.array(map(str, values), pa.string())))


def _mask(values: Any) -> Mask:
    filled = pc.fill_null(values, False)
    return np.asarray(
        filled.to_numpy(zero_copy_only=False) if isinstance(filled, pa.Array) else filled.to_numpy()
    )

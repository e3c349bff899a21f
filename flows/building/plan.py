"""What a build has to do: source videos, which of them have something to do, and how these are batched.

The source video is the unit of work. A batch is up to so many videos of one language; it goes to its worker by name,
and the worker reads its videos from the run's folder (`write_batches`, `read_batch`).
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from pydantic import TypeAdapter

from multitalk.extract.annotations import Annotation, AnnotationSet, InvalidAnnotation, read_annotations
from multitalk.extract.errors import Stage
from multitalk.flows.building.settings import BuildSettings
from multitalk.ground.files import atomic
from multitalk.ground.nearest import did_you_mean
from multitalk.ground.settings import SettingsError

UNDETERMINED = "und"  # ISO 639's code, for rows whose annotation names no usable language


@dataclass(frozen=True, slots=True)
class AnnotatedVideo:
    """One source video with all its annotated clips: the unit of work, and of commitment.

    `file_id` names its files; it is `video_id` where that is a safe file name.
    """

    file_id: str
    video_id: str | None
    language: str
    source_url: str
    annotations: tuple[Annotation, ...]
    invalid: tuple[InvalidAnnotation, ...]

    @property
    def clip_count(self) -> int:
        """Rows that this video will have in the manifest."""
        return len(self.annotations) + len(self.invalid)


@dataclass(frozen=True, slots=True)
class Batch:
    """Source videos of one language that one worker process takes."""

    name: str
    language: str
    videos: tuple[AnnotatedVideo, ...]


@dataclass(frozen=True, slots=True)
class BatchName:
    """A batch as it travels: by name, with what progress is counted in."""

    name: str
    language: str
    videos: int
    clips: int


@dataclass(frozen=True, slots=True)
class BatchContent:
    """A batch as its worker reads it."""

    videos: tuple[AnnotatedVideo, ...]
    wanted: dict[Stage, str]
    """Fingerprint of each stage that the run does, as it was planned."""


_BATCH_FILE = TypeAdapter(BatchContent)
_INDEX_FILE = TypeAdapter(tuple[BatchName, ...])
_INDEX = "batches.json"


def annotated_videos(settings: BuildSettings) -> list[AnnotatedVideo]:
    """Read the annotations and group them by source video, as far as the settings choose them.

    Raises
    ------
    SettingsError
        If no annotation file fits, they hold no clip, or a language asked for is in none of them.
    AnnotationFileError
        If a file cannot be read as annotations.
    """
    annotations = read_annotations(annotation_files(settings.annotations))
    videos = source_videos(annotations, settings)
    if not videos:
        raise SettingsError(f"annotations: no clip is annotated in {', '.join(settings.annotations)}")
    return videos


def annotation_files(patterns: Iterable[str]) -> list[Path]:
    """Expand globs; a name without wildcards is taken as it is, so that its absence is reported."""
    files: list[Path] = []
    for pattern in patterns:
        named = Path(pattern).exists() or not has_magic(pattern)
        found = [pattern] if named else sorted(glob(pattern))  # noqa: PTH207 - absolute patterns, too
        if not found:
            raise SettingsError(f"annotations: no file fits {pattern!r} in {Path.cwd()}")
        files += map(Path, found)
    return files


def source_videos(annotations: AnnotationSet, settings: BuildSettings) -> list[AnnotatedVideo]:
    """Group annotations by language and source video, in the order of their ids."""
    groups: dict[tuple[str, str], tuple[list[Annotation], list[InvalidAnnotation]]] = {}
    for annotation in annotations.annotations:
        groups.setdefault((annotation.language, annotation.video_id), ([], []))[0].append(annotation)
    for bad in annotations.invalid:
        language = bad.language or UNDETERMINED
        file_id = bad.video_id or f"invalid-{_digest(bad.clip_id)[:16]}"
        groups.setdefault((language, file_id), ([], []))[1].append(bad)
    videos = [
        _video(language, file_id, good, bad, settings.source_url)
        for (language, file_id), (good, bad) in sorted(groups.items())
    ]
    if settings.languages:
        _check_languages(settings.languages, {video.language for video in videos})
        videos = [video for video in videos if video.language in settings.languages]
    return _limited(videos, settings.limit)


def _video(
    language: str,
    file_id: str,
    good: list[Annotation],
    bad: list[InvalidAnnotation],
    template: str,
) -> AnnotatedVideo:
    ordered = sorted(good, key=lambda clip: (clip.start_frame, clip.clip_id))
    named = next((clip.source_url for clip in ordered if clip.source_url), None)
    other = [clip for clip in ordered if clip.source_url not in (None, named)]
    return AnnotatedVideo(
        file_id=file_id,
        video_id=good[0].video_id if good else bad[0].video_id,
        language=language,
        # Only a checked id ever takes the place of {video_id}.
        source_url=named or template.replace("{video_id}", file_id),
        annotations=tuple(clip for clip in ordered if clip not in other),
        invalid=(*bad, *(_elsewhere(clip, named or "") for clip in other)),
    )


def _elsewhere(clip: Annotation, source_url: str) -> InvalidAnnotation:
    message = (
        f"Clip {clip.clip_id}: the annotation is invalid: it says that {clip.video_id} is at {clip.source_url}, "
        f"another clip of that video says {source_url}. Give different videos different ids."
    )
    return InvalidAnnotation(clip.clip_id, clip.video_id, clip.language, message)


def batches(videos: Sequence[AnnotatedVideo], settings: BuildSettings) -> list[Batch]:
    """Cut videos into batches of one language, by the leading bits of a hash of their id.

    A growing input only splits batches in halves, it never moves a video from one to another. Batches are
    smaller than `batch_size` where the workers would otherwise not all have one.
    """
    size = max(1, min(settings.batch_size, math.ceil(len(videos) / (4 * settings.workers))))
    by_language: dict[str, list[AnnotatedVideo]] = {}
    for video in videos:
        by_language.setdefault(video.language, []).append(video)
    found = []
    for language, members in sorted(by_language.items()):
        bits = max(0, math.ceil(math.log2(len(members) / size)))
        buckets: dict[int, list[AnnotatedVideo]] = {}
        for video in members:
            buckets.setdefault(int(_digest(video.file_id), 16) >> (256 - bits), []).append(video)
        found += [
            Batch(f"{language}-{index:0{max(1, bits)}b}", language, tuple(bucket))
            for index, bucket in sorted(buckets.items())
        ]
    return found


def write_batches(
    found: Iterable[Batch], wanted: Mapping[Stage, str], run_folder: Path
) -> tuple[BatchName, ...]:
    """Write batches into a run's folder, from where workers on whatever machine read them; returns their names."""
    names = []
    for batch in found:
        with atomic(_batch_path(run_folder, batch.name)) as place:
            place.write_bytes(_BATCH_FILE.dump_json(BatchContent(batch.videos, dict(wanted))))
        clips = sum(video.clip_count for video in batch.videos)
        names.append(BatchName(batch.name, batch.language, len(batch.videos), clips))
    with atomic(run_folder / _INDEX) as place:
        place.write_bytes(_INDEX_FILE.dump_json(tuple(names)))
    return tuple(names)


def read_batches(run_folder: Path) -> tuple[BatchName, ...]:
    """Read the names of a run's batches."""
    return _INDEX_FILE.validate_json((run_folder / _INDEX).read_bytes())


def read_batch(name: str, run_folder: Path) -> BatchContent:
    """Read what a batch holds."""
    return _BATCH_FILE.validate_json(_batch_path(run_folder, name).read_bytes())


def _batch_path(run_folder: Path, name: str) -> Path:
    return run_folder / f"{name}.videos.json"


def _check_languages(wanted: Iterable[str], annotated: set[str]) -> None:
    if unknown := sorted(set(wanted) - annotated):
        there = ", ".join(sorted(annotated))
        raise SettingsError(
            f"languages: nothing is annotated as {', '.join(unknown)}; there is {there}"
            + did_you_mean(unknown[0], annotated)
        )


def _limited(videos: list[AnnotatedVideo], limit: int | None) -> list[AnnotatedVideo]:
    if limit is None:
        return videos
    seen: Counter[str] = Counter()
    kept = []
    for video in videos:
        seen[video.language] += 1
        if seen[video.language] <= limit:
            kept.append(video)
    return kept


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

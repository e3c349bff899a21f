"""What a build has to do: source videos, which of them are done, and how the rest is batched."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from glob import glob, has_magic
from json import dumps
from pathlib import Path

from extract.annotations import Annotation, AnnotationSet, InvalidAnnotation, read_annotations
from flows.config import BuildSettings, ConfigError
from manifests.store import read_manifest
from multitalk.nearest import did_you_mean

UNDETERMINED = "und"  # ISO 639's code, for rows whose annotation names no usable language


@dataclass(frozen=True, slots=True)
class AnnotatedVideo:
    """One source video with all its annotated clips: the unit of work, and of commitment.

    `file_id` names its files; it is `video_id` where that is a safe file name.
    """

    file_id: str
    video_id: str | None
    language: str
    annotations: tuple[Annotation, ...]
    invalid: tuple[InvalidAnnotation, ...]
    fingerprint: str
    attempts: int = 0
    """Times it was tried by earlier runs."""

    @property
    def clip_count(self) -> int:
        """Rows that this video will have in the manifest."""
        return len(self.annotations) + len(self.invalid)


@dataclass(frozen=True, slots=True)
class Batch:
    """Source videos of one language that one task run takes."""

    name: str
    language: str
    videos: tuple[AnnotatedVideo, ...]


@dataclass(frozen=True, slots=True)
class CommittedVideo:
    """What the manifest says of a source video that an earlier run committed."""

    fingerprint: str
    source_url: str | None
    attempts: int
    error_codes: frozenset[str]
    failed_stages: frozenset[str]


@dataclass(frozen=True, slots=True)
class Plan:
    """All source videos of the annotations, and the batches of those still to be built."""

    videos: tuple[AnnotatedVideo, ...]
    batches: tuple[Batch, ...]

    @property
    def pending_videos(self) -> int:
        """Number of source videos in the batches."""
        return sum(len(batch.videos) for batch in self.batches)


def make_plan(settings: BuildSettings) -> Plan:
    """Read the annotations and the manifest, and plan what a build has to do.

    Raises
    ------
    ConfigError
        If no annotation file fits, they hold no clip, or a language asked for is in none of them.
    AnnotationFileError
        If a file cannot be read as annotations.
    DatasetError
        If the manifest is damaged.
    """
    annotations = read_annotations(annotation_files(settings.annotations))
    videos = source_videos(annotations, settings)
    if not videos:
        raise ConfigError(f"annotations: no clip is annotated in {', '.join(settings.annotations)}")
    committed = committed_videos(settings.root)
    return Plan(tuple(videos), tuple(batches(pending(videos, committed, settings), settings)))


def annotation_files(patterns: Iterable[str]) -> list[Path]:
    """Expand globs; a name without wildcards is taken as it is, so that its absence is reported."""
    files: list[Path] = []
    for pattern in patterns:
        named = Path(pattern).exists() or not has_magic(pattern)
        found = [pattern] if named else sorted(glob(pattern))  # noqa: PTH207 - absolute patterns, too
        if not found:
            raise ConfigError(f"annotations: no file fits {pattern!r} in {Path.cwd()}")
        files += map(Path, found)
    return files


def committed_videos(root: Path) -> dict[tuple[str, str], CommittedVideo]:
    """Return what the manifest says of every source video in it, by language and file id."""
    columns = ["language", "video_id", "config_fingerprint", "source_url", "attempts", "error_code", "stage"]
    if not (root / "manifest").is_dir():
        return {}
    table = read_manifest(root, columns)
    videos: dict[tuple[str, str], CommittedVideo] = {}
    for row in (
        table.group_by(["language", "video_id"])
        .aggregate(
            [
                ("config_fingerprint", "max"),
                ("source_url", "max"),
                ("attempts", "max"),
                ("error_code", "distinct"),
                ("stage", "distinct"),
            ]
        )
        .to_pylist()
    ):
        videos[row["language"], row["video_id"]] = CommittedVideo(
            fingerprint=row["config_fingerprint_max"],
            source_url=row["source_url_max"],
            attempts=row["attempts_max"] or 0,
            error_codes=frozenset(filter(None, row["error_code_distinct"])),
            failed_stages=frozenset(filter(None, row["stage_distinct"])),
        )
    return videos


def source_videos(annotations: AnnotationSet, settings: BuildSettings) -> list[AnnotatedVideo]:
    """Group annotations by language and source video, in the order of their ids."""
    groups: dict[tuple[str, str], tuple[list[Annotation], list[InvalidAnnotation]]] = {}
    for annotation in annotations.annotations:
        groups.setdefault((annotation.language, annotation.video_id), ([], []))[0].append(annotation)
    for bad in annotations.invalid:
        language = bad.language or UNDETERMINED
        file_id = bad.video_id or f"invalid-{_digest(bad.clip_id)[:16]}"
        groups.setdefault((language, file_id), ([], []))[1].append(bad)
    config = settings.fingerprint()
    videos = [
        AnnotatedVideo(
            file_id=file_id,
            video_id=good[0].video_id if good else bad[0].video_id,
            language=language,
            annotations=tuple(sorted(good, key=lambda a: (a.start_frame, a.clip_id))),
            invalid=tuple(bad),
            fingerprint=_digest(config + dumps([*map(asdict, good), *map(asdict, bad)], sort_keys=True)),
        )
        for (language, file_id), (good, bad) in sorted(groups.items())
    ]
    if settings.languages:
        _check_languages(settings.languages, {video.language for video in videos})
        videos = [video for video in videos if video.language in settings.languages]
    return _limited(videos, settings.limit)


def pending(
    videos: Iterable[AnnotatedVideo],
    committed: Mapping[tuple[str, str], CommittedVideo],
    settings: BuildSettings,
) -> list[AnnotatedVideo]:
    """Source videos to be built: not committed with the same fingerprint, or failed in a way to be retried."""
    found = []
    for video in videos:
        done = committed.get((video.language, video.file_id))
        if _is_pending(video, done, settings):
            found.append(replace(video, attempts=done.attempts if done else 0))
    return found


def _is_pending(video: AnnotatedVideo, done: CommittedVideo | None, settings: BuildSettings) -> bool:
    if done is None or done.fingerprint != video.fingerprint:
        return True
    if done.error_codes.intersection(settings.retry):
        return True
    # The user pointed at another source: what could not be had from the old one may be there.
    moved = done.source_url is not None and done.source_url != source_url(video, settings)
    return moved and "download" in done.failed_stages


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


def source_url(video: AnnotatedVideo, settings: BuildSettings) -> str:
    """URL of a source video; only a checked id ever takes the place of ``{video_id}``."""
    return settings.source_url.replace("{video_id}", video.file_id)


def _check_languages(wanted: Iterable[str], annotated: set[str]) -> None:
    if unknown := sorted(set(wanted) - annotated):
        there = ", ".join(sorted(annotated))
        raise ConfigError(
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

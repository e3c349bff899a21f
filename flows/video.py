"""One source video through all its stages: download, trim, landmarks, fit, metrics, and commitment.

Every annotated clip ends as a row. A clip that fails at a stage keeps what was found before it and its
reason; a failed download fails all clips of its source video. Nothing in here knows Prefect.
"""

import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from extract.annotations import Annotation, InvalidAnnotation
from extract.download import DownloadedVideo, download
from extract.errors import NO_SPACE, ClipError, ErrorCode, Stage
from extract.pace import Pace
from extract.trim import TrimRequest, TrimResult, trim_clips
from flows.clip import ClipBuilder, ClipData
from flows.config import BuildSettings
from flows.fitting import regressor_version
from flows.plan import AnnotatedVideo, source_url
from flows.sync import PREDICTOR, VERSION_KEY, predictor_version
from flows.versions import tool_versions
from manifests import paths
from manifests.store import commit_fragment, read_manifest
from manifests.takedown import read_takedown

Row = dict[str, Any]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Clip:
    """A clip on its way: what is known of it goes into `row`, stage by stage."""

    annotation: Annotation
    row: Row
    trimmed: TrimResult | None = None
    data: ClipData | None = None

    def fail(self, error: Exception, stage: Stage) -> None:
        reason = as_clip_error(error, self.annotation.clip_id, stage)
        self.row.update(_failure(reason))


@dataclass(slots=True)
class VideoBuilder:
    """Builds source videos one after the other; models are loaded when first needed and kept."""

    settings: BuildSettings
    versions: dict[str, str] = field(default_factory=tool_versions)
    _clips: ClipBuilder = field(init=False)

    def __post_init__(self) -> None:
        self._clips = ClipBuilder(self.settings)
        if self.settings.landmarks.backend == "face-alignment":
            self.versions = {**self.versions, "face-alignment": version("face-alignment")}
        predictor = self.settings.root / PREDICTOR
        if predictor.exists():
            self.versions = {**self.versions, VERSION_KEY: predictor_version(predictor)}
        if self.settings.regressor is not None:
            self.versions = {**self.versions, "regressor": regressor_version(self.settings.regressor)}

    def build(
        self, video: AnnotatedVideo, download: DownloadedVideo | ClipError, progress: Callable[[], None]
    ) -> list[Row]:
        """Take a downloaded source video through the other stages and commit it.

        Parameters
        ----------
        video
            The source video with its annotated clips.
        download
            What :func:`download_video` returned for it.
        progress
            Called after every clip, so that whoever watches knows a slow video from a hung one.

        Returns
        -------
        list of dict
            The committed rows of the manifest, one for every annotated clip, valid or not.
        """
        clips = [_Clip(annotation, _base_row(annotation)) for annotation in video.annotations]
        if not isinstance(download, ClipError):
            self._trim(clips, download, video)
            if not download.path.exists():
                if rows := self._built_meanwhile(video):
                    return rows
                download = _taken_away(download.path, self.settings.root)
        if isinstance(download, ClipError):
            for clip in clips:
                clip.fail(download, Stage.DOWNLOAD)
        else:
            for clip in clips:
                self._build_clip(clip)
                progress()
            self._clips.pool_over_video([clip.data for clip in clips if clip.data is not None])
        if not self.settings.keep_raw:
            # Before the video counts as done: nobody would come back for a file that a kill left here.
            paths.raw_path(self.settings.root, video.language, video.file_id).unlink(missing_ok=True)
        return self._commit(video, clips)

    def _built_meanwhile(self, video: AnnotatedVideo) -> list[Row]:
        """Rows that another build on this root has committed of a video, if they are what this one would make."""
        if not (self.settings.root / "manifest").is_dir():
            return []
        ours = (pc.field("language") == video.language) & (pc.field("video_id") == video.file_id)
        rows: list[Row] = read_manifest(self.settings.root).filter(ours).to_pylist()
        return rows if all(row["config_fingerprint"] == video.fingerprint for row in rows) else []

    def _trim(self, clips: Sequence[_Clip], download: DownloadedVideo, video: AnnotatedVideo) -> None:
        root = self.settings.root
        requests = [
            TrimRequest(
                clip.annotation,
                paths.clip_path(root, video.language, clip.annotation.clip_id),
                paths.audio_path(root, video.language, clip.annotation.clip_id),
            )
            for clip in clips
        ]
        source: Row = {
            "source_width": download.video.width,
            "source_height": download.video.height,
            "source_fps": download.video.fps,
            "source_audio_language": download.audio_language,
        }
        try:
            results = trim_clips(download.path, download.video, requests, self.settings.trim)
        except Exception as error:
            results = [as_clip_error(error, video.file_id, Stage.TRIM)] * len(clips)
        for clip, result in zip(clips, results, strict=True):
            clip.row.update(source)
            if isinstance(result, ClipError):
                clip.fail(result, Stage.TRIM)
            else:
                clip.trimmed = result
                clip.row.update(
                    clip_path=result.clip_path.relative_to(root).as_posix(),
                    audio_path=result.audio_path.relative_to(root).as_posix(),
                    frame_count=result.frame_count,
                    duration_sec=result.duration_sec,
                    source_scale=result.source_scale,
                    clip_sha256=result.clip_sha256,
                )

    def _build_clip(self, clip: _Clip) -> None:
        if clip.trimmed is None:
            return
        size = (clip.row["source_width"], clip.row["source_height"])
        clip.data = ClipData(clip.annotation, clip.trimmed, size, clip.row)
        for stage, step in self._clips.steps:
            try:
                step(clip.data)
            except Exception as error:
                clip.fail(error, stage)
                return

    def _commit(self, video: AnnotatedVideo, clips: Sequence[_Clip]) -> list[Row]:
        rows = [clip.row for clip in clips] + [_invalid_row(bad) for bad in video.invalid]
        for row in rows:
            _complete(row, video, self.settings)
            row["tool_versions"] = self.versions
        fitted = [clip.data for clip in clips if clip.data is not None and clip.data.motion is not None]
        tracked = [clip.data for clip in clips if clip.data is not None and clip.data.track is not None]
        commit_fragment(
            self.settings.root,
            video.language,
            video.file_id,
            rows,
            motion_rows=[data.motion_row() for data in fitted],
            landmark_rows=[data.landmarks_row() for data in tracked] if self.settings.keep_landmarks else [],
            fingerprint=video.fingerprint,
        )
        return rows


def _taken_away(place: Path, root: Path) -> ClipError:
    message = (
        f"{place} was removed while it was worked on: let one build at a time work on {root}, and run again"
    )
    return ClipError(ErrorCode.INTERNAL, message, Stage.DOWNLOAD)


def download_video(video: AnnotatedVideo, settings: BuildSettings) -> DownloadedVideo | ClipError:
    """Fetch a source video to its place; a failure is returned, since it ends up in rows.

    Videos without a valid annotation are not fetched, nor those on the take-down list.
    """
    reason = read_takedown(settings.root).get(video.file_id)
    if reason is not None:
        message = f"{video.file_id} is on the take-down list {settings.root / 'takedown.txt'}: {reason}"
        return ClipError(ErrorCode.REMOVED, message, Stage.DOWNLOAD)
    if not video.annotations:
        return ClipError(ErrorCode.INVALID_ANNOTATION, "no valid clip", Stage.ANNOTATION)
    place = paths.raw_path(settings.root, video.language, video.file_id)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        pace = Pace(settings.root / ".pause.json", settings.download.first_pause_sec)
        clips = [(clip.start_sec, clip.end_sec) for clip in video.annotations]
        return download(source_url(video, settings), place, settings.download, pace, clips=clips)
    except Exception as error:
        return as_clip_error(error, video.file_id, Stage.DOWNLOAD)


def commit_failure(video: AnnotatedVideo, error: ClipError, settings: BuildSettings) -> list[Row]:
    """Commit a source video of which nothing can be made; returns its rows."""
    rows = [{**_base_row(a), **_failure(error)} for a in video.annotations]
    rows += [_invalid_row(bad) for bad in video.invalid]
    for row in rows:
        _complete(row, video, settings)
    commit_fragment(settings.root, video.language, video.file_id, rows, fingerprint=video.fingerprint)
    return rows


def as_clip_error(error: Exception, name: str, stage: Stage) -> ClipError:
    """Give any exception the code that fits it; one that nobody foresaw is logged with its trace."""
    if isinstance(error, ClipError):
        return error
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        message = f"{name}: no space left on the disk at stage {stage}; free some and run again"
        return ClipError(ErrorCode.DISK_FULL, message, stage)
    _log.error("%s, stage %s:\n%s", name, stage, "".join(traceback.format_exception(error)))
    message = f"{name}: {type(error).__name__} at stage {stage}: {error}"
    return ClipError(ErrorCode.INTERNAL, message, stage)


def _base_row(annotation: Annotation) -> Row:
    return {
        "clip_id": annotation.clip_id,
        "start_sec": annotation.start_sec,
        "end_sec": annotation.end_sec,
        "start_frame": annotation.start_frame,
        "bbox": annotation.bbox.as_dict(),
        "transcript": annotation.transcript,
        "status": "ok",
    }


def _invalid_row(bad: InvalidAnnotation) -> Row:
    error = ClipError(ErrorCode.INVALID_ANNOTATION, bad.message, Stage.ANNOTATION)
    return {"clip_id": bad.clip_id, **_failure(error)}


def _complete(row: Row, video: AnnotatedVideo, settings: BuildSettings) -> None:
    row["attempts"] = video.attempts + 1
    row["source_url"] = source_url(video, settings) if video.annotations else None


def _failure(error: ClipError) -> Row:
    return {
        "status": "failed",
        "error_code": str(error.code),
        "error_message": error.message,
        "stage": str(error.stage),
    }

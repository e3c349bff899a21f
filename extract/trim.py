"""Cut clips out of a source video: 512x512, constant 25 frames a second, with their sound."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from multitalk.extract.annotations import Annotation
from multitalk.extract.crop import CropBox, crop_box
from multitalk.extract.errors import NO_SPACE, ClipError, ErrorCode, Stage
from multitalk.extract.ffmpeg import FfmpegError, decoding, run_ffmpeg
from multitalk.extract.probe import SourceVideo
from multitalk.extract.trim_command import MISSING_FRAMES_FILLED, Cut, VideoEncoding, trim_command
from multitalk.ground.outcome import OUTCOME, RUNTIME
from multitalk.ground.units import AUDIO_RATE, CLIP_SIDE, FPS
from multitalk.ground.wav import wav_form

__all__ = ["CropBox", "TrimRequest", "TrimResult", "TrimSettings", "crop_box", "trim_clips"]

# Films of 25 frames a second come with mean rates such as 24.97, for the file's rounded length.
FPS_TOLERANCE = 0.1


class TrimSettings(BaseModel):
    """How clips are cut and encoded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_fps: Annotated[float, OUTCOME] = Field(
        default=25.0,
        gt=0,
        description="Source videos with fewer frames a second are refused; 23 lets films in",
    )
    crf: Annotated[int, OUTCOME] = Field(
        default=23, ge=0, le=51, description="x264's constant quality: lower is better and larger"
    )
    preset: Annotated[
        Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"], OUTCOME
    ] = Field(default="veryfast", description="x264's effort: slower ones make smaller files")
    clips_per_process: Annotated[int, RUNTIME] = Field(
        default=8, ge=1, le=32, description="Clips cut by one ffmpeg process; memory follows it"
    )
    timeout_base_sec: Annotated[float, RUNTIME] = Field(
        default=120.0, gt=0, description="Time that one ffmpeg process may take, whatever it cuts"
    )
    timeout_per_clip_second: Annotated[float, RUNTIME] = Field(
        default=30.0, ge=0, description="Further seconds allowed for each second of clip"
    )
    memory_gib: Annotated[float, RUNTIME] = Field(
        default=4.0, gt=0, description="Address space that one ffmpeg process may take"
    )


@dataclass(frozen=True, slots=True)
class TrimRequest:
    """A clip to cut and the names its two files shall bear."""

    annotation: Annotation
    clip_path: Path
    audio_path: Path


@dataclass(frozen=True, slots=True)
class TrimResult:
    """A clip that was cut: both files exist, whole, under their names."""

    clip_path: Path
    """H.264 512x512, 25 frames a second, and AAC."""
    audio_path: Path
    """16 kHz mono 16-bit PCM, exactly 640 samples to a frame."""
    crop: CropBox
    """Pixels of the source frame, as a viewer sees it."""
    source_scale: float
    """512 / crop side; above 1 the picture was enlarged."""
    frame_count: int
    duration_sec: float
    clip_sha256: str


def trim_clips(
    source: Path, video: SourceVideo, requests: Sequence[TrimRequest], settings: TrimSettings
) -> list[TrimResult | ClipError]:
    """Cut clips out of one source video.

    Several clips are cut by one process. When that fails, each is cut alone, so that a bad one
    takes no other with it. An interval may end up to two frames after the video: its last frame
    is repeated, and missing sound becomes silence. High dynamic range is tone mapped.

    Only one process at a time may cut a clip: its files are written beside their places under fixed
    temporary names.

    Parameters
    ----------
    source
        The video file.
    video
        What `multitalk.extract.probe.probe` tells of it.
    requests
        The clips; the folders of their files are made.

    Returns
    -------
    list of TrimResult or ClipError
        In the order of `requests`. Errors: ``no_audio``, ``fps_too_low``,
        ``interval_outside_video``, ``invalid_annotation`` (the box holds no pixel),
        ``corrupt_media``, ``too_large``, ``disk_full``, ``internal`` (time limit).

    Raises
    ------
    multitalk.extract.ffmpeg.FfmpegMissingError
        There is no ffmpeg program.
    """
    outcomes: dict[int, TrimResult | ClipError] = {}
    jobs: list[tuple[int, Cut]] = []
    for index, request in enumerate(requests):
        fault = _refusal(source, video, request.annotation, settings)
        if fault is not None:
            outcomes[index] = fault
        else:
            jobs.append((index, _cut(video, request)))
    for batch in _batches(jobs, settings.clips_per_process):
        done = _trim_batch(source, video, [cut for _, cut in batch], settings)
        outcomes |= {index: outcome for (index, _), outcome in zip(batch, done, strict=True)}
    return [outcomes[index] for index in range(len(requests))]


def _batches(jobs: Sequence[tuple[int, Cut]], largest: int) -> Iterator[list[tuple[int, Cut]]]:
    """Share out clips among processes: neighbours together, since they read the same part of the file.

    Clips of one interval, such as two faces at once, go to different processes: ffmpeg-python takes equal
    filters of an equal input for one and the same, and refuses to use its pictures twice.
    """
    rounds: list[list[tuple[int, Cut]]] = []
    met: Counter[tuple[int, int]] = Counter()
    for job in sorted(jobs, key=lambda job: job[1].start_frame):
        interval = job[1].start_frame, job[1].frame_count
        if met[interval] == len(rounds):
            rounds.append([])
        rounds[met[interval]].append(job)
        met[interval] += 1
    for different in rounds:
        for first in range(0, len(different), largest):
            yield different[first : first + largest]


def _refusal(
    source: Path, video: SourceVideo, annotation: Annotation, settings: TrimSettings
) -> ClipError | None:
    """Tell why a clip can not be cut from this video, judging by the video's properties alone."""
    end_frame = annotation.start_frame + annotation.frame_count
    crop = crop_box(annotation.bbox.as_dict(), video.width, video.height)
    name = f"{source.name}, clip {annotation.clip_id}"
    if not video.has_audio:
        return _error(ErrorCode.NO_AUDIO, f"{name}: the video has no audio stream")
    if video.fps < settings.min_fps - FPS_TOLERANCE:
        return _error(
            ErrorCode.FPS_TOO_LOW,
            f"{name}: the video has {video.fps:.2f} frames a second, fewer than {settings.min_fps:g}; "
            "lower min_fps to take it",
        )
    last_picture = video.video_end_sec * FPS
    if end_frame > last_picture + MISSING_FRAMES_FILLED or annotation.start_frame >= last_picture:
        return _error(
            ErrorCode.INTERVAL_OUTSIDE_VIDEO,
            f"{name}: the interval ends at {end_frame / FPS:.2f} s, the video at "
            f"{video.video_end_sec:.2f} s; the annotation was made for another version of it",
        )
    if crop.width < 2:
        return _error(
            ErrorCode.INVALID_ANNOTATION,
            f"{name}: the box is smaller than two pixels of the {video.width}x{video.height} frame",
        )
    return None


def _cut(video: SourceVideo, request: TrimRequest) -> Cut:
    annotation = request.annotation
    return Cut(
        start_frame=annotation.start_frame,
        frame_count=annotation.frame_count,
        crop=crop_box(annotation.bbox.as_dict(), video.width, video.height),
        clip_path=request.clip_path,
        audio_path=request.audio_path,
    )


def _trim_batch(
    source: Path, video: SourceVideo, cuts: Sequence[Cut], settings: TrimSettings
) -> list[TrimResult | ClipError]:
    try:
        _run(source, video, cuts, settings)
    except ClipError as error:
        if len(cuts) == 1 or error.code is ErrorCode.DISK_FULL:
            _discard(cuts)
            return [error for _ in cuts]
        return [outcome for cut in cuts for outcome in _trim_batch(source, video, [cut], settings)]
    except BaseException:  # Ctrl-C
        _discard(cuts)
        raise
    return [_commit_or_error(source, cut) for cut in cuts]


def _run(source: Path, video: SourceVideo, cuts: Sequence[Cut], settings: TrimSettings) -> None:
    seconds = sum(cut.frame_count for cut in cuts) / FPS
    with _disk_errors(source):
        for cut in cuts:
            cut.clip_path.parent.mkdir(parents=True, exist_ok=True)
            cut.audio_path.parent.mkdir(parents=True, exist_ok=True)
        # A run that was killed may have left an ffmpeg behind that still writes: not into our files.
        _discard(cuts)
    parts = [
        Cut(cut.start_frame, cut.frame_count, cut.crop, _part(cut.clip_path), _part(cut.audio_path))
        for cut in cuts
    ]
    command = trim_command(source, video, parts, VideoEncoding(settings.crf, settings.preset))
    try:
        timeout = settings.timeout_base_sec + settings.timeout_per_clip_second * seconds
        folders = {place.parent for part in parts for place in (part.clip_path, part.audio_path)}
        run_ffmpeg(command, timeout, decoding(settings.memory_gib, timeout, folders))
    except FfmpegError as error:
        raise _ffmpeg_failure(source, error) from error


def _ffmpeg_failure(source: Path, error: FfmpegError) -> ClipError:
    full = any(os.strerror(number) in error.stderr_tail for number in NO_SPACE)
    if full or error.signal is signal.SIGXFSZ:
        return _error(
            ErrorCode.DISK_FULL, f"{source.name}: no space left for the clip; free some and run again"
        )
    if error.timed_out:
        return _error(
            ErrorCode.INTERNAL, f"{source.name}: {error}. Run again; raise the trim timeouts if it stays"
        )
    if error.from_outside:
        return _error(ErrorCode.INTERNAL, f"{source.name}: {error}. Too little memory? Run again")
    if error.too_large:
        message = f"{source.name} takes more memory than trim.memory_gib, or its pictures grow on the way"
        return _error(ErrorCode.TOO_LARGE, f"{message}: {error}")
    return _error(ErrorCode.CORRUPT_MEDIA, f"{source.name} can not be decoded where the clip lies: {error}")


def _commit_or_error(source: Path, cut: Cut) -> TrimResult | ClipError:
    try:
        with _disk_errors(source):
            return _commit(source, cut)
    except ClipError as error:
        _discard([cut])
        return error


def _commit(source: Path, cut: Cut) -> TrimResult:
    """Check both files and give them their names."""
    clip, audio = _part(cut.clip_path), _part(cut.audio_path)
    _check_lengths(source, cut, clip, audio)
    with clip.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    for part, final in ((audio, cut.audio_path), (clip, cut.clip_path)):
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(final)
    return TrimResult(
        clip_path=cut.clip_path,
        audio_path=cut.audio_path,
        crop=cut.crop,
        source_scale=CLIP_SIDE / cut.crop.width,
        frame_count=cut.frame_count,
        duration_sec=cut.frame_count / FPS,
        clip_sha256=digest,
    )


def _check_lengths(source: Path, cut: Cut, clip: Path, audio: Path) -> None:
    import av

    with av.open(str(clip)) as container:
        pictures = container.streams.video
        frames = pictures[0].frames if pictures else 0
    if frames != cut.frame_count:
        raise _error(
            ErrorCode.CORRUPT_MEDIA,
            f"{source.name}: only {frames} of the {cut.frame_count} frames from "
            f"{cut.start_frame / FPS:.2f} s on can be decoded, though the file claims to be longer",
        )
    if wav_form(audio).samples != cut.frame_count * AUDIO_RATE // FPS:
        raise _error(
            ErrorCode.CORRUPT_MEDIA, f"{source.name}: its sound can not be decoded where the clip lies"
        )


@contextlib.contextmanager
def _disk_errors(source: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        code = ErrorCode.DISK_FULL if error.errno in NO_SPACE else ErrorCode.INTERNAL
        raise _error(code, f"{source.name}: a clip can not be written: {error}") from error


def _discard(cuts: Sequence[Cut]) -> None:
    for cut in cuts:
        _part(cut.clip_path).unlink(missing_ok=True)
        _part(cut.audio_path).unlink(missing_ok=True)


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _error(code: ErrorCode, message: str) -> ClipError:
    return ClipError(code, message, Stage.TRIM)

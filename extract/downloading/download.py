"""Fetch a source video with yt-dlp: resumed, verified, and under its name only when whole."""

from __future__ import annotations

import importlib.metadata
import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from multitalk.extract.annotations import is_safe_name
from multitalk.extract.downloading.errors import Failure, classify, explain, retry_after_seconds
from multitalk.extract.downloading.fork_server import ForkServer
from multitalk.extract.downloading.pace import Pace
from multitalk.extract.downloading.process import Limits, run_yt_dlp
from multitalk.extract.downloading.sections import Interval, wanted_parts
from multitalk.extract.downloading.settings import DownloadSettings, yt_dlp_options
from multitalk.extract.errors import NO_SPACE, ClipError, ErrorCode, Stage
from multitalk.extract.probe import MediaLimits, SourceVideo, probe_stranger
from multitalk.extract.trim_command import MISSING_FRAMES_FILLED
from multitalk.ground.units import FPS

__all__ = ["YOUTUBE", "DownloadSettings", "DownloadedVideo", "Pace", "download", "source_url"]

YOUTUBE = "https://www.youtube.com/watch?v={video_id}"
"""Where MultiTalk's videos are."""

# Tried again at once. A bot check is not: each further try would make it worse.
_RETRIED = frozenset({ErrorCode.NETWORK, ErrorCode.RATE_LIMITED, ErrorCode.DOWNLOAD_FAILED})


@dataclass(frozen=True, slots=True)
class DownloadedVideo:
    """A source video that was fetched: verified, whole, and under its name."""

    path: Path
    source_url: str
    video: SourceVideo
    format_id: str | None
    audio_language: str | None
    """Language of the sound as the source names it (dubbed tracks exist), else as the file does."""
    tool_version: str
    """yt-dlp's."""
    attempts: int


class _TryError(Exception):
    """One try failed."""

    def __init__(self, code: ErrorCode, message: str, retry_after_sec: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_sec = retry_after_sec


def source_url(template: str, video_id: str) -> str:
    """Put a video's id into an address.

    Raises
    ------
    ValueError
        The template has no ``{video_id}`` or is no web or file address; the id is not safe.
    """
    if "{video_id}" not in template or urlsplit(template).scheme not in ("http", "https", "file"):
        raise ValueError(
            f"'{template}' is no source address: expected http(s):// or file:// with {{video_id}} in it"
        )
    if not is_safe_name(video_id):
        raise ValueError(f"{video_id!r} is no video id: expected 1 to 128 letters, digits, '_' or '-'")
    return template.replace("{video_id}", video_id)


def download(
    url: str,
    destination: Path,
    settings: DownloadSettings,
    pace: Pace | None = None,
    sleep: Callable[[float], None] = time.sleep,
    *,
    clips: Sequence[Interval] = (),
    process: ForkServer | None = None,
) -> DownloadedVideo:
    """Fetch one video.

    Partial files lie in a folder beside the destination and are continued by the next try or the
    next run. What came is probed before it gets its name. What is transient is tried again after
    growing, jittered pauses, or the pause that the server asks for. One process at a time may
    fetch to a destination.

    Parameters
    ----------
    url
        Any address that yt-dlp takes, ``file:`` too.
    destination
        The file to make; an existing one is replaced.
    pace
        The pause that this run's downloads share: kept before each try, and begun by a bot check
        or a rate limit.
    clips
        Beginnings and ends, in seconds, of the clips that the video is wanted for. A video that is announced
        to hold them but came without the last one counts as broken off; with `DownloadSettings.sections`
        only they are fetched.
    process
        From `yt_dlp_process`, for who fetches many videos; None loads yt-dlp anew for each try.

    Raises
    ------
    ClipError
        With stage ``download``: any of that stage's codes, ``corrupt_media`` or ``disk_full``.
    multitalk.extract.ffmpeg.FfmpegMissingError
        There is no ffmpeg program.
    """
    scratch = scratch_folder(destination)
    attempt = 1
    while True:
        if pace is not None:
            pace.wait(sleep)
        try:
            return _try(url, destination, scratch, settings, clips, attempt, process)
        except _TryError as error:
            pause = _pause(error, settings, attempt, pace)
            if pause is None:
                if not error.code.transient or error.code is ErrorCode.DISK_FULL:
                    shutil.rmtree(scratch, ignore_errors=True)
                raise ClipError(error.code, f"{url}: {error}", Stage.SOURCE, attempt) from error
        sleep(pause)
        attempt += 1


def scratch_folder(destination: Path) -> Path:
    """Return the folder in which a download's partial files lie."""
    return destination.with_name(f".{destination.name}.download")


def _pause(error: _TryError, settings: DownloadSettings, attempt: int, pace: Pace | None) -> float | None:
    """Return how long to wait before the next try; None when there should be none."""
    if error.code in (ErrorCode.BOT_CHECK, ErrorCode.RATE_LIMITED) and pace is not None:
        pace.slow_down(error.retry_after_sec)
    if error.code not in _RETRIED or attempt >= settings.attempts:
        return None
    backoff = min(settings.backoff_sec * 2.0 ** (attempt - 1), settings.max_backoff_sec)
    jittered = backoff * random.uniform(0.5, 1.5)  # noqa: S311 (no secret)
    if error.retry_after_sec is None:
        return jittered
    return None if error.retry_after_sec > settings.max_backoff_sec else error.retry_after_sec + jittered / 10


def _try(
    url: str,
    destination: Path,
    scratch: Path,
    settings: DownloadSettings,
    clips: Sequence[Interval],
    attempt: int,
    process: ForkServer | None,
) -> DownloadedVideo:
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        resumed = any(scratch.iterdir())
        answer = _fetch(url, scratch, settings, clips, process)
        video = _verify(answer, clips, scratch, settings.media_limits, resumed=resumed)
        Path(answer["path"]).replace(destination)
    except OSError as error:
        full = error.errno in NO_SPACE
        raise _TryError(
            ErrorCode.DISK_FULL if full else ErrorCode.INTERNAL, f"can not be written: {error}"
        ) from error
    shutil.rmtree(scratch, ignore_errors=True)
    return DownloadedVideo(
        path=destination,
        source_url=url,
        video=video,
        format_id=answer["format_id"],
        audio_language=answer["language"] or video.audio_language,
        tool_version=f"yt-dlp {importlib.metadata.version('yt-dlp')}",
        attempts=attempt,
    )


def _fetch(
    url: str,
    scratch: Path,
    settings: DownloadSettings,
    clips: Sequence[Interval],
    process: ForkServer | None,
) -> dict[str, Any]:
    options = yt_dlp_options(settings, scratch, local_files=url.startswith("file:"))
    limits = Limits(
        timeout_sec=settings.timeout_sec,
        stall_timeout_sec=settings.stall_timeout_sec,
        min_bytes_per_sec=settings.min_bytes_per_sec,
        pause_sec=max(settings.sleep_sec, settings.max_sleep_sec),
        max_bytes=_largest(settings, clips),
    )
    parts = wanted_parts(clips) if settings.sections and clips else ()
    answer = run_yt_dlp(url, options, scratch, limits, parts=parts, process=process)
    if isinstance(answer, Failure):
        code = classify(answer)
        if code is ErrorCode.CORRUPT_MEDIA and _disk_is_full(scratch):
            # ffmpeg, merging pictures and sound, does not always say why it failed
            code = ErrorCode.DISK_FULL
        raise _TryError(code, explain(answer, code), retry_after_seconds(answer))
    return answer


def _largest(settings: DownloadSettings, clips: Sequence[Interval]) -> int:
    """Return the largest size of a source video in bytes."""
    if settings.max_gib is not None:
        return int(settings.max_gib * 2**30)
    seconds = max(2 * 3600.0, 2 * max((end for _, end in clips), default=0.0))
    return int(seconds * 16e6 / 8)


def _disk_is_full(scratch: Path) -> bool:
    """Whether what was fetched does not fit a second time, as merging needs it to."""
    fetched = sum(path.stat().st_size for path in scratch.iterdir())
    return shutil.disk_usage(scratch).free < fetched


def _verify(
    answer: dict[str, Any],
    clips: Sequence[Interval],
    scratch: Path,
    limits: MediaLimits,
    *,
    resumed: bool,
) -> SourceVideo:
    """Probe what came. A file that is no video, or too short a part of one, is removed."""
    path = Path(answer["path"])
    try:
        video = probe_stranger(path, limits)
    except ClipError as error:
        shutil.rmtree(scratch)
        # After a resumed transfer it may be two halves of different files: a fresh start tells.
        broken = error.code is ErrorCode.CORRUPT_MEDIA
        code = ErrorCode.NETWORK if resumed and broken else error.code
        raise _TryError(code, error.message.removeprefix(f"{path.name}: ")) from error
    except Exception:  # no fault that we know of: the next run must not find the same file again
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    announced_sec = answer["duration"] or 0.0
    needed_sec = max((end for _, end in clips if end <= announced_sec), default=0.0)
    whole_sec = 0.0 if answer["fps"] else 0.98 * announced_sec - 2
    if video.video_end_sec < max(needed_sec - MISSING_FRAMES_FILLED / FPS, whole_sec):
        shutil.rmtree(scratch)
        raise _TryError(
            ErrorCode.NETWORK, f"only {video.video_end_sec:.1f} s of the announced {announced_sec:.1f} s came"
        )
    return replace(video, fps=answer["fps"]) if answer["fps"] else video  # gaps make the file's own one wrong

"""What was found in a raw video, as a small file: written in one step, read by the runs that follow."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from multitalk.extract.errors import ClipError, ErrorCode
from multitalk.flows.discovering.settings import DiscoverSettings
from multitalk.ground.files import atomic


@dataclass(frozen=True, slots=True)
class RawVideo:
    """A video to look for clips in."""

    video_id: str
    address: str
    """A URL, or the absolute path of a file."""
    local: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """A candidate that is no good clip."""

    start_sec: float
    end_sec: float
    reasons: tuple[str, ...]
    """Names of the rules that it breaks, or the code of the error that it failed with."""


@dataclass(frozen=True, slots=True)
class VideoResult:
    """What one raw video gave."""

    video_id: str
    address: str
    fingerprint: str
    clips: dict[str, dict[str, Any]]
    """Annotations in MultiTalk's format by clip id."""
    refused: tuple[Refused, ...] = ()
    error_code: ErrorCode | None = None
    error_message: str | None = None


def failed_result(video: RawVideo, error: ClipError, fingerprint: str) -> VideoResult:
    """Return the result of a video that can not be looked at."""
    return VideoResult(video.video_id, video.address, fingerprint, {}, (), error.code, error.message)


def video_fingerprint(video: RawVideo, settings: DiscoverSettings) -> str:
    """Hash of the settings and of which video it is; a file that changed is another one."""
    identity: list[Any] = [settings.fingerprint, video.address]
    if video.local and Path(video.address).exists():
        state = Path(video.address).stat()
        identity += [state.st_size, state.st_mtime_ns]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def result_path(video: RawVideo, settings: DiscoverSettings) -> Path:
    """Return the place of a video's result."""
    return settings.folder / "found" / f"{video.video_id}.json"


def write_result(video: RawVideo, result: VideoResult, settings: DiscoverSettings) -> None:
    """Commit a video's result: it is done from here on."""
    with atomic(result_path(video, settings)) as place:
        place.write_bytes(TypeAdapter(VideoResult).dump_json(result, indent=1))


def read_result(video: RawVideo, settings: DiscoverSettings) -> VideoResult | None:
    """Return a video's result if there is one of the same video with the same settings."""
    try:
        content = result_path(video, settings).read_bytes()
        result = TypeAdapter(VideoResult).validate_json(content)
    except (FileNotFoundError, ValidationError):
        return None
    return result if result.fingerprint == video_fingerprint(video, settings) else None


def is_done(video: RawVideo, settings: DiscoverSettings) -> bool:
    """Whether a video needs no (further) look: transient failures of an earlier run do."""
    result = read_result(video, settings)
    return result is not None and (result.error_code is None or not result.error_code.transient)

"""Runs worker processes over raw videos, and goes on after one died under a video, or hung on it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extract.errors import ClipError, ErrorCode, Stage
from flows.discover_config import DiscoverSettings
from flows.discover_results import (
    RawVideo,
    failed_result,
    is_done,
    read_result,
    result_path,
    video_fingerprint,
    write_result,
)
from flows.discover_worker import DiscoverJob
from flows.worker_process import read_signs, run_worker

_SIGNS = ".signs.jsonl"


@dataclass(frozen=True, slots=True)
class Looked:
    """How far a run has come."""

    done: float = 0.0
    """Videos, with shares of those that are being looked at."""
    videos: int = 0
    """Videos that were looked at to their end."""
    clips: int = 0


def count_signs(run_folder: Path) -> Looked:
    """Add up the last sign of each video over the batches of a run."""
    last: dict[str, dict[str, Any]] = {}
    for path in run_folder.glob(f"*{_SIGNS}"):
        last |= {sign["video"]: sign for sign in read_signs(path)}
    ended = [sign for sign in last.values() if sign["share"] == 1]
    done = sum(sign["share"] for sign in last.values())
    return Looked(done, len(ended), sum(sign["clips"] for sign in ended))


def discover_batch(videos: Sequence[RawVideo], settings: DiscoverSettings, stem: Path) -> None:
    """Look for clips in `videos`; returns when each has a result, or the run was told to stop.

    A video under which the worker died is tried `build.crash_retries` times more in a new process and then
    recorded as failed. `stem` names the job file and the log; a file named ``stop`` beside them ends it early.
    """
    before = {video.video_id: _age(video, settings) for video in videos}
    crashes: Counter[str] = Counter()
    while remaining := [v for v in videos if _age(v, settings) == before[v.video_id]]:
        ending = _run_process(remaining, settings, stem)
        if ending is None:
            return
        # A worker takes videos in order: the first one without a result is the one it died under.
        left = [video for video in remaining if _age(video, settings) == before[video.video_id]]
        if not left:
            return
        suspect = left[0]
        crashes[suspect.video_id] += 1
        if crashes[suspect.video_id] > settings.build.crash_retries:
            message = f"the worker process {ending} while it looked at {suspect.address}; run again to retry"
            error = ClipError(ErrorCode.INTERNAL, message, Stage.WORKER)
            write_result(
                suspect, failed_result(suspect, error, video_fingerprint(suspect, settings)), settings
            )


def _age(video: RawVideo, settings: DiscoverSettings) -> int:
    """When a video's result was written; 0 without a usable one."""
    if not is_done(video, settings) and read_result(video, settings) is None:
        return 0
    return result_path(video, settings).stat().st_mtime_ns


def _run_process(videos: Sequence[RawVideo], settings: DiscoverSettings, stem: Path) -> str | None:
    """Run a worker to its end."""
    signs = stem.with_name(stem.name + _SIGNS)
    return run_worker(
        "flows.discover_worker",
        DiscoverJob(settings, tuple(videos), signs),
        stem,
        workers=settings.workers,
        timeout_sec=settings.build.video_timeout_sec,
        signs=signs,
    )

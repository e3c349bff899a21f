"""Runs worker processes over raw videos, and goes on after one died under a video, or hung on it."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

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
from flows.discover_worker import DiscoverJob, write_job
from flows.supervise import STOP_FILE, end_group, worker_environment

_POLL_SEC = 0.25


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
    """Run a worker to its end. Returns None if the run was told to stop, else how the process ended."""
    job_file = stem.with_name(stem.name + ".job.json")
    write_job(DiscoverJob(settings, tuple(videos)), job_file)
    with stem.with_name(stem.name + ".log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.discover_worker", str(job_file)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=worker_environment(settings.workers),
            start_new_session=True,
        )
        try:
            return _watch(process, videos, settings, stem.parent / STOP_FILE)
        finally:
            end_group(process)
            job_file.unlink(missing_ok=True)


def _watch(
    process: subprocess.Popen[bytes], videos: Sequence[RawVideo], settings: DiscoverSettings, stop: Path
) -> str | None:
    timeout = settings.build.video_timeout_sec
    finished, last_change = -1, time.monotonic()
    while process.poll() is None:
        if stop.exists():
            return None
        now_finished = sum(result_path(video, settings).exists() for video in videos)
        if now_finished != finished:
            finished, last_change = now_finished, time.monotonic()
        if time.monotonic() - last_change > timeout:
            return f"finished no video for {timeout:.0f} s and was ended"
        time.sleep(_POLL_SEC)
    return f"ended with status {process.returncode}"

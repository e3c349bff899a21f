"""The `discover-clips` flow: from raw videos to an annotation file in MultiTalk's format."""

import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from extract.annotations import is_safe_name
from extract.errors import ClipError, ErrorCode, Stage
from extract.playlist import list_videos
from filters.language_codes import whisper_code
from filters.policy import load_policy
from flows.config import ConfigError
from flows.discover_config import DiscoverSettings
from flows.discover_results import RawVideo, VideoResult, is_done, read_result
from flows.discover_supervise import count_signs, discover_batch
from flows.running.progress import ShownProgress
from flows.stopping import stopping_in_order, turns
from manifests.files import atomic, sweep_temporary
from manifests.schema import MANIFEST

_BATCH = 32
_LONGEST_ID = 120  # leaves room for a clip's number


@dataclass(frozen=True, slots=True)
class FailedVideo:
    """An address or a video that gave nothing, and why."""

    address: str
    error_code: str
    message: str


@dataclass(frozen=True, slots=True)
class DiscoverSummary:
    """What a discovery found."""

    out: str
    videos: int
    looked_at: int
    """Videos of this run; the others were done before."""
    clips: int
    minutes: float
    seconds: float
    failed: tuple[FailedVideo, ...]
    refused: dict[str, int]
    """Candidates by the rule that they break."""
    without_candidates: int
    """Videos that could be looked at and hold no interval to judge."""


@flow(name="discover-clips", validate_parameters=True)
def discover_clips(settings: DiscoverSettings) -> DiscoverSummary:
    """Look for talking-head clips in raw videos and write them as annotations.

    Run it again to continue: videos that were looked at with the same settings are not looked at again.
    """
    started = time.monotonic()
    load_policy(settings.policy, MANIFEST)
    if whisper_code(settings.language) is None:
        raise ConfigError(f"language: {settings.language!r} is not known to Whisper, which has to verify it")
    videos, failed = raw_videos(settings)
    settings.folder.mkdir(parents=True, exist_ok=True)
    sweep_temporary(settings.folder)
    pending = [video for video in videos if not is_done(video, settings)]
    if pending:
        _discover(pending, settings)
    results = [result for video in videos if (result := read_result(video, settings)) is not None]
    clips = {clip_id: clip for result in results for clip_id, clip in result.clips.items()}
    with atomic(settings.out.absolute()) as place:
        place.write_text(json.dumps(clips, ensure_ascii=False, indent=1), encoding="utf-8")
    return _summary(settings, results, failed, len(pending), time.monotonic() - started)


@task(cache_policy=NO_CACHE, persist_result=False)
def look_at_videos(videos: Sequence[RawVideo], settings: DiscoverSettings, stem: Path) -> None:
    """Look for clips in a batch of videos in a worker process."""
    discover_batch(videos, settings, stem)


@flow(name="look-at-batches")
def look_at_batches(
    batches: Sequence[Sequence[RawVideo]], settings: DiscoverSettings, run_folder: Path
) -> None:
    """Look at all batches, as many at a time as there are workers."""
    futures: list[PrefectFuture[None]] = []
    with stopping_in_order(run_folder, futures):
        for index, batch in enumerate(batches):
            named = look_at_videos.with_options(task_run_name=f"batch-{index}")
            futures.append(named.submit(batch, settings, run_folder / f"batch-{index}"))
        count = sum(len(batch) for batch in batches)
        with ShownProgress() as shown:
            for _ in turns(run_folder, futures):
                looked = count_signs(run_folder)
                text = f"{looked.videos}/{count} videos, {looked.clips} clips"
                shown.update("discover", looked.done, count, text)
    for future in futures:
        future.result()


def raw_videos(settings: DiscoverSettings) -> tuple[list[RawVideo], list[FailedVideo]]:
    """Turn files and addresses into videos, playlists expanded, each video once; and what can not be.

    Raises
    ------
    ConfigError
        If two different videos have the same id.
    """
    videos: dict[str, RawVideo] = {}
    failed: list[FailedVideo] = []
    for named in settings.videos:
        try:
            found = _behind(named, settings)
        except ClipError as error:
            failed.append(FailedVideo(named, str(error.code), error.message))
            continue
        for video in found:
            if not is_safe_name(video.video_id) or len(video.video_id) > _LONGEST_ID:
                message = (
                    f"{video.address}: its id {video.video_id!r} must be 1 to {_LONGEST_ID} letters, digits, "
                    "'_' or '-', since it names files"
                )
                failed.append(FailedVideo(video.address, str(ErrorCode.INVALID_ANNOTATION), message))
            elif videos.setdefault(video.video_id, video) != video:
                other = videos[video.video_id].address
                raise ConfigError(f"videos: {other} and {video.address} have the same id {video.video_id!r}")
    return list(videos.values()), failed


def _behind(named: str, settings: DiscoverSettings) -> list[RawVideo]:
    try:
        scheme = urlsplit(named).scheme
    except ValueError as error:
        raise ClipError(ErrorCode.VIDEO_UNAVAILABLE, f"{named}: {error}", Stage.DOWNLOAD) from error
    if scheme in ("http", "https"):
        listed = list_videos(named, settings.build.download)
        return [RawVideo(video.video_id, video.url, local=False) for video in listed]
    path = Path(named)
    if not path.is_file():
        message = f"{named}: no such file, and no http(s) address"
        raise ClipError(ErrorCode.VIDEO_UNAVAILABLE, message, Stage.DOWNLOAD)
    return [RawVideo(path.stem, str(path.absolute()), local=True)]


def _discover(videos: Sequence[RawVideo], settings: DiscoverSettings) -> None:
    size = max(1, min(_BATCH, math.ceil(len(videos) / (2 * settings.workers))))
    batches = [videos[first : first + size] for first in range(0, len(videos), size)]
    run_folder = settings.folder / ".runs" / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:6]}"
    run_folder.mkdir(parents=True)
    runner: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=settings.workers)
    look_at_batches.with_options(task_runner=runner)(batches, settings, run_folder)


def _summary(
    settings: DiscoverSettings,
    results: Sequence[VideoResult],
    failed: Sequence[FailedVideo],
    looked_at: int,
    seconds: float,
) -> DiscoverSummary:
    durations = [clip["duration"] for result in results for clip in result.clips.values()]
    broken = [
        FailedVideo(result.address, str(result.error_code), result.error_message or "")
        for result in results
        if result.error_code is not None
    ]
    refused = Counter(reason for result in results for one in result.refused for reason in one.reasons)
    return DiscoverSummary(
        out=str(settings.out),
        videos=len(results),
        looked_at=looked_at,
        clips=len(durations),
        minutes=sum(duration["end_sec"] - duration["start_sec"] for duration in durations) / 60,
        seconds=seconds,
        failed=(*failed, *broken),
        refused=dict(refused.most_common()),
        without_candidates=sum(not (r.clips or r.refused or r.error_code) for r in results),
    )

"""A batch of a discovery: raw videos, run by worker processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter

from multitalk.extract.errors import ClipError, ErrorCode, Stage
from multitalk.flows.discovering.results import RawVideo, failed_result, video_fingerprint, write_result
from multitalk.flows.discovering.settings import DiscoverSettings
from multitalk.flows.running.supervise import Supervision
from multitalk.flows.running.worker_process import run_worker
from multitalk.ground.files import atomic


@dataclass(frozen=True, slots=True)
class DiscoverJob:
    """What a worker process is started with."""

    settings: DiscoverSettings
    videos: tuple[RawVideo, ...]
    events: Path


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Raw videos that one worker process takes."""

    name: str
    videos: tuple[RawVideo, ...]


_INDEX_FILE = TypeAdapter(tuple[RawBatch, ...])


def write_batches(batches: Sequence[RawBatch], run_folder: Path) -> None:
    """Write what the batches of a run are into its folder."""
    with atomic(run_folder / "batches.json") as place:
        place.write_bytes(_INDEX_FILE.dump_json(tuple(batches)))


def read_batches(run_folder: Path) -> tuple[RawBatch, ...]:
    """Read what the batches of a run are."""
    return _INDEX_FILE.validate_json((run_folder / "batches.json").read_bytes())


def discover_batch(batch: RawBatch, settings: DiscoverSettings, run_folder: Path) -> None:
    """Look for clips in the videos of a batch; returns when each has a result, or the run was told to stop.

    A video under which the worker died is tried `build.crash_retries` times more in a new process and then
    recorded as failed. A file named ``stop`` in the run's folder ends it early.
    """
    Supervision(
        items={video.video_id: video for video in batch.videos},
        events=events_path(run_folder, batch.name),
        run_worker=partial(_run_worker, batch.name, settings, run_folder),
        give_up=partial(_give_up, settings),
        retries=settings.build.crash_retries,
    ).run()


def events_path(run_folder: Path, batch: str) -> Path:
    """Return the file that a batch's workers append their events to."""
    return run_folder / f"{batch}.events.jsonl"


def _run_worker(
    name: str, settings: DiscoverSettings, run_folder: Path, videos: Sequence[RawVideo]
) -> str | None:
    events = events_path(run_folder, name)
    return run_worker(
        "multitalk.flows.discovering.worker",
        DiscoverJob(settings, tuple(videos), events),
        run_folder / name,
        threads=settings.build.threads,
        timeout_sec=settings.build.video_timeout_sec,
        events=events,
    )


def _give_up(settings: DiscoverSettings, video: RawVideo, ending: str) -> dict[str, int]:
    message = f"the worker process {ending} while it looked at {video.address}; run again to retry"
    error = ClipError(ErrorCode.INTERNAL, message, Stage.WORKER)
    write_result(video, failed_result(video, error, video_fingerprint(video, settings)), settings)
    return {"clips": 0}

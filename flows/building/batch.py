"""One batch of a build, by name: run by worker processes, compacted when it is done."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from multitalk.extract.errors import ClipError, ErrorCode, Stage
from multitalk.flows.building.plan import AnnotatedVideo, BatchContent, BatchName, read_batch
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.running.supervise import Supervision, finished_counts
from multitalk.flows.running.worker_process import run_worker
from multitalk.manifests.store import compact_videos

WORKER = "multitalk.flows.building.worker"
"""The module that worker processes run."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker process is started with."""

    settings: BuildSettings
    run_folder: Path
    batch: str
    language: str
    videos: tuple[str, ...]
    """File ids of the batch's videos that are still to be built."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """Counts of one batch."""

    name: str
    videos: int
    ok: int
    failed: int
    kept: int
    """Clips that keep an earlier outcome."""


def run_batch(
    batch: BatchName, settings: BuildSettings, run_folder: Path, worker: str = WORKER
) -> BatchResult:
    """Build a batch; returns when each of its videos is committed, or the run was told to stop.

    A video under which the worker process died is tried `crash_retries` times more in a new process and then
    recorded as failed, so that one video can not stop a run. The run's folder holds what the batch is
    (`multitalk.flows.building.plan.write_batches`) and takes the job, the events and the log; a file named ``stop``
    in it ends the batch early.
    """
    content = read_batch(batch.name, run_folder)
    finished = Supervision(
        items={video.file_id: video for video in content.videos},
        events=events_path(run_folder, batch.name),
        run_worker=partial(_run_worker, batch, settings, run_folder, worker),
        give_up=partial(_give_up, content, settings),
        retries=settings.crash_retries,
    ).run()
    if finished:
        # Not all fragments are left to the end of the run: a query over thousands of them takes seconds.
        compact_videos(settings.root, batch.language, finished)
    counts = finished_counts(events_path(run_folder, batch.name))
    return BatchResult(batch.name, len(finished), counts["ok"], counts["failed"], counts["kept"])


def events_path(run_folder: Path, batch: str) -> Path:
    """Return the file that a batch's workers append their events to."""
    return run_folder / f"{batch}.events.jsonl"


def _run_worker(
    batch: BatchName,
    settings: BuildSettings,
    run_folder: Path,
    worker: str,
    videos: Sequence[AnnotatedVideo],
) -> str | None:
    job = Job(settings, run_folder, batch.name, batch.language, tuple(video.file_id for video in videos))
    return run_worker(
        worker,
        job,
        run_folder / batch.name,
        threads=settings.threads,
        timeout_sec=settings.video_timeout_sec,
        events=events_path(run_folder, batch.name),
    )


def _give_up(
    content: BatchContent, settings: BuildSettings, video: AnnotatedVideo, ending: str
) -> dict[str, int]:
    from multitalk.flows.building.stored_clips import StoredClips
    from multitalk.flows.building.video import VideoBuilder  # heavy, and seldom needed by whoever supervises

    message = (
        f"the worker process {ending} while it built {video.file_id}, {settings.crash_retries + 1} times; "
        "run again to try once more"
    )
    stored = StoredClips(settings.root, video.language, [video.file_id])
    builder = VideoBuilder(settings, content.wanted, stored)
    outcome = builder.give_up(video, ClipError(ErrorCode.INTERNAL, message, stage=Stage.WORKER))
    return asdict(outcome)

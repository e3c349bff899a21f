"""Runs one batch in a worker process, and goes on after the process died under a source video."""

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from extract.errors import ClipError, ErrorCode, Stage
from flows.config import BuildSettings
from flows.plan import AnnotatedVideo, Batch
from flows.video import commit_failure
from flows.worker import Job
from flows.worker_process import STOP_FILE, read_signs, run_worker
from manifests.store import compact


@dataclass(frozen=True, slots=True)
class BatchResult:
    """Counts of one batch."""

    name: str
    videos: int
    ok: int
    failed: int
    crashes: int


def run_batch(batch: Batch, settings: BuildSettings, run_folder: Path) -> BatchResult:
    """Build `batch`; returns when each of its videos is committed, or the run was told to stop.

    A video under which the worker process died is tried `crash_retries` times more in a new process and then
    recorded as failed, so that one video can not stop a run. `run_folder` takes the job, the events and
    the worker's log; a file named ``stop`` in it ends the batch early.
    """
    events = run_folder / f"{batch.name}.events.jsonl"
    remaining = {video.file_id: video for video in batch.videos}
    crashes: Counter[str] = Counter()
    _drop_finished(remaining, events)  # Prefect runs a task again that failed after its worker's work
    while remaining and not (run_folder / STOP_FILE).exists():
        left = replace(batch, videos=tuple(remaining.values()))
        ending = _run_process(Job(settings, left, events), run_folder / batch.name)
        at_work = _drop_finished(remaining, events)
        if ending is None or not remaining:
            break
        suspect = at_work or next(iter(remaining.values()))
        crashes[suspect.file_id] += 1
        if crashes[suspect.file_id] > settings.crash_retries:
            _give_up(remaining.pop(suspect.file_id), ending, settings, events)
    finished = [event for event in read_signs(events) if event["event"] == "finished"]
    if finished:
        # Not all fragments are left to the end of the run: a query over thousands of them takes seconds.
        compact(settings.root, languages=[batch.language])
    ok, failed = (sum(event.get(name, 0) for event in finished) for name in ("ok", "failed"))
    return BatchResult(batch.name, len(batch.videos) - len(remaining), ok, failed, crashes.total())


def _run_process(job: Job, stem: Path) -> str | None:
    """Run a worker to its end; its events are its signs of life."""
    return run_worker(
        "flows.worker",
        job,
        stem,
        workers=job.settings.workers,
        timeout_sec=job.settings.video_timeout_sec,
        signs=job.events,
    )


def _drop_finished(remaining: dict[str, AnnotatedVideo], events: Path) -> AnnotatedVideo | None:
    """Remove what is finished from `remaining`; returns the video that was at work, if any."""
    at_work: AnnotatedVideo | None = None
    for event in read_signs(events):
        video = str(event.get("video"))
        if event.get("event") == "finished":
            remaining.pop(video, None)
            at_work = None
        else:
            at_work = remaining.get(video)
    return at_work


def _give_up(video: AnnotatedVideo, ending: str, settings: BuildSettings, events: Path) -> None:
    message = (
        f"the worker process {ending} while it built {video.file_id}, {settings.crash_retries + 1} times; "
        "run again with --retry internal to try once more"
    )
    rows = commit_failure(video, ClipError(ErrorCode.INTERNAL, message, stage=Stage.WORKER), settings)
    with events.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"event": "finished", "video": video.file_id, "failed": len(rows)}) + "\n")

"""The worker process of one batch: takes its source videos through all stages, one after the other.

Started by :mod:`flows.supervise` as ``python -m flows.worker JOB``.
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flows.config import BuildSettings
from flows.plan import AnnotatedVideo, Batch
from flows.video import VideoBuilder, download_video
from flows.worker_process import await_download, downloads, work


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker process is started with."""

    settings: BuildSettings
    batch: Batch
    events: Path
    """Text file to which one JSON line is appended for every video started and finished."""


def run(job: Job) -> None:
    """Build every source video of the job's batch; each is committed as soon as it is finished."""
    builder = VideoBuilder(job.settings)
    with job.events.open("a", encoding="utf-8") as events:

        def emit(event: str, video: AnnotatedVideo, **details: object) -> None:
            events.write(json.dumps({"event": event, "video": video.file_id, **details}) + "\n")
            events.flush()

        fetch = partial(download_video, settings=job.settings)
        for video, download in downloads(job.batch.videos, fetch, job.settings.prefetch):
            emit("started", video)
            progress = partial(emit, "progress", video)
            rows = builder.build(video, await_download(download, progress), progress)
            failed = sum(row["status"] == "failed" for row in rows)
            emit("finished", video, ok=len(rows) - failed, failed=failed)


def main() -> None:
    """Entry point of ``python -m flows.worker JOB``."""
    work(Job, run)


if __name__ == "__main__":
    main()

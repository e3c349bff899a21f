"""The worker process of one batch: takes its source videos through all stages, one after the other.

A process of its own, without Prefect in it: native code that crashes on a stranger's file, or hangs, takes
down one source video instead of a run. Started by :mod:`flows.supervise` as ``python -m flows.worker JOB``.
It ends by itself when its parent is gone.
"""

import json
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from extract.download import DownloadedVideo
from extract.errors import ClipError
from flows.config import BuildSettings
from flows.plan import AnnotatedVideo, Batch
from flows.video import VideoBuilder, download_video

_SIGN_OF_LIFE_SEC = 10.0


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker process is started with."""

    settings: BuildSettings
    batch: Batch
    events: Path
    """Text file to which one JSON line is appended for every video started and finished."""


def write_job(job: Job, path: Path) -> None:
    """Write `job` for a worker process to read."""
    path.write_bytes(TypeAdapter(Job).dump_json(job))


def run(job: Job) -> None:
    """Build every source video of the job's batch; each is committed as soon as it is finished."""
    builder = VideoBuilder(job.settings)
    with job.events.open("a", encoding="utf-8") as events:

        def emit(event: str, video: AnnotatedVideo, **details: object) -> None:
            events.write(json.dumps({"event": event, "video": video.file_id, **details}) + "\n")
            events.flush()

        for video, download in _downloads(job.batch.videos, job.settings):
            emit("started", video)
            outcome = _await(download, progress=lambda v=video: emit("progress", v))  # type: ignore[misc]
            rows = builder.build(video, outcome, progress=lambda v=video: emit("progress", v))  # type: ignore[misc]
            failed = sum(row["status"] == "failed" for row in rows)
            emit("finished", video, ok=len(rows) - failed, failed=failed)


def _await(
    download: Future[DownloadedVideo | ClipError], progress: Callable[[], None]
) -> DownloadedVideo | ClipError:
    """Wait for a download. It has limits of its own, and rightly takes hours in a pause: it never counts as hung."""
    while not wait([download], _SIGN_OF_LIFE_SEC).done:
        progress()
    return download.result()


def _downloads(
    videos: Sequence[AnnotatedVideo], settings: BuildSettings
) -> Iterator[tuple[AnnotatedVideo, Future[DownloadedVideo | ClipError]]]:
    """Yield each video with its download, `prefetch` of which are under way ahead of the video at work."""
    waiting = deque(videos)
    under_way: deque[tuple[AnnotatedVideo, Future[DownloadedVideo | ClipError]]] = deque()
    with ThreadPoolExecutor(settings.prefetch, thread_name_prefix="download") as pool:
        while waiting or under_way:
            while waiting and len(under_way) < settings.prefetch:
                video = waiting.popleft()
                under_way.append((video, pool.submit(download_video, video, settings)))
            yield under_way.popleft()


def end_with_parent() -> None:
    """Leave at once when the parent's end of standard input closes, however the parent ended."""

    def watch() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def main() -> None:
    """Entry point of ``python -m flows.worker JOB``."""
    end_with_parent()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    import cv2

    cv2.setNumThreads(1)  # several workers share the cores, and OpenCV does not heed OMP_NUM_THREADS
    run(TypeAdapter(Job).validate_json(Path(sys.argv[1]).read_bytes()))
    sys.stdout.flush()
    sys.stderr.flush()
    # MediaPipe and torch leave threads behind that can hang the interpreter's exit; all is committed by now.
    os._exit(0)


if __name__ == "__main__":
    main()

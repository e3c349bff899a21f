"""The worker process of a discovery: takes raw videos one after the other, commits what each gives.

Started by :mod:`flows.discover` as ``python -m flows.discover_worker JOB``. It ends by itself when its parent is
gone.
"""

import logging
import os
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from extract.errors import ClipError
from flows.discover_config import DiscoverSettings
from flows.discover_results import RawVideo, write_result
from flows.discover_video import VideoDiscoverer, fetch, raw_path
from flows.worker import end_with_parent

_AHEAD = 2  # videos being fetched while one is looked at


@dataclass(frozen=True, slots=True)
class DiscoverJob:
    """What a worker process is started with."""

    settings: DiscoverSettings
    videos: tuple[RawVideo, ...]


def write_job(job: DiscoverJob, path: Path) -> None:
    """Write `job` for a worker process to read."""
    path.write_bytes(TypeAdapter(DiscoverJob).dump_json(job))


def run(job: DiscoverJob) -> None:
    """Look for clips in every video of the job, in its order."""
    discoverer = VideoDiscoverer(job.settings)
    for video, fetched in _fetched(job):
        write_result(video, discoverer.discover(video, fetched.result()), job.settings)
        if not video.local and not job.settings.keep_raw:
            raw_path(video, job.settings).unlink(missing_ok=True)


def _fetched(job: DiscoverJob) -> Iterator[tuple[RawVideo, Future[Path | ClipError]]]:
    waiting = deque(job.videos)
    under_way: deque[tuple[RawVideo, Future[Path | ClipError]]] = deque()
    with ThreadPoolExecutor(_AHEAD, thread_name_prefix="download") as pool:
        while waiting or under_way:
            while waiting and len(under_way) < _AHEAD:
                video = waiting.popleft()
                under_way.append((video, pool.submit(fetch, video, job.settings)))
            yield under_way.popleft()


def main() -> None:
    """Entry point of ``python -m flows.discover_worker JOB``."""
    end_with_parent()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    import cv2

    cv2.setNumThreads(1)  # several workers share the cores
    run(TypeAdapter(DiscoverJob).validate_json(Path(sys.argv[1]).read_bytes()))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # MediaPipe and torch leave threads behind that can hang the interpreter's exit


if __name__ == "__main__":
    main()

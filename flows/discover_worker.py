"""The worker process of a discovery: takes raw videos one after the other, commits what each gives.

Started by :mod:`flows.discover_supervise` as ``python -m flows.discover_worker JOB``.
"""

from dataclasses import dataclass
from functools import partial

from flows.discover_config import DiscoverSettings
from flows.discover_results import RawVideo, write_result
from flows.discover_video import VideoDiscoverer, fetch, raw_path
from flows.worker_process import downloads, work

_AHEAD = 2  # videos being fetched, the next one to be looked at among them


@dataclass(frozen=True, slots=True)
class DiscoverJob:
    """What a worker process is started with."""

    settings: DiscoverSettings
    videos: tuple[RawVideo, ...]


def run(job: DiscoverJob) -> None:
    """Look for clips in every video of the job, in its order."""
    discoverer = VideoDiscoverer(job.settings)
    for video, fetched in downloads(job.videos, partial(fetch, settings=job.settings), _AHEAD):
        write_result(video, discoverer.discover(video, fetched.result()), job.settings)
        if not video.local and not job.settings.keep_raw:
            raw_path(video, job.settings).unlink(missing_ok=True)


def main() -> None:
    """Entry point of ``python -m flows.discover_worker JOB``."""
    work(DiscoverJob, run)


if __name__ == "__main__":
    main()

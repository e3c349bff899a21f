"""The worker process of a discovery: takes raw videos one after the other, commits what each gives.

Started by :mod:`flows.discover_supervise` as ``python -m flows.discover_worker JOB``.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flows.discover_config import DiscoverSettings
from flows.discover_results import RawVideo, write_result
from flows.discover_video import VideoDiscoverer, fetch, raw_path
from flows.worker_process import await_download, downloads, work

_AHEAD = 2  # videos being fetched, the next one to be looked at among them


@dataclass(frozen=True, slots=True)
class DiscoverJob:
    """What a worker process is started with."""

    settings: DiscoverSettings
    videos: tuple[RawVideo, ...]
    signs: Path
    """File to which a byte is appended whenever the worker gets on: an hour of video takes long, and is not hung."""


def run(job: DiscoverJob) -> None:
    """Look for clips in every video of the job, in its order."""
    with job.signs.open("ab", buffering=0) as signs:

        def progress() -> None:
            signs.write(b".")

        discoverer = VideoDiscoverer(job.settings, progress)
        for video, download in downloads(job.videos, partial(fetch, settings=job.settings), _AHEAD):
            fetched = await_download(download, progress)
            write_result(video, discoverer.discover(video, fetched), job.settings)
            if not video.local and not job.settings.keep_raw:
                raw_path(video, job.settings).unlink(missing_ok=True)


def main() -> None:
    """Entry point of ``python -m flows.discover_worker JOB``."""
    work(DiscoverJob, run)


if __name__ == "__main__":
    main()

"""The worker process of a discovery: takes raw videos one after the other, commits what each gives.

Started by :mod:`flows.discover_supervise` as ``python -m flows.discover_worker JOB``.
"""

import json
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
    """File to which a line is appended whenever the worker gets on: an hour of video takes long, and is not hung."""


def run(job: DiscoverJob) -> None:
    """Look for clips in every video of the job, in its order."""
    with job.signs.open("a", encoding="utf-8") as signs:

        def tell(video: RawVideo, share: float, clips: int = 0) -> None:
            line = {"video": video.video_id, "share": round(share, 4), "clips": clips}
            signs.write(json.dumps(line) + "\n")
            signs.flush()

        discoverer = VideoDiscoverer(job.settings)
        for video, download in downloads(job.videos, partial(fetch, settings=job.settings), _AHEAD):
            fetched = await_download(download, partial(tell, video, 0.0))
            result = discoverer.discover(video, fetched, partial(tell, video))
            write_result(video, result, job.settings)
            tell(video, 1.0, len(result.clips))
            if not video.local and not job.settings.keep_raw:
                raw_path(video, job.settings).unlink(missing_ok=True)


def main() -> None:
    """Entry point of ``python -m flows.discover_worker JOB``."""
    work(DiscoverJob, run)


if __name__ == "__main__":
    main()

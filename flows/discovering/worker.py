"""The worker process of a discovery: takes raw videos one after the other, commits what each gives.

Started by :mod:`flows.discovering.batch` as ``python -m flows.discovering.worker JOB``.
"""

from functools import partial

from flows.discovering.batch import DiscoverJob
from flows.discovering.results import write_result
from flows.discovering.video import VideoDiscoverer, fetch, raw_path
from flows.running.supervise import Events
from flows.running.worker_process import ahead, await_prepared, work

_AHEAD = 2  # videos being fetched, the next one to be looked at among them


def run(job: DiscoverJob) -> None:
    """Look for clips in every video of the job, in its order."""
    with job.events.open("a", encoding="utf-8") as file:
        events = Events(file)
        discoverer = VideoDiscoverer(job.settings)
        for video, fetching in ahead(job.videos, partial(fetch, settings=job.settings), _AHEAD):
            name = video.video_id
            events.started(name)
            fetched = await_prepared(fetching, partial(events.progress, name))
            result = discoverer.discover(video, fetched, partial(events.progress, name))
            write_result(video, result, job.settings)
            events.finished(name, clips=len(result.clips))
            if not video.local and not job.settings.keep_raw:
                raw_path(video, job.settings).unlink(missing_ok=True)


def main() -> None:
    """Entry point of ``python -m flows.discovering.worker JOB``."""
    work(DiscoverJob, run)


if __name__ == "__main__":
    main()

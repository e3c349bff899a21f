"""The worker process of a discovery: takes raw videos one after the other, commits what each gives.

Started by :mod:`multitalk.flows.discovering.batch` as ``python -m multitalk.flows.discovering.worker JOB``.
"""

from functools import partial

from multitalk.extract.downloading.process import yt_dlp_process
from multitalk.flows.discovering.batch import DiscoverJob
from multitalk.flows.discovering.results import write_result
from multitalk.flows.discovering.video import VideoDiscoverer, fetch, raw_path
from multitalk.flows.running.events import EventWriter
from multitalk.flows.running.worker_process import ahead, await_prepared, work

_AHEAD = 2  # videos being fetched, the next one to be looked at among them


def run(job: DiscoverJob) -> None:
    """Look for clips in every video of the job, in its order."""
    with job.events.open("a", encoding="utf-8") as file, yt_dlp_process() as yt_dlp:
        events = EventWriter(file)
        discoverer = VideoDiscoverer(job.settings)
        for video, fetching in ahead(
            job.videos, partial(fetch, settings=job.settings, yt_dlp=yt_dlp), _AHEAD
        ):
            name = video.video_id
            events.started(name)
            fetched = await_prepared(fetching, partial(events.progress, name))
            result = discoverer.discover(video, fetched, partial(events.progress, name))
            write_result(video, result, job.settings)
            events.finished(name, clips=len(result.clips))
            if not video.local and not job.settings.keep_raw:
                raw_path(video, job.settings).unlink(missing_ok=True)


def main() -> None:
    """Entry point of ``python -m multitalk.flows.discovering.worker JOB``."""
    work(DiscoverJob, run)


if __name__ == "__main__":
    main()

"""The worker process of one batch: takes its source videos through their stages, one after the other.

Started by :mod:`multitalk.flows.building.batch` as ``python -m multitalk.flows.building.worker JOB``.
"""

from dataclasses import asdict
from functools import partial

from multitalk.extract.downloading.process import yt_dlp_process
from multitalk.extract.errors import Stage
from multitalk.flows.building.batch import Job, events_path
from multitalk.flows.building.plan import read_batch
from multitalk.flows.building.stored_clips import StoredClips
from multitalk.flows.building.video import VideoBuilder
from multitalk.flows.running.cpu_time import START, cpu_seconds
from multitalk.flows.running.events import EventWriter
from multitalk.flows.running.worker_process import ahead, await_prepared, work


def run(job: Job) -> None:
    """Build the source videos that the job names; each is committed as soon as it is finished."""
    loading_sec = cpu_seconds()
    content = read_batch(job.batch, job.run_folder)
    wanted = set(job.videos)
    videos = [video for video in content.videos if video.file_id in wanted]
    stored = StoredClips(job.settings.root, job.language, [video.file_id for video in videos])
    with (
        events_path(job.run_folder, job.batch).open("a", encoding="utf-8") as file,
        yt_dlp_process() as yt_dlp,
    ):
        builder = VideoBuilder(job.settings, content.wanted, stored, yt_dlp)
        builder.cpu.add(START, loading_sec)
        downloads_sec = 0.0
        events = EventWriter(file)
        for video, fetching in ahead(videos, builder.fetch, job.settings.prefetch):
            name, clips = video.file_id, max(1, video.clip_count)
            events.started(name)
            work_on = await_prepared(fetching, partial(events.progress, name))
            done = 0

            def progress(name: str = name, clips: int = clips) -> None:
                nonlocal done
                done += 1
                events.progress(name, min(1.0, done / (2 * clips)))

            outcome = builder.build(work_on, progress)
            downloads_sec, before = yt_dlp.cpu_sec, downloads_sec
            builder.cpu.add(Stage.SOURCE, downloads_sec - before)
            events.finished(name, builder.cpu.take(), **asdict(outcome))


def main() -> None:
    """Entry point of ``python -m multitalk.flows.building.worker JOB``."""
    work(Job, run)


if __name__ == "__main__":
    main()

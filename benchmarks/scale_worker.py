"""A worker whose downloads and stages are short sleeps: what remains of a build is the engine.

Claims, decisions, the redo log, fragments and compaction are the real ones, run by the real worker's code. Made up are
only the outcomes of stages: every metric has a plausible value that follows from the clip's id, one source video in
twelve is not there, one clip in thirty has no face. No picture, sound or landmarks are written, and motion only where
it is asked for: its cost goes with its length, and `benchmarks.manifests` measures it.

Run as ``python -m benchmarks.scale_worker JOB`` by `multitalk.flows.building.batch`. Processor time that goes into
making things up is written beside the events, to be taken off.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from multitalk.extract.downloading.download import DownloadedVideo
from multitalk.extract.errors import ClipError, ErrorCode, Stage
from multitalk.extract.probe import SourceVideo
from multitalk.filters.image import FaceMetrics
from multitalk.filters.language import VideoLanguageMetrics
from multitalk.filters.speech import SpeechMetrics
from multitalk.filters.sync.score import SyncMetrics, VideoSyncMetrics
from multitalk.fit_flame.parameters.motion import Motion
from multitalk.flows.building import video, worker
from multitalk.flows.building.batch import Job
from multitalk.flows.building.clip import ClipInWork
from multitalk.flows.building.plan import AnnotatedVideo
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.building.source import source_path
from multitalk.flows.building.video import VideoBuilder
from multitalk.flows.running.worker_process import work
from multitalk.manifests import paths

SLEEP = "SCALE_SLEEP_SEC"
"""Environment variable: seconds that a source video's download and stages sleep each."""
FRAMES = "SCALE_FRAMES"
"""Environment variable: frames of motion that a fitted clip gets; 0: no motion."""
OWN_TIME = ".made-up.json"
"""Ending of the file, in the run's folder, with the processor time that a worker spent on making things up."""

_SOURCE = SourceVideo(
    seekable=True,
    video_stream=0,
    width=1920,
    height=1080,
    fps=25.0,
    video_start_sec=0.0,
    video_end_sec=3600.0,
    square_pixels=True,
    interlaced=False,
    transfer="sdr",
    has_audio=True,
    audio_language=None,
)
_own_sec: list[float] = []
Answer = TypeVar("Answer")


def _counted(call: Callable[[], Answer]) -> Answer:
    began = time.thread_time()
    try:
        return call()
    finally:
        _own_sec.append(time.thread_time() - began)


def _numbers(name: str) -> list[float]:
    """Numbers of 0 to 1 that follow from a name, in float32's precision."""
    digest = hashlib.shake_128(name.encode()).digest(64)
    values: list[float] = (np.frombuffer(digest, "<u2") / np.float32(65535)).astype(np.float32).tolist()
    return values


class _MadeUpStages:
    """Stands in for `multitalk.flows.building.clip.ClipStages`."""

    def __init__(self) -> None:
        self._sleep_sec = float(os.environ.get(SLEEP, "0.01"))
        self._frames = int(os.environ.get(FRAMES, "0"))

    def do(self, stage: Stage, clip: ClipInWork) -> None:
        _counted(lambda: self._do(stage, clip))

    def _do(self, stage: Stage, clip: ClipInWork) -> None:
        row, u = clip.row, _numbers(clip.annotation.clip_id)
        if stage is Stage.LANDMARKS and u[0] < 1 / 30:
            message = f"Clip {clip.annotation.clip_id}: no face was found in the annotated box"
            raise ClipError(ErrorCode.NO_FACE, message, Stage.LANDMARKS)
        if stage is Stage.IMAGE:
            turned = [40 * u[1] - 25, 40 * u[1] - 20, 40 * u[1] - 15]
            seen = FaceMetrics(
                *(1 - u[2] ** 20, 1 + int(u[3] > 0.93), 60 + 100 * u[4], turned, turned, turned, u[5], u[6]),
                *(
                    u[7] / 100,
                    u[8] / 3,
                    1 - u[9] ** 30,
                    1 - u[9] ** 30,
                    u[10],
                    int(u[11] > 0.97),
                    u[11] / 100,
                ),
            )
            row.take(seen)
            row.text_near_face = 0.0
        if stage is Stage.SPEECH:
            row.take(SpeechMetrics(1 - u[15] ** 5, -40 * u[16], u[17] ** 30, 40 * u[18]))
        if stage is Stage.LANGUAGE:
            row.detected_language, row.detected_language_probability = clip.annotation.language, u[19]
            row.annotated_language_probability = 1 - u[20] ** 6
        if stage is Stage.TRANSCRIPT:
            row.recognised_transcript, row.transcript_cer = clip.annotation.transcript, u[21] / 2
            said = enumerate(clip.annotation.transcript.split())
            row.words = [
                {"word": word, "start_sec": 0.3 * at, "end_sec": 0.3 * at + 0.2} for at, word in said
            ]
            row.transcript_coverage = 1.0
        if stage is Stage.SPEAKING:
            row.speaking_score = u[22]

    def fit(self, clips: Sequence[ClipInWork]) -> list[None]:
        for clip in clips:
            row, u = clip.row, _numbers(clip.annotation.clip_id)
            row.fit_landmark_error, row.fit_landmark_error_lips = u[12] / 50, u[13] / 50
            row.fit_jitter, row.head_model = u[14] / 100, "canonical:0123456789abcdef"
            clip.motion = _motion(u, self._frames) if self._frames else None
        return [None] * len(clips)

    def tell_waiting_languages(self, clips: Sequence[ClipInWork]) -> None:
        pass

    def do_pooled(self, stage: Stage, clips: Sequence[ClipInWork]) -> None:
        time.sleep(self._sleep_sec)
        for clip in clips:
            u = _numbers(clip.annotation.clip_id)
            if stage is Stage.VIDEO_LANGUAGE:
                clip.row.take(VideoLanguageMetrics(clip.annotation.language, u[19], u[19]))
                continue
            clip.row.take(SyncMetrics(u[23] - 0.3, int(20 * u[24]) - 10, u[25]))
            clip.row.take(VideoSyncMetrics(u[23] - 0.3, int(20 * u[24]) - 10, 9.0, "yes"))


def _motion(u: Sequence[float], count: int) -> Motion:
    def frames(width: int) -> Any:
        return np.full((count, width), u[26], np.float32)

    return Motion(
        *("canonical:0123456789abcdef", 25.0, np.full(16, u[27], np.float32), frames(52), frames(3)),
        *(frames(6), frames(3), frames(3), np.array([1200, 256, 256], np.float32)),
        *(np.ones(count, bool), np.full(count, 0.006, np.float32)),
    )


def _made_up_source(
    asked: AnnotatedVideo, intervals: Any, before: Any, wanted: str, settings: BuildSettings, *_: Any
) -> DownloadedVideo | ClipError:
    """Stand in for `multitalk.flows.building.source.fetch_source`."""
    del intervals, before, wanted
    time.sleep(float(os.environ.get(SLEEP, "0.01")))
    if _numbers(asked.file_id)[0] < 1 / 12:
        message = f"{asked.file_id}: the source says that the video is not available"
        return ClipError(ErrorCode.VIDEO_UNAVAILABLE, message, Stage.SOURCE)
    return DownloadedVideo(source_path(asked, settings), asked.source_url, _SOURCE, "22", None, "", 1)


class MadeUpBuilder(VideoBuilder):
    """The real builder without a network, ffmpeg and models."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._stages = _MadeUpStages()  # type: ignore[assignment]

    def _cut(self, work: Any, source: DownloadedVideo, clips: Sequence[Any]) -> None:
        _counted(lambda: self._pretend_to_cut(work.video, source, clips))

    def _pretend_to_cut(self, of: AnnotatedVideo, source: DownloadedVideo, clips: Sequence[Any]) -> None:
        root = self.settings.root
        for clip in clips:
            row, annotation = clip.row, clip.annotation
            row.source_url = of.source_url
            row.source_width, row.source_height, row.source_fps = 1920, 1080, source.video.fps
            self._done(clip, Stage.SOURCE)
            self._done(clip, Stage.TRIM)
            picture = paths.clip_path(root, of.language, annotation.clip_id)
            sound = paths.audio_path(root, of.language, annotation.clip_id)
            row.clip_path = picture.relative_to(root).as_posix()
            row.audio_path = sound.relative_to(root).as_posix()
            row.frame_count, row.duration_sec = annotation.frame_count, annotation.frame_count / 25
            row.source_scale = 0.8
            row.clip_sha256 = hashlib.sha256(annotation.clip_id.encode()).hexdigest()
            row.audio_xxh3 = row.clip_sha256[:16]
            clip.work = self._work(clip, picture, sound)


def run(job: Job) -> None:
    """Run the real worker with the stand-in, and tell what that cost."""
    worker.VideoBuilder = MadeUpBuilder  # type: ignore[misc]
    video.fetch_source = _made_up_source
    worker.run(job)
    place = job.run_folder / f"{job.batch}-{os.getpid()}{OWN_TIME}"
    threads = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")}
    place.write_text(json.dumps({"own_sec": sum(_own_sec), **threads}))


def main() -> None:
    """Entry point of ``python -m benchmarks.scale_worker JOB``."""
    work(Job, run)


if __name__ == "__main__":
    main()

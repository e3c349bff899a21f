"""Clips of a folder of videos, and what a build measures on them with a fault planted."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np

from benchmarks.quality_faults import Fault, Others, Shown
from benchmarks.quality_held_out import prior_from
from multitalk.extract.annotations import Annotation, read_annotations
from multitalk.extract.errors import ClipError, Stage
from multitalk.extract.probe import probe
from multitalk.extract.trim import TrimRequest, TrimResult, TrimSettings, trim_clips
from multitalk.filters.speech import SpeechDetector
from multitalk.filters.sync.features import sync_clip
from multitalk.flows.building.clip import ClipInWork, ClipStages, Landmarks
from multitalk.flows.building.settings import BuildSettings
from multitalk.ground.wav import read_wav
from multitalk.manifests.clip_row import ClipRow

_OF_PICTURE = (Stage.LANDMARKS, Stage.IMAGE, Stage.TEXT)
_OF_SOUND = (Stage.SPEECH, Stage.LANGUAGE)
# What is measured anew. A shifted sound and a dub are in the language that is annotated.
_TOUCHED: dict[str, tuple[Stage, ...]] = {
    "sound": (Stage.SPEECH,),
    "voices": _OF_SOUND,
    "language": _OF_SOUND,
    "picture": _OF_PICTURE,
    "both": (*_OF_PICTURE, Stage.SPEECH),
}
_NO_FRAMES = np.zeros((0, 0, 0, 3), np.uint8)


@dataclass
class CleanClip:
    """A clip in order, as trimmed and measured."""

    annotation: Annotation
    row: ClipRow
    picture: Path
    sound: Path
    landmarks: Landmarks

    def shown(self, *, with_frames: bool) -> Shown:
        """Read what there is to see and hear."""
        frames = read_frames(self.picture) if with_frames else _NO_FRAMES
        return Shown(frames, read_wav(self.sound), self.landmarks.points, self.annotation.language)


Videos = dict[str, list[CleanClip]]


class Measuring:
    """Takes clips through the stages of a build, pooled ones included.

    Parameters
    ----------
    scratch
        Folder for clips.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._speech = SpeechDetector()
        self._stages = ClipStages(BuildSettings(root=scratch, speaking_score=False))

    def read_videos(self, folder: Path, wanted: Sequence[str] = ()) -> Videos:
        """Trim and measure the annotated clips of a folder's videos, of all or of those wanted; skip what fails."""
        annotations = defaultdict(list)
        for found in read_annotations(sorted((folder / "annotations").glob("*.json"))).annotations:
            if not wanted or found.video_id in wanted:
                annotations[found.video_id].append(found)
        videos: Videos = {}
        for name, of_video in annotations.items():
            try:
                clips = self._trim(folder / "videos" / f"{name}.mp4", of_video)
                self._measure(clips, (*_OF_PICTURE, *_OF_SOUND))
                self._fit([clip for clip in clips if clip.row.status == "ok"])
            except (ClipError, OSError) as error:
                print(f"left out {name}: {error}")
                continue
            videos[name] = [_clean(clip) for clip in clips if clip.row.status == "ok"]
        return {name: clips for name, clips in videos.items() if clips}

    def plant(self, fault: Fault, clips: Sequence[CleanClip], other: Sequence[CleanClip]) -> list[ClipRow]:
        """Return the rows of a video's clips with a fault in each of them."""
        with_frames = fault.touches in ("picture", "both")
        sounds = np.concatenate([read_wav(clip.sound) for clip in other])
        first = read_frames(other[0].picture) if with_frames else _NO_FRAMES
        others = Others(sounds, other[0].annotation.language, first)
        planted = []
        for clip in clips:
            shown = fault.plant(clip.shown(with_frames=with_frames), others)
            row = copy(clip.row)
            row.language = shown.language
            annotation = replace(clip.annotation, language=shown.language)
            work = ClipInWork(annotation, row, clip.picture, clip.sound, samples=shown.samples)
            work.landmarks = clip.landmarks
            if with_frames:
                work.landmarks = None
                work.picture = self._scratch / "planted" / f"{annotation.clip_id}.mp4"
                write_frames(work.picture, shown.frames)
                row.frame_count = len(shown.frames)
                row.duration_sec = len(shown.frames) / 25
            planted.append(work)
        self._measure(planted, _TOUCHED[fault.touches])
        return [work.row for work in planted]

    def learn_sync(self, videos: Iterable[Sequence[CleanClip]]) -> None:
        """Let sync be judged by what these videos alone teach, in the place of `multitalk.filters.sync.prior`."""
        reduced = []
        for clips in videos:
            sounds = [read_wav(clip.sound) for clip in clips]
            reduced.append(
                [
                    sync_clip(clip.landmarks.points, sound, self._speech.intervals(sound))
                    for clip, sound in zip(clips, sounds, strict=True)
                ]
            )
        self._stages._sync_predictor = prior_from(reduced)

    def _trim(self, source: Path, annotations: Sequence[Annotation]) -> list[ClipInWork]:
        video = probe(source)
        requests = [
            TrimRequest(a, self._scratch / f"{a.clip_id}.mp4", self._scratch / f"{a.clip_id}.wav")
            for a in annotations
        ]
        clips = []
        for request, result in zip(
            requests, trim_clips(source, video, requests, TrimSettings()), strict=True
        ):
            annotation = request.annotation
            row = ClipRow(annotation.clip_id, annotation.video_id, annotation.language)
            row.config_fingerprint, row.transcript = "benchmark", annotation.transcript
            row.source_width, row.source_height, row.source_fps = video.width, video.height, video.fps
            if isinstance(result, TrimResult):
                row.frame_count, row.duration_sec = result.frame_count, result.duration_sec
                row.source_scale = result.source_scale
                clips.append(ClipInWork(annotation, row, result.clip_path, result.audio_path))
            else:
                print(f"left out {annotation.clip_id}: {result}")
        return clips

    def _fit(self, clips: Sequence[ClipInWork]) -> None:
        for clip, failure in zip(clips, self._stages.fit(clips), strict=True):
            if failure is not None:
                clip.row.status, clip.row.error_code = "failed", str(failure.code)

    def _measure(self, clips: Sequence[ClipInWork], stages: Sequence[Stage]) -> None:
        for clip in clips:
            for stage in stages:
                samples = clip.samples
                try:
                    self._stages.do(stage, clip)
                except ClipError as error:
                    clip.row.status, clip.row.error_code = "failed", str(error.code)
                    break
                clip.samples = samples  # a stage may let go of what only we have
        going_well = [clip for clip in clips if clip.row.status == "ok"]
        self._stages.tell_waiting_languages(going_well)
        if Stage.LANGUAGE in stages:
            self._stages.do_pooled(Stage.VIDEO_LANGUAGE, going_well)
        self._stages.do_pooled(Stage.SYNC, going_well)


def _clean(clip: ClipInWork) -> CleanClip:
    assert clip.landmarks is not None
    return CleanClip(clip.annotation, clip.row, clip.picture, clip.sound, clip.landmarks)


def read_frames(video: Path) -> np.ndarray:
    """Decode a clip: (T, H, W, 3) RGB."""
    with av.open(str(video)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def write_frames(place: Path, frames: np.ndarray) -> None:
    """Encode a clip as a build does, 25 frames/s."""
    place.parent.mkdir(exist_ok=True)
    with av.open(str(place), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "18", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame))))
        container.mux(stream.encode(None))

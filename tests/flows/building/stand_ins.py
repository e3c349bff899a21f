"""A source, a trimmer and stages that take microseconds, and whose outcome depends on settings and content.

They take the places of those in `multitalk.flows.building.video`; what decides, commits and keeps is the real one.
"""

import hashlib
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from multitalk.extract.crop import crop_box
from multitalk.extract.downloading.download import DownloadedVideo
from multitalk.extract.errors import ClipError, ErrorCode, Stage, as_clip_error
from multitalk.extract.probe import SourceVideo
from multitalk.extract.trim import TrimResult
from multitalk.filters.persons.describe import DescribedPerson
from multitalk.fit_flame.parameters.motion import Motion
from multitalk.flows.building import source
from multitalk.flows.building import video as building
from multitalk.flows.building.clip import Landmarks

FRAMES = 3
CROP = crop_box({"top": 0.1, "bottom": 0.9, "left": 0.1, "right": 0.9}, 640, 480)


class Killed(BaseException):
    """Stands for a SIGKILL: nothing may catch it."""


@dataclass
class World:
    """What lies outside the dataset: sources, and trouble."""

    there: set[str] = field(default_factory=set)
    """Video ids whose source can be had."""
    gone_code: ErrorCode = ErrorCode.VIDEO_UNAVAILABLE
    downloads: list[str] = field(default_factory=list)
    done: list[tuple[str, Stage]] = field(default_factory=list)
    """Clips and the stages that were done on them."""
    breaks: dict[str, Exception | Callable[[], None]] = field(default_factory=dict)
    """What is raised, or called, at `<clip or video>:<stage>`, once."""
    no_fit: set[str] = field(default_factory=set)
    """Clip and `smooth_face` of which the fit diverges, always."""

    def trouble(self, name: str, stage: Stage) -> None:
        if fault := self.breaks.pop(f"{name}:{stage}", None):
            if isinstance(fault, Exception):
                raise fault
            fault()


def number(*parts: object) -> int:
    """A number that depends on everything given."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big")


def share(*parts: object) -> float:
    return float(np.float32(number(*parts) / 2**32))


def install(monkeypatch, world: World) -> None:
    """Let builders of this process work in a stand-in world."""

    def download(url, place, settings, pace, *, clips=(), process=None):
        video_id = Path(url).stem
        world.downloads.append(video_id)
        world.trouble(video_id, Stage.SOURCE)
        if video_id not in world.there:
            raise ClipError(world.gone_code, f"{video_id} is gone", Stage.SOURCE)
        place.write_text(f"{video_id} {settings.max_height}")
        return DownloadedVideo(place, url, properties(), None, "de", "1", 1)

    def trim_clips(source, video, requests, settings):
        content, results = source.read_text(), []
        for request in requests:
            annotation = request.annotation
            world.done.append((annotation.clip_id, Stage.TRIM))
            world.trouble(annotation.clip_id, Stage.TRIM)
            if annotation.end_sec > 100:
                message = f"{annotation.clip_id}: ends after the video"
                results.append(ClipError(ErrorCode.INTERVAL_OUTSIDE_VIDEO, message, Stage.TRIM))
                continue
            cut = f"{content} {annotation.start_sec} {annotation.bbox} {settings.crf}"
            for place in (request.clip_path, request.audio_path):
                place.parent.mkdir(parents=True, exist_ok=True)
            request.clip_path.write_text(cut)
            with wave.open(str(request.audio_path), "wb") as file:
                file.setparams((1, 2, 16_000, 0, "NONE", ""))
                file.writeframes(np.full(640 * FRAMES, number(cut) % 1000, np.int16).tobytes())
            digest = hashlib.sha256(cut.encode()).hexdigest()
            results.append(
                TrimResult(request.clip_path, request.audio_path, CROP, 0.5, FRAMES, FRAMES / 25, digest)
            )
        return results

    monkeypatch.setattr(source, "download", download)
    monkeypatch.setattr(building, "trim_clips", trim_clips)
    monkeypatch.setattr(source, "probe_stranger", lambda place, limits: properties())
    monkeypatch.setattr(building, "ClipStages", lambda settings: StandInStages(settings, world))


def properties() -> SourceVideo:
    return SourceVideo(
        seekable=True, video_stream=0, width=640, height=480, fps=25.0, video_start_sec=0.0,
        video_end_sec=100.0, square_pixels=True, interlaced=False, transfer="sdr", has_audio=True,
        audio_language=None,
    )  # fmt: skip


@dataclass
class StandInStages:
    """As `ClipStages`: each stage reads what the real one reads, from where the real one reads it."""

    settings: object
    world: World

    def do(self, stage, clip):
        name = clip.annotation.clip_id
        self.world.done.append((name, stage))
        self.world.trouble(name, stage)
        getattr(self, f"_{stage}")(clip)

    def _landmarks(self, clip):
        rng = np.random.default_rng(number(clip.picture.read_text(), self.settings.tracks.min_overlap))
        points = rng.random((FRAMES, 478, 3), np.float32).astype(np.float16).astype(np.float32)
        clip.landmarks, clip.tracked_anew = Landmarks(points, np.ones(FRAMES, bool)), True

    def _points(self, clip):
        if clip.landmarks is None:
            clip.landmarks = clip.stored_landmarks()
        if clip.landmarks is None:
            self._landmarks(clip)
        return number(clip.landmarks.points.tobytes())

    def _image(self, clip):
        clip.row.sharpness = share("image", self._points(clip), clip.picture.read_text())

    def fit(self, clips):
        smooth = self.settings.fit.smooth_face
        failures = [self._fit_trouble(clip, smooth) for clip in clips]
        good = [clip for clip, failure in zip(clips, failures, strict=True) if failure is None]
        together = sorted(self._points(clip) for clip in good)
        for clip in good:
            self._fitted(clip, smooth, together)
        return failures

    def _fit_trouble(self, clip, smooth):
        name = clip.annotation.clip_id
        self.world.done.append((name, Stage.FIT))
        try:
            self.world.trouble(name, Stage.FIT)
        except Exception as error:
            return as_clip_error(error, name, Stage.FIT)
        if f"{name} {smooth}" in self.world.no_fit:
            return ClipError(ErrorCode.FIT_DIVERGED, f"{name}: diverged", Stage.FIT)
        return None

    def _fitted(self, clip, smooth, together):
        rng = np.random.default_rng(number("fit", self._points(clip), smooth, together))

        def some(*shape):
            return rng.random(shape, np.float32)

        clip.motion = Motion(
            head_model="canonical", fps=25.0, shape=some(3), expression=some(FRAMES, 4), jaw=some(FRAMES, 3),
            eyes=some(FRAMES, 6), rotation=some(FRAMES, 3), translation=some(FRAMES, 3),
            camera=some(3), valid=np.ones(FRAMES, bool), residual=some(FRAMES),
        )  # fmt: skip
        clip.row.fit_landmark_error = share("error", self._points(clip), smooth)
        clip.row.head_model = "canonical"

    def _speech(self, clip):
        clip.row.speech_ratio = share("speech", clip.sound.read_bytes(), self.settings.speech.threshold)

    def _language(self, clip):
        clip.row.detected_language = f"l{number('l', clip.sound.read_bytes(), clip.row.speech_ratio) % 7}"
        clip.language = "told"
        if clip.wants_words:
            self._transcript(clip)

    def _transcript(self, clip):
        clip.row.recognised_transcript = f"w{number('w', clip.sound.read_bytes()) % 97}"
        clip.row.transcript_cer = share("cer", clip.row.recognised_transcript, clip.annotation.transcript)

    def _text(self, clip):
        clip.row.text_near_face = share("text", self._points(clip))

    def _speaking(self, clip):
        clip.row.speaking_score = share("speaking", self._points(clip), clip.sound.read_bytes())

    def _persons(self, clip):
        rng = np.random.default_rng(number("persons", self._points(clip), clip.sound.read_bytes()))
        face, voice = rng.random(128, np.float32), rng.random(256, np.float32)
        clip.person = DescribedPerson(face, voice, 1.0, rng.integers(0, 2**32, FRAMES, np.uint32))

    def tell_waiting_languages(self, clips):
        pass

    def do_pooled(self, stage, clips):
        if stage is Stage.SYNC:
            self._sync(clips)
            return
        together = sorted((clip.sound.read_bytes(), clip.row.speech_ratio) for clip in clips)
        for clip in clips:
            self.world.done.append((clip.annotation.clip_id, stage))
            clip.row.video_language = f"l{number('video', together) % 7}"

    def _sync(self, clips):
        for clip in clips:
            self.world.done.append((clip.annotation.clip_id, Stage.SYNC))
            self.world.trouble(clip.annotation.clip_id, Stage.SYNC)
        together = sorted((self._points(clip), clip.sound.read_bytes()) for clip in clips)
        for clip in clips:
            clip.row.av_correlation = share("sync", self._points(clip), together)
            clip.row.av_confidence = share("sure", together)
            clip.row.video_sync = "yes"

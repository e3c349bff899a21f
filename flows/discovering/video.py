"""Clips of one raw video: look, listen, propose candidates, then build and judge each as `build` would."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multitalk.assets.fetch import require
from multitalk.extract.annotations import Annotation
from multitalk.extract.downloading.download import download
from multitalk.extract.downloading.fork_server import ForkServer
from multitalk.extract.downloading.pace import Pace
from multitalk.extract.errors import ClipError, ErrorCode, Stage, as_clip_error
from multitalk.extract.faces.candidates import Candidate, SampledFrame, SpeechActivity, find_candidates
from multitalk.extract.faces.face_finder import FaceFinder
from multitalk.extract.faces.landmarks import DetectedFace
from multitalk.extract.faces.shots import ShotDetector
from multitalk.extract.probe import SourceVideo, probe_stranger
from multitalk.extract.source_frames import frame_scale, source_frames
from multitalk.extract.trim import FPS_TOLERANCE, TrimRequest, TrimResult, trim_clips
from multitalk.filters.pose import head_angles, head_rotation
from multitalk.filters.word_times import TimedWord
from multitalk.fit_flame.heads.canonical_mesh import read_canonical_mesh
from multitalk.flows.building.clip import ClipInWork
from multitalk.flows.discovering.hearing import Hearing
from multitalk.flows.discovering.judging import Judge
from multitalk.flows.discovering.results import (
    RawVideo,
    Refused,
    VideoResult,
    failed_result,
    video_fingerprint,
)
from multitalk.flows.discovering.settings import DiscoverSettings
from multitalk.ground.units import AUDIO_RATE, FPS
from multitalk.manifests.clip_row import ClipRow

_LOOK_EVERY = 5  # frames: where a face was seen
_SCAN_EVERY, _SCAN_BESIDE = 25, 75  # frames: everywhere, where no face is known and where one is
_CHANGED = 0.08  # of full scale, the mean change of a pixel from which somebody else may be there
_AROUND_SPEECH = 15  # frames
_TELL_EVERY = 250  # frames
_LOOKED, _MEASURED = 0.4, 0.95  # shares of the work that are done when all frames, all candidates are


@dataclass(frozen=True, slots=True)
class _CheckedCandidate:
    """A candidate, what speaks against it, and the times of its words where nothing does."""

    row: ClipRow
    objections: tuple[str, ...]
    words: list[TimedWord]


class VideoDiscoverer:
    """Looks for clips in raw videos, one after the other; models are loaded when first needed, and kept."""

    def __init__(self, settings: DiscoverSettings) -> None:
        self._settings = settings
        self._hearing = Hearing(settings)
        self._judge = Judge(settings)

    def discover(
        self, video: RawVideo, fetched: Path | ClipError, progress: Callable[[float], None]
    ) -> VideoResult:
        """Find the clips of a video that lies at `fetched`; a failure becomes the result.

        `progress` is told now and then which share of the work is done, 0..1.
        """
        fingerprint = video_fingerprint(video, self._settings)
        scratch = self._settings.folder / "candidates" / video.video_id
        try:
            if isinstance(fetched, ClipError):
                raise fetched
            properties = probe_stranger(fetched, self._settings.build.download.media_limits)
            _refuse(video.video_id, properties, self._settings)
            scratch.mkdir(parents=True, exist_ok=True)
            sound = self._hearing.listen(fetched, scratch / "sound.pcm")
            if not sound.intervals:
                return VideoResult(video.video_id, video.address, fingerprint, {})
            if self._hearing.is_other_language(sound):
                whole = Refused(0.0, len(sound.samples) / AUDIO_RATE, ("language",))
                return VideoResult(video.video_id, video.address, fingerprint, {}, (whole,))
            candidates = self._candidates(fetched, properties, sound.activity, progress)
            checked = self._build(video, fetched, properties, candidates, scratch, progress)
        except Exception as error:
            return failed_result(video, as_clip_error(error, video.video_id, Stage.LANDMARKS), fingerprint)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        refused = tuple(
            Refused(one.row.start_sec or 0.0, one.row.end_sec or 0.0, one.objections)
            for one in checked
            if one.objections
        )
        good = [one for one in checked if not one.objections]
        clips = {
            f"{video.video_id}_{index}": _annotation(video, one, self._settings.language.lower())
            for index, one in enumerate(good)
        }
        return VideoResult(video.video_id, video.address, fingerprint, clips, refused)

    def _candidates(
        self, source: Path, video: SourceVideo, speech: SpeechActivity, progress: Callable[[float], None]
    ) -> list[Candidate]:
        sampled_frames, cuts, frame_count = self._look(source, video, speech, progress)
        size = (video.width, video.height)
        return find_candidates(sampled_frames, cuts, frame_count, speech, size, self._settings.candidates)

    def _look(
        self, source: Path, video: SourceVideo, speech: SpeechActivity, progress: Callable[[float], None]
    ) -> tuple[list[SampledFrame], list[int], int]:
        """Look for faces while there is speech, and for cuts throughout; also count the frames."""
        wanted = np.zeros(len(speech.probability) + _AROUND_SPEECH, bool)
        for start, end in speech.intervals:
            wanted[max(0, int(start) - _AROUND_SPEECH) : int(end) + _AROUND_SPEECH] = True
        shots = ShotDetector()
        sampled_frames: list[SampledFrame] = []
        known: tuple[DetectedFace, ...] = ()
        scanned, cut = -_SCAN_BESIDE, False
        frame_count = 0
        with self._finder(video) as finder:
            for index, frame in enumerate(source_frames(source, video)):
                cut |= shots.add(frame.small()) > _CHANGED
                frame_count = index + 1
                if frame_count % _TELL_EVERY == 0:
                    progress(_LOOKED * frame_count / max(frame_count, video.video_end_sec * FPS))
                if index % _LOOK_EVERY or index >= len(wanted) or not wanted[index]:
                    continue
                picture = frame.rgb()
                faces = finder.find_near(picture, [face.box for face in known])
                due = index - scanned >= (_SCAN_BESIDE if known else _SCAN_EVERY)
                if cut or due or len(faces) < len(known):
                    # Somebody may have come, or somebody else is there after a cut.
                    faces = finder.find(picture)
                    scanned, cut = index, False
                known = faces
                sampled_frames.append(self._sampled_frame(index, faces, video.width / picture.shape[1]))
        return sampled_frames, shots.cuts(), frame_count

    def _finder(self, video: SourceVideo) -> FaceFinder:
        # Faces that count beside the smallest usable one are smaller still.
        smallest = self._settings.candidates.min_face_px * frame_scale(video) * 0.6
        return FaceFinder(require("face_landmarker"), smallest)

    def _sampled_frame(self, index: int, faces: Sequence[DetectedFace], scale: float) -> SampledFrame:
        if not faces:
            nothing = np.zeros(0, np.float32)
            return SampledFrame(index, np.zeros((0, 4), np.float32), nothing, nothing)
        points = np.stack([face.points for face in faces])
        yaw, pitch, _ = head_angles(head_rotation(points, self._canonical_vertices)).T
        return SampledFrame(index, np.stack([face.box for face in faces]) * np.float32(scale), yaw, pitch)

    def _build(
        self,
        video: RawVideo,
        source: Path,
        properties: SourceVideo,
        candidates: Sequence[Candidate],
        scratch: Path,
        progress: Callable[[float], None],
    ) -> list[_CheckedCandidate]:
        """Take the candidates through the build's stages, and judge them."""
        annotations = [
            _candidate_annotation(video, index, candidate, self._settings.language.lower())
            for index, candidate in enumerate(candidates)
        ]
        requests = [
            TrimRequest(a, scratch / f"{a.clip_id}.mp4", scratch / f"{a.clip_id}.wav") for a in annotations
        ]
        trimmed = trim_clips(source, properties, requests, self._settings.build.trim)
        clips: list[ClipInWork] = []
        for annotation, result in zip(annotations, trimmed, strict=True):
            clip = _clip_in_work(annotation, result, properties, scratch)
            clip.wants_words = True
            clips.append(clip)

        def measured(share: float) -> None:
            progress(_LOOKED + (_MEASURED - _LOOKED) * share)

        checked = []
        for clip, objections in zip(clips, self._judge.objections(clips, measured), strict=True):
            words = [] if objections else self._judge.timed_words(clip)
            checked.append(_CheckedCandidate(clip.row, objections, words))
            progress(_MEASURED)
        return checked

    @cached_property
    def _canonical_vertices(self) -> npt.NDArray[np.float64]:
        return read_canonical_mesh(require("face_landmarker")).vertices


def fetch(video: RawVideo, settings: DiscoverSettings, yt_dlp: ForkServer | None = None) -> Path | ClipError:
    """Return where a video lies on this machine, fetched if need be; a failure is returned."""
    if video.local:
        return Path(video.address)
    place = raw_path(video, settings)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        pace = Pace(settings.folder / ".pause.json", settings.build.download.first_pause_sec)
        return download(video.address, place, settings.build.download, pace, process=yt_dlp).path
    except Exception as error:
        return as_clip_error(error, video.video_id, Stage.SOURCE)


def raw_path(video: RawVideo, settings: DiscoverSettings) -> Path:
    """Return the place of a downloaded video."""
    return settings.folder / "raw" / f"{video.video_id}.mp4"


def _refuse(name: str, video: SourceVideo, settings: DiscoverSettings) -> None:
    """Spare the work on a video of which no clip can be cut."""
    if not video.has_audio:
        raise ClipError(ErrorCode.NO_AUDIO, f"{name}: the video has no audio stream", Stage.TRIM)
    if video.fps < settings.build.trim.min_fps - FPS_TOLERANCE:
        message = f"{name}: the video has {video.fps:.2f} frames a second, fewer than {settings.build.trim.min_fps:g}"
        raise ClipError(ErrorCode.FPS_TOO_LOW, message, Stage.TRIM)


def _candidate_annotation(video: RawVideo, index: int, candidate: Candidate, language: str) -> Annotation:
    end_frame = candidate.start_frame + candidate.frame_count
    return Annotation(
        clip_id=f"{video.video_id}_c{index}",
        video_id=video.video_id,
        language=language,
        start_sec=candidate.start_frame / FPS,
        end_sec=end_frame / FPS,
        start_frame=candidate.start_frame,
        frame_count=candidate.frame_count,
        bbox=candidate.bbox,
        transcript="",
    )


def _clip_in_work(
    annotation: Annotation, trimmed: TrimResult | ClipError, source: SourceVideo, scratch: Path
) -> ClipInWork:
    row = ClipRow(annotation.clip_id, annotation.video_id, annotation.language)
    row.start_sec, row.end_sec = annotation.start_sec, annotation.end_sec
    row.bbox = annotation.bbox.as_dict()
    row.source_width, row.source_height = source.width, source.height
    if isinstance(trimmed, ClipError):
        row.status, row.error_code = "failed", str(trimmed.code)
        return ClipInWork(annotation, row, scratch, scratch)
    row.frame_count, row.duration_sec = trimmed.frame_count, trimmed.duration_sec
    row.source_scale = trimmed.source_scale
    return ClipInWork(annotation, row, trimmed.clip_path, trimmed.audio_path)


def _annotation(video: RawVideo, checked: _CheckedCandidate, language: str) -> dict[str, Any]:
    row = checked.row
    assert row.start_sec is not None
    return {
        "youtube_id": video.video_id,
        "source_url": Path(video.address).as_uri() if video.local else video.address,
        "duration": {"start_sec": row.start_sec, "end_sec": row.end_sec},
        "bbox": row.bbox,
        "language": language,
        "transcript": row.recognised_transcript,
        "words": [
            {
                "word": word.word,
                "start_sec": round(row.start_sec + word.start_sec, 2),
                "end_sec": round(row.start_sec + word.end_sec, 2),
            }
            for word in checked.words
        ],
    }

"""One trimmed clip through landmarks, fit and metrics: the stages of :mod:`flows.video` after trimming."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from assets.fetch import find, require
from extract.annotations import Annotation
from extract.errors import ClipError, ErrorCode, Stage
from extract.landmarks import Face, FaceDetector
from extract.shots import ShotDetector
from extract.tracks import Box, FaceTrack, box_in_clip, choose_track
from extract.trim import TrimResult
from filters.active_speaker import ActiveSpeaker
from filters.appearance import FaceAppearance, face_appearance
from filters.image import measure_face
from filters.language import LanguageIdentifier, Utterance
from filters.pose import head_rotation
from filters.speech import SpeechDetector, measure_speech
from filters.sync import measure_sync
from filters.sync_features import SyncClip, sync_clip
from filters.sync_predictor import SyncPredictor
from filters.word_times import TimedWord
from fit_flame.canonical_mesh import read_canonical_mesh
from fit_flame.fit import FitDiverged
from fit_flame.motion import Motion
from flows.config import BuildSettings
from flows.detectors import face_detector
from flows.fitting import Fitter
from flows.sync import load_predictor
from manifests.media import read_wav


@dataclass(slots=True)
class ClipData:
    """A clip between stages: each stage adds what it found, and its columns to `row`."""

    annotation: Annotation
    trimmed: TrimResult
    source_size: tuple[int, int]
    """Width and height of the source video, pixels."""
    row: dict[str, Any]
    observations: "Observations | None" = None
    track: FaceTrack | None = None
    motion: Motion | None = None
    sync: SyncClip | None = None
    said: Utterance | None = None
    """Speech whose language is still to be told, in a batch with that of the video's other clips."""

    def motion_row(self) -> dict[str, Any]:
        """Return the clip's row of the motion file."""
        assert self.motion is not None
        return {"clip_id": self.annotation.clip_id, **self.motion.to_arrays()}

    def landmarks_row(self) -> dict[str, Any]:
        """Return the clip's row of the landmarks file."""
        assert self.track is not None
        clip_id = self.annotation.clip_id
        return {"clip_id": clip_id, "landmarks": self.track.landmarks, "valid": self.track.valid}


@dataclass(frozen=True, slots=True)
class Observations:
    """What the one pass over the frames leaves behind."""

    faces: list[tuple[Face, ...]]
    appearance: list[list[FaceAppearance]]
    shot_changes: int
    annotated: Box


class ClipBuilder:
    """Takes clips through the stages after trimming. Models are loaded when first needed, and kept."""

    def __init__(self, settings: BuildSettings) -> None:
        self._settings = settings
        self._fitter = Fitter(settings)

    @property
    def steps(self) -> tuple[tuple[Stage, Callable[[ClipData], None]], ...]:
        """The stages in order; each raises what makes the clip fail."""
        return (
            (Stage.LANDMARKS, self._track_face),
            (Stage.FILTERS, self._measure_face),
            (Stage.FIT, self._fit),
            (Stage.FILTERS, self._measure_sound),
        )

    def pool_over_video(self, clips: Sequence[ClipData]) -> None:
        """Measure what concerns all clips of a source video together.

        Languages, where a GPU takes many clips at once; sync, for which one clip is often too short to tell.
        """
        waiting = [(clip, clip.said) for clip in clips if clip.said is not None]
        if waiting:
            languages = self._language_identifier.measure_all([said for _, said in waiting])
            for (clip, _), language in zip(waiting, languages, strict=True):
                clip.row.update(asdict(language))
                clip.said = None
        measurable = [(clip, clip.sync) for clip in clips if clip.sync is not None]
        if not measurable:
            return
        video = measure_sync([sync for _, sync in measurable], self._sync_predictor)
        for (clip, _), metrics in zip(measurable, video.clips, strict=True):
            clip.row.update(asdict(metrics))

    def timed_words(self, clip: ClipData) -> list[TimedWord]:
        """When each recognised word of a clip is spoken, seconds of the clip."""
        samples = read_wav(clip.trimmed.audio_path)
        text = clip.row["recognised_transcript"]
        return self._language_identifier.timed_words(samples, clip.annotation.language, text)

    def _track_face(self, clip: ClipData) -> None:
        bbox = clip.annotation.bbox.as_dict()
        annotated = box_in_clip(bbox, clip.trimmed.crop, *clip.source_size)
        faces: list[tuple[Face, ...]] = []
        appearance: list[list[FaceAppearance]] = []
        shots = ShotDetector()
        for seen in self._detector.faces(clip.trimmed.clip_path):
            faces.append(seen.faces)
            appearance.append([face_appearance(seen.frame, face) for face in seen.faces])
            shots.add(seen.frame)
        cuts = len(shots.cuts())
        clip.row.update(shot_changes=cuts)
        clip.observations = Observations(faces, appearance, cuts, annotated)
        clip.track = choose_track(faces, annotated, self._settings.tracks, clip.annotation.clip_id)

    def _fit(self, clip: ClipData) -> None:
        assert clip.track is not None
        try:
            fit = self._fitter.fit(clip.trimmed.clip_path, clip.track.landmarks, clip.track.valid)
        except FitDiverged as error:
            message = f"Clip {clip.annotation.clip_id}: {error}"
            raise ClipError(ErrorCode.FIT_DIVERGED, message, Stage.FIT) from error
        clip.motion = fit.motion
        clip.row.update(
            fit_landmark_error=fit.landmark_error,
            fit_landmark_error_lips=fit.landmark_error_lips,
            fit_jitter=fit.jitter,
            head_model=fit.motion.head_model,
        )

    def _measure_face(self, clip: ClipData) -> None:
        assert clip.track is not None
        assert clip.observations is not None
        seen = clip.observations
        rotation = head_rotation(clip.track.landmarks, self._canonical_vertices)
        metrics = measure_face(
            clip.track, seen.faces, seen.appearance, rotation, seen.annotated, seen.shot_changes
        )
        clip.row.update(asdict(metrics))
        clip.observations = None  # of no use to the clips that follow

    def _measure_sound(self, clip: ClipData) -> None:
        assert clip.track is not None
        samples = read_wav(clip.trimmed.audio_path)
        speech, intervals = measure_speech(samples, self._speech_detector)
        annotation = clip.annotation
        clip.row.update(asdict(speech))
        said = Utterance(samples, intervals, annotation.language, annotation.transcript)
        if self._language_identifier.batch_size == 1:
            clip.row.update(asdict(self._language_identifier.measure_all([said])[0]))
        else:
            clip.said = said
        clip.sync = sync_clip(clip.track.landmarks, samples, intervals)
        if self._active_speaker is not None:
            score = self._active_speaker.measure(clip.trimmed.clip_path, clip.track.landmarks, samples)
            clip.row.update(speaking_score=score)

    @cached_property
    def _detector(self) -> FaceDetector:
        return face_detector(self._settings.landmarks)

    @cached_property
    def _canonical_vertices(self) -> npt.NDArray[np.float64]:
        return read_canonical_mesh(require("face_landmarker")).vertices

    @cached_property
    def _active_speaker(self) -> ActiveSpeaker | None:
        weights = find("lr_asd") if self._settings.speaking_score else None
        return ActiveSpeaker(weights) if weights else None

    @cached_property
    def _sync_predictor(self) -> SyncPredictor | None:
        return load_predictor(self._settings.root)

    @cached_property
    def _speech_detector(self) -> SpeechDetector:
        return SpeechDetector(require("silero_vad"), self._settings.speech)

    @cached_property
    def _language_identifier(self) -> LanguageIdentifier:
        return LanguageIdentifier(require("whisper_base"), self._settings.language)

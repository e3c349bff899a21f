"""One clip through the stages after trimming: what is known of it, and each stage's work.

Which stages a clip needs is not decided here (`flows.building.video`): a stage is done when it is asked for, on what
earlier stages left, in memory or on disk.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from multitalk.assets.fetch import find, require
from multitalk.extract.annotations import Annotation
from multitalk.extract.crop import crop_box
from multitalk.extract.errors import ClipError, ErrorCode, Stage, as_clip_error
from multitalk.extract.faces.landmarks import DetectedFace, FaceDetector
from multitalk.extract.faces.shots import ShotDetector
from multitalk.extract.faces.tracks import Box, FaceTrack, box_in_clip, choose_track
from multitalk.filters.appearance import FaceAppearance, face_appearance
from multitalk.filters.image import chosen_of, measure_face
from multitalk.filters.language import LanguageIdentifier, LanguageMetrics, Utterance
from multitalk.filters.persons.describe import DescribedPerson, PersonDescriber
from multitalk.filters.pose import head_rotation
from multitalk.filters.screen_text import ScreenText
from multitalk.filters.speech import Interval, SpeechDetector, measure_speech
from multitalk.filters.sync.active_speaker import ActiveSpeaker
from multitalk.filters.sync.features import sync_clip
from multitalk.filters.sync.predictor import SyncPredictor
from multitalk.filters.sync.prior import prior_predictor
from multitalk.filters.sync.score import measure_sync
from multitalk.filters.visibility import confidence, landmark_trust
from multitalk.filters.word_times import TimedWord
from multitalk.filters.worst_frames import worst_fit
from multitalk.fit_flame.fit import FitDiverged, FitResult
from multitalk.fit_flame.heads.canonical_mesh import read_canonical_mesh
from multitalk.fit_flame.parameters.motion import Motion
from multitalk.flows.building.fitting import FaceToFit, Fitter
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.building.stages import PERSON_NETWORKS, STAGES
from multitalk.flows.modelling.detectors import face_detector
from multitalk.flows.modelling.sync_predictor import load_predictor
from multitalk.ground.wav import read_wav
from multitalk.manifests.clip_row import ClipRow

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PassOverFrames:
    """What one pass over a clip's frames leaves behind."""

    faces: list[tuple[DetectedFace, ...]]
    appearance: list[list[FaceAppearance]]
    cuts: list[int]
    changes: npt.NDArray[np.float64]
    """(T,) of the picture from the frame before."""
    annotated: Box
    track: FaceTrack


@dataclass(frozen=True, slots=True)
class Landmarks:
    """A clip's face as it is stored and read by later stages."""

    points: FloatArray
    """(T, N, 3) pixels of the clip, of float16's precision; NaN where not valid."""
    valid: npt.NDArray[np.bool_]
    """(T,)"""
    confidence: FloatArray | None = None
    """(T, 2) confidence, 0..1, that mouth and eyes are seen, of float16's precision; None where not measured."""


@dataclass(slots=True)
class ClipInWork:
    """A trimmed clip on its way: stages add what they find, and their columns to `row`."""

    annotation: Annotation
    row: ClipRow
    picture: Path
    """The clip's video."""
    sound: Path
    """Its 16 kHz sound."""
    stored_landmarks: Callable[[], Landmarks | None] = lambda: None
    """Reads the landmarks that an earlier build stored of this very clip."""
    frames: PassOverFrames | None = None
    landmarks: Landmarks | None = None
    tracked_anew: bool = False
    """The landmarks are not the stored ones."""
    motion: Motion | None = None
    person: DescribedPerson | None = None
    samples: npt.NDArray[np.int16] | None = None
    speech: Sequence[Interval] | None = None
    wants_words: bool = False
    """Words are to be recognised, which comes with the language in one pass."""
    language: Literal["unknown", "waits", "told"] = "unknown"
    """Whether the spoken language was told; it waits where a GPU takes all clips of a video together."""

    def motion_row(self) -> dict[str, Any]:
        """Return the clip's row of the motion file."""
        assert self.motion is not None
        seen = None if self.landmarks is None else self.landmarks.confidence
        return {"clip_id": self.annotation.clip_id, **self.motion.to_arrays(), "confidence": seen}

    def landmarks_row(self) -> dict[str, Any]:
        """Return the clip's row of the landmarks file."""
        assert self.landmarks is not None
        points, valid = self.landmarks.points, self.landmarks.valid
        confidence = self.landmarks.confidence
        return {
            "clip_id": self.annotation.clip_id,
            "landmarks": points,
            "valid": valid,
            "confidence": confidence,
        }

    def person_row(self) -> dict[str, Any]:
        """Return the clip's row of the file of persons."""
        assert self.person is not None
        return {"clip_id": self.annotation.clip_id, **asdict(self.person)}


class ClipStages:
    """Does the stages of clips. Models are loaded when first needed, and kept."""

    def __init__(self, settings: BuildSettings) -> None:
        self._settings = settings
        self._fitter = Fitter(settings)

    def do(self, stage: Stage, clip: ClipInWork) -> None:
        """Do one stage on one clip. What concerns all clips of a video has methods of its own.

        Raises
        ------
        ClipError
            The clip has no usable face, or can not be fitted.
        """
        steps: Mapping[Stage, Callable[[ClipInWork], None]] = {
            Stage.LANDMARKS: self._landmarks,
            Stage.IMAGE: self._image,
            Stage.TEXT: self._text,
            Stage.SPEECH: self._speech,
            Stage.LANGUAGE: self._language,
            Stage.TRANSCRIPT: self._transcript,
            Stage.SPEAKING: self._speaking,
            Stage.PERSONS: self._persons,
        }
        steps[stage](clip)

    def fit(self, clips: Sequence[ClipInWork]) -> list[ClipError | None]:
        """Fit the clips of a source video together: one person before one camera has one shape and focal length.

        Returns
        -------
        list
            For each clip None, or why it could not be fitted.
        """
        seen: list[FaceToFit | ClipError] = [self._face(clip) for clip in clips]
        found = iter(self._fitter.fit([face for face in seen if isinstance(face, FaceToFit)]))
        return [
            face if isinstance(face, ClipError) else _take_fit(clip, next(found))
            for clip, face in zip(clips, seen, strict=True)
        ]

    def tell_waiting_languages(self, clips: Sequence[ClipInWork]) -> None:
        """Tell the languages of clips that wait for it, where a GPU takes many at once."""
        waiting = [clip for clip in clips if clip.language == "waits"]
        if waiting:
            self._tell_language(waiting)

    def do_pooled(self, stage: Stage, clips: Sequence[ClipInWork]) -> None:
        """Do one of the stages that are done on all clips of a source video together (`POOLED_STAGES`)."""
        {Stage.SYNC: self.sync, Stage.VIDEO_LANGUAGE: self._video_language}[stage](clips)

    def _video_language(self, clips: Sequence[ClipInWork]) -> None:
        """Identify the language over all clips: of a few words Whisper is unsure, of half a minute it is not."""
        found = self._language_identifier.measure_video([self._utterance(clip) for clip in clips])
        for clip in clips:
            clip.row.take(found)

    def sync(self, clips: Sequence[ClipInWork]) -> None:
        """Measure sync over all clips of a source video: one is often too short to tell."""
        features = []
        for clip in clips:
            features.append(sync_clip(self._points(clip).points, self._samples(clip), self._intervals(clip)))
            clip.samples = None  # the sounds of a long video's clips are not kept in memory together
            if not clip.tracked_anew:
                clip.landmarks = None  # nor are landmarks that can be read again
        if features:
            video = measure_sync(features, self._sync_predictor)
            for clip, metrics in zip(clips, video.clips, strict=True):
                clip.row.take(metrics)
                clip.row.take(video.video)

    def timed_words(self, clip: ClipInWork) -> list[TimedWord]:
        """When each recognised word of a clip is spoken, seconds of the clip."""
        text = clip.row.recognised_transcript or ""
        return self._language_identifier.timed_words(self._samples(clip), clip.annotation.language, text)

    def _landmarks(self, clip: ClipInWork) -> None:
        seen = self._frames(clip)
        track = seen.track
        # What is fitted is what is stored, to the bit: a fit from the stored landmarks must give the same motion.
        points = track.landmarks.astype(np.float16).astype(np.float32)
        trust = confidence(*chosen_of(track, seen.faces, seen.appearance))
        trust = trust.astype(np.float16).astype(np.float32)
        clip.landmarks, clip.tracked_anew = Landmarks(points, track.valid, trust), True

    def _image(self, clip: ClipInWork) -> None:
        seen = self._frames(clip)
        track = replace(seen.track, landmarks=self._points(clip).points)
        rotation = head_rotation(track.landmarks, self._canonical_vertices)
        for metrics in measure_face(
            track, seen.faces, seen.appearance, rotation, seen.annotated, seen.changes, seen.cuts
        ):
            clip.row.take(metrics)
        clip.frames = None  # of no use to the stages and clips that follow

    def _text(self, clip: ClipInWork) -> None:
        clip.row.text_near_face = self._screen_text.measure(clip.picture, self._points(clip).points)

    def _face(self, clip: ClipInWork) -> FaceToFit | ClipError:
        try:
            seen = self._points(clip)
        except Exception as error:
            return as_clip_error(error, clip.annotation.clip_id, Stage.FIT)
        trust = None if seen.confidence is None else landmark_trust(seen.points, seen.confidence)
        return FaceToFit(clip.picture, seen.points, seen.valid, clip.row.source_scale or 1.0, trust)

    def _speech(self, clip: ClipInWork) -> None:
        metrics, clip.speech = measure_speech(self._samples(clip), self._speech_detector)
        clip.row.take(metrics)

    def _language(self, clip: ClipInWork) -> None:
        if self._language_identifier.batch_size > 1:
            clip.language = "waits"
        else:
            self._tell_language([clip])

    def _transcript(self, clip: ClipInWork) -> None:
        if clip.language == "unknown":  # else the words came, or come, with the language
            self._language(clip)

    def _tell_language(self, clips: Sequence[ClipInWork]) -> None:
        said = [self._utterance(clip) for clip in clips]
        words = any(clip.wants_words for clip in clips)
        metrics = self._language_identifier.measure_all(said, transcribe=words)
        for clip, found in zip(clips, metrics, strict=True):
            _take_language(clip, found)

    def _speaking(self, clip: ClipInWork) -> None:
        assert self._active_speaker is not None
        clip.row.speaking_score = self._active_speaker.measure(
            clip.picture, self._points(clip).points, self._samples(clip)
        )

    def _persons(self, clip: ClipInWork) -> None:
        landmarks, samples = self._points(clip), self._samples(clip)
        clip.person = self._person_describer.describe(
            clip.picture, landmarks.points, landmarks.valid, samples, self._intervals(clip)
        )

    def _frames(self, clip: ClipInWork) -> PassOverFrames:
        if clip.frames is None:
            clip.frames = self._pass_over_frames(clip)
        return clip.frames

    def _pass_over_frames(self, clip: ClipInWork) -> PassOverFrames:
        bbox, row = clip.annotation.bbox.as_dict(), clip.row
        assert row.source_width is not None
        assert row.source_height is not None
        size = row.source_width, row.source_height
        annotated = box_in_clip(bbox, crop_box(bbox, *size), *size)
        faces: list[tuple[DetectedFace, ...]] = []
        appearance: list[list[FaceAppearance]] = []
        shots = ShotDetector()
        for seen in self._detector.faces(clip.picture):
            faces.append(seen.faces)
            appearance.append([face_appearance(seen.frame, face) for face in seen.faces])
            shots.add(seen.frame)
        cuts = shots.cuts()
        row.shot_changes = len(cuts)  # also told of a clip without a face
        track = choose_track(faces, annotated, self._settings.tracks, clip.annotation.clip_id)
        return PassOverFrames(faces, appearance, cuts, shots.changes(), annotated, track)

    def _points(self, clip: ClipInWork) -> Landmarks:
        if clip.landmarks is None:
            clip.landmarks = clip.stored_landmarks()
        if clip.landmarks is None:
            self._landmarks(clip)
        assert clip.landmarks is not None
        return clip.landmarks

    def _samples(self, clip: ClipInWork) -> npt.NDArray[np.int16]:
        if clip.samples is None:
            clip.samples = read_wav(clip.sound)
        return clip.samples

    def _intervals(self, clip: ClipInWork) -> Sequence[Interval]:
        if clip.speech is None:
            _, clip.speech = measure_speech(self._samples(clip), self._speech_detector)
        return clip.speech

    def _utterance(self, clip: ClipInWork) -> Utterance:
        annotation = clip.annotation
        return Utterance(
            self._samples(clip), self._intervals(clip), annotation.language, annotation.transcript
        )

    @cached_property
    def _detector(self) -> FaceDetector:
        return face_detector(self._settings.landmarks)

    @cached_property
    def _canonical_vertices(self) -> npt.NDArray[np.float64]:
        return read_canonical_mesh(require("face_landmarker")).vertices

    @cached_property
    def _screen_text(self) -> ScreenText:
        return ScreenText(require("text_detector"))

    @cached_property
    def _active_speaker(self) -> ActiveSpeaker | None:
        weights = find("lr_asd")
        return ActiveSpeaker(weights) if weights else None

    @cached_property
    def _person_describer(self) -> PersonDescriber:
        return PersonDescriber(*(require(name) for name in PERSON_NETWORKS))

    @cached_property
    def _sync_predictor(self) -> SyncPredictor:
        return load_predictor(self._settings.root) or prior_predictor()

    @cached_property
    def _speech_detector(self) -> SpeechDetector:
        return SpeechDetector(require("silero_vad"), self._settings.speech)

    @cached_property
    def _language_identifier(self) -> LanguageIdentifier:
        return LanguageIdentifier(require("whisper_base"), self._settings.language)


def _take_fit(clip: ClipInWork, found: FitResult | FitDiverged) -> ClipError | None:
    """Fill in the columns of the fit, or say what became of it."""
    if isinstance(found, FitDiverged):
        return ClipError(ErrorCode.FIT_DIVERGED, f"Clip {clip.annotation.clip_id}: {found}", Stage.FIT)
    clip.motion = found.motion
    clip.row.fit_landmark_error = found.landmark_error
    clip.row.fit_landmark_error_lips = found.landmark_error_lips
    clip.row.fit_jitter = found.jitter
    clip.row.take(worst_fit(found.motion.residual))
    clip.row.head_model = found.motion.head_model
    return None


def _take_language(clip: ClipInWork, metrics: LanguageMetrics) -> None:
    """Fill in the columns of the language, and those of the words where they were wanted."""
    wanted = {*STAGES[Stage.LANGUAGE].columns}
    if clip.wants_words:
        wanted |= {*STAGES[Stage.TRANSCRIPT].columns}
    for column in fields(metrics):
        if column.name in wanted:
            setattr(clip.row, column.name, getattr(metrics, column.name))
    clip.language = "told"

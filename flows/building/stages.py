"""The stages of a clip's way: what each reads, which columns it writes, and the fingerprint of its outcome.

A stage's fingerprint is a hash of what decides its outcome: its settings, its models, the version of its code, and
the fingerprints of the stages that it reads. A clip whose row carries the wanted fingerprint of a stage needs that
stage no more; one that was done with other settings is done again, and with it only what reads it. Devices,
threads, workers, caches and paths are in no fingerprint.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from multitalk.assets.fetch import find, version_of
from multitalk.extract.errors import Stage
from multitalk.filters.image import FaceMetrics
from multitalk.filters.language import VideoLanguageMetrics
from multitalk.filters.speech import SpeechMetrics
from multitalk.filters.sync.prior import VERSION as PRIOR_VERSION
from multitalk.filters.sync.score import SyncMetrics, VideoSyncMetrics
from multitalk.filters.worst_frames import WorstFit, WorstFrames
from multitalk.flows.building.fitting import regressor_version
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.modelling.head_models import head_model_version
from multitalk.flows.modelling.sync_predictor import PREDICTOR, predictor_version
from multitalk.ground.outcome import digest, outcome


@dataclass(frozen=True, slots=True)
class StageRules:
    """What is fixed about a stage."""

    reads: tuple[Stage, ...]
    """The stages whose outcome it reads."""
    columns: tuple[str, ...]
    """The columns of the manifest that it writes."""
    version: int = 1
    """Raised whenever the same settings would give another outcome."""


def _columns(metrics: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(metrics))


STAGES: Mapping[Stage, StageRules] = {
    Stage.SOURCE: StageRules(
        reads=(),
        columns=("source_url", "source_width", "source_height", "source_fps", "source_audio_language"),
    ),
    Stage.TRIM: StageRules(
        reads=(Stage.SOURCE,),
        columns=(
            *("clip_path", "audio_path", "frame_count", "duration_sec", "source_scale"),
            *("clip_sha256", "audio_xxh3"),
        ),
    ),
    Stage.LANDMARKS: StageRules(reads=(Stage.TRIM,), columns=("landmarks_xxh3",), version=3),
    Stage.IMAGE: StageRules(
        reads=(Stage.LANDMARKS,), columns=_columns(FaceMetrics) + _columns(WorstFrames), version=3
    ),
    Stage.TEXT: StageRules(reads=(Stage.LANDMARKS,), columns=("text_near_face",)),
    Stage.FIT: StageRules(
        reads=(Stage.LANDMARKS,),
        columns=(
            *("fit_landmark_error", "fit_landmark_error_lips", "fit_jitter"),
            *_columns(WorstFit),
            *("head_model", "motion_path", "motion_xxh3"),
        ),
        version=2,
    ),
    Stage.SPEECH: StageRules(reads=(Stage.TRIM,), columns=_columns(SpeechMetrics)),
    Stage.LANGUAGE: StageRules(
        reads=(Stage.SPEECH,),
        columns=(
            "detected_language",
            "detected_language_probability",
            "annotated_language_probability",
        ),
    ),
    Stage.TRANSCRIPT: StageRules(
        reads=(Stage.LANGUAGE,),
        columns=("recognised_transcript", "transcript_cer", "transcript_coverage", "words"),
        version=2,
    ),
    Stage.SPEAKING: StageRules(reads=(Stage.LANDMARKS,), columns=("speaking_score",)),
    Stage.PERSONS: StageRules(reads=(Stage.LANDMARKS, Stage.SPEECH), columns=("persons_xxh3",)),
    # With the language of single clips, whose settings are its own, too.
    Stage.VIDEO_LANGUAGE: StageRules(
        reads=(Stage.SPEECH, Stage.LANGUAGE), columns=_columns(VideoLanguageMetrics)
    ),
    Stage.SYNC: StageRules(
        reads=(Stage.LANDMARKS, Stage.SPEECH),
        columns=(*_columns(SyncMetrics), *_columns(VideoSyncMetrics)),
        version=2,
    ),
}
"""Every stage that a clip can go through, in the order in which they are done."""

POOLED_STAGES = (Stage.VIDEO_LANGUAGE, Stage.SYNC)
"""Those that are done on all clips of a source video together, when all clips have the others behind them."""


PERSON_NETWORKS = ("face_descriptor", "voice_encoder")
"""Model files that describe persons."""


def tells_persons_apart() -> bool:
    """Whether the model files that describe persons are on this machine."""
    return all(find(name) is not None for name in PERSON_NETWORKS)


def downstream(stages: set[Stage]) -> set[Stage]:
    """Return `stages` and all that read them, by way of others too."""
    found = set(stages)
    for stage, rules in STAGES.items():  # in order: what a stage reads stands before it
        if found.intersection(rules.reads):
            found.add(stage)
    return found


def stage_fingerprints(settings: BuildSettings) -> dict[Stage, str]:
    """Return the fingerprint of each stage that a build with these settings does.

    Raises
    ------
    AssetError
        A model file that a stage needs is not here, or is not the published one.
    HeadModelError
        The head model's file can not be used.
    """
    own = _own(settings)
    found: dict[Stage, str] = {}
    for stage in STAGES:
        if stage in own:
            found[stage] = stage_fingerprint(stage, own[stage], found)
    return found


def stage_fingerprint(stage: Stage, own: Mapping[str, Any], read: Mapping[Stage, str | None]) -> str:
    """Return a stage's fingerprint, of what decides it beside what it reads, and of the fingerprints of that."""
    rules = STAGES[stage]
    return digest([str(stage), rules.version, own, [read[before] for before in rules.reads]])


def configuration_fingerprint(stages: Mapping[Stage, str]) -> str:
    """Return one fingerprint for the whole way: the manifest's column `config_fingerprint`."""
    return digest({str(stage): value for stage, value in stages.items()})


def _own(settings: BuildSettings) -> dict[Stage, dict[str, Any]]:
    """Return what decides a stage's outcome beside what it reads, for the stages that the settings want."""
    language = outcome(settings.language)
    transcript_settings = (
        "transcribe",
        "word_times",
        "beam_size",
        "max_tokens_per_sec",
        "min_transcribe_probability",
    )
    own: dict[Stage, dict[str, Any]] = {
        Stage.SOURCE: outcome(settings.download),
        Stage.TRIM: outcome(settings.trim),
        Stage.LANDMARKS: {
            "landmarks": _of_backend(outcome(settings.landmarks)),
            "tracks": outcome(settings.tracks),
            "models": _detector_models(settings),
        },
        Stage.IMAGE: {"mesh": version_of("face_landmarker")},
        Stage.FIT: {
            "fit": outcome(settings.fit),
            "head_model": head_model_version(settings.head_model, settings.landmarks),
        },
        Stage.SPEECH: {"speech": outcome(settings.speech), "model": version_of("silero_vad")},
        Stage.LANGUAGE: {
            "language": {k: v for k, v in language.items() if k not in transcript_settings},
            "model": version_of("whisper_base"),
        },
        Stage.VIDEO_LANGUAGE: {"model": version_of("whisper_base")},
        Stage.SYNC: sync_settings(_predictor(settings)),
    }
    if settings.regressor is not None:
        own[Stage.FIT] |= {
            "regressor": outcome(settings.regressor),
            "weights": regressor_version(settings.regressor),
        }
    if settings.language.transcribe:
        own[Stage.TRANSCRIPT] = {k: v for k, v in language.items() if k in transcript_settings}
    if settings.speaking_score and find("lr_asd") is not None:
        own[Stage.SPEAKING] = {"model": version_of("lr_asd")}
    if settings.screen_text and find("text_detector") is not None:
        own[Stage.TEXT] = {"model": version_of("text_detector")}
    if settings.persons and tells_persons_apart():
        own[Stage.PERSONS] = {"models": [version_of(name) for name in PERSON_NETWORKS]}
    return own


def sync_settings(predictor: str | None) -> dict[str, Any]:
    """Return what decides the stage `sync` beside what it reads: the version of the learned predictor, if any."""
    return {"predictor": predictor} if predictor else {"prior": PRIOR_VERSION}


def _of_backend(landmarks: dict[str, Any]) -> dict[str, Any]:
    """Leave out what only the backend that was not chosen goes by."""
    if landmarks["backend"] == "mediapipe":
        return {name: value for name, value in landmarks.items() if name != "face_alignment"}
    return {"backend": landmarks["backend"], "face_alignment": landmarks["face_alignment"]}


def _detector_models(settings: BuildSettings) -> list[str]:
    if settings.landmarks.backend == "mediapipe":
        return [version_of("face_landmarker")]
    return [version_of("face_alignment"), version_of(settings.landmarks.face_alignment.detector)]


def _predictor(settings: BuildSettings) -> str | None:
    """Hash of the sync predictor that was learned from the dataset; None where none was."""
    place = settings.root / PREDICTOR
    return predictor_version(place) if place.exists() else None

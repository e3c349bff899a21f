"""Rows of a clip in Python: a typed field for every column of the manifest, of motion and of landmarks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import pyarrow as pa

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Bool, Float16, Float32


class MotionRow(TypedDict):
    """Motion of a clip of T frames as it is stored; `multitalk.manifests.schema` says what each column means."""

    clip_id: str
    head_model: str
    fps: float
    shape: Float32[Array, " identity"]
    expression: Float32[Array, "frames expression"]
    jaw: Float32[Array, "frames 3"]
    eyes: Float32[Array, "frames 6"]
    rotation: Float32[Array, "frames 3"]
    translation: Float32[Array, "frames 3"]
    camera: Float32[Array, " 3"]
    valid: Bool[Array, " frames"]
    residual: Float32[Array, " frames"]
    correction: NotRequired[Float32[Array, "frames correction"] | None]
    confidence: NotRequired[Float32[Array, "frames regions"] | None]


class LandmarksRow(TypedDict):
    """Landmarks of a clip of T frames, in its pixels."""

    clip_id: str
    landmarks: Float16[Array, "frames points 3"]
    valid: Bool[Array, " frames"]
    confidence: NotRequired[Float16[Array, "frames regions"] | None]


@dataclass(slots=True)
class ClipRow:
    """What is known of a clip; stages fill it field by field. `multitalk.manifests.schema` says what each field means.

    None stands for what was not measured, or does not apply.
    """

    clip_id: str
    video_id: str
    language: str
    source_url: str | None = None

    start_sec: float | None = None
    end_sec: float | None = None
    start_frame: int | None = None
    bbox: dict[str, float] | None = None
    transcript: str | None = None

    status: str = "ok"
    error_code: str | None = None
    error_message: str | None = None
    stage: str | None = None
    attempts: int = 0

    clip_path: str | None = None
    audio_path: str | None = None
    frame_count: int | None = None
    duration_sec: float | None = None
    source_width: int | None = None
    source_height: int | None = None
    source_fps: float | None = None
    source_scale: float | None = None
    source_audio_language: str | None = None
    clip_sha256: str | None = None
    audio_xxh3: str | None = None
    landmarks_xxh3: str | None = None
    persons_xxh3: str | None = None

    face_coverage: float | None = None
    face_count_max: int | None = None
    face_size_px: float | None = None
    yaw_deg: list[float] | None = None
    pitch_deg: list[float] | None = None
    roll_deg: list[float] | None = None
    sharpness: float | None = None
    brightness: float | None = None
    landmark_jitter: float | None = None
    mouth_open_range: float | None = None
    mouth_visibility: float | None = None
    eye_visibility: float | None = None
    bbox_iou: float | None = None
    shot_changes: int | None = None
    text_near_face: float | None = None
    frozen_ratio: float | None = None
    sharpness_p10: float | None = None
    face_size_px_p10: float | None = None
    unseen_run: int | None = None
    blurred_run: int | None = None
    turned_run: int | None = None
    covered_run: int | None = None

    speech_ratio: float | None = None
    loudness_dbfs: float | None = None
    clipping_ratio: float | None = None
    snr_db: float | None = None
    detected_language: str | None = None
    detected_language_probability: float | None = None
    annotated_language_probability: float | None = None
    video_language: str | None = None
    video_language_probability: float | None = None
    video_annotated_language_probability: float | None = None
    recognised_transcript: str | None = None
    transcript_cer: float | None = None
    transcript_coverage: float | None = None
    words: list[dict[str, Any]] | None = None

    av_correlation: float | None = None
    av_offset_frames: int | None = None
    av_confidence: float | None = None
    video_av_correlation: float | None = None
    video_av_offset_frames: int | None = None
    video_speech_sec: float | None = None
    video_sync: str | None = None
    speaking_score: float | None = None

    person_id: str | None = None
    voice_faces: int | None = None
    repeat_of: str | None = None

    fit_landmark_error: float | None = None
    fit_landmark_error_lips: float | None = None
    fit_jitter: float | None = None
    fit_landmark_error_p90: float | None = None
    misfit_run: int | None = None
    head_model: str | None = None
    motion_path: str | None = None
    motion_xxh3: str | None = None

    last_try_at: datetime | None = None
    last_try_stage: str | None = None
    last_try_error_code: str | None = None
    last_try_error_message: str | None = None
    last_try_fingerprint: str | None = None

    config_fingerprint: str | None = None
    stage_fingerprints: dict[str, str | None] | None = None
    tool_versions: dict[str, str] | None = None
    created_at: datetime | None = None

    accepted: bool | None = None
    rejected_by: list[str] | None = None

    def take(self, metrics: object) -> None:
        """Set every field of a dataclass of metrics, whose names are columns.

        Raises
        ------
        AttributeError
            When there is no column of that name.
        TypeError
            When `metrics` is no dataclass.
        """
        for field in fields(metrics):  # type: ignore[arg-type]
            setattr(self, field.name, getattr(metrics, field.name))

    def to_mapping(self) -> dict[str, Any]:
        """Return the columns by name, without copying what they hold."""
        return {name: getattr(self, name) for name in COLUMNS}

    @classmethod
    def from_mapping(cls, row: Mapping[str, Any]) -> ClipRow:
        """Make a row of columns by name.

        Raises
        ------
        ValueError
            When there is no column of a name, or the clip, its video or language is not told.
        """
        unknown = row.keys() - set(COLUMNS)
        if unknown:
            raise ValueError(f"no such column: {', '.join(sorted(unknown))}")
        missing = [name for name in ("clip_id", "video_id", "language") if row.get(name) is None]
        if missing:
            raise ValueError(f"column {missing[0]} of clip {row.get('clip_id')!r} is missing")
        return cls(**row)

    @classmethod
    def from_arrow(cls, table: pa.Table) -> list[ClipRow]:
        """Make rows of a manifest table with all columns."""
        columns = {name: table[name].to_pylist() for name in COLUMNS}
        columns["attempts"] = [count or 0 for count in columns["attempts"]]
        columns["tool_versions"] = [
            None if entries is None else {entry["key"]: entry["value"] for entry in entries}
            for entries in columns["tool_versions"]
        ]
        return [cls(*values) for values in zip(*columns.values(), strict=True)]


COLUMNS = tuple(field.name for field in fields(ClipRow))
"""The manifest's columns in their order."""

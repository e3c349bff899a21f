"""Metrics of a clip's picture: how well, how large, how often and from which side the face is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from multitalk.extract.faces.landmarks import DetectedFace
from multitalk.extract.faces.tracks import Box, FaceTrack
from multitalk.filters.appearance import FaceAppearance, face_appearance
from multitalk.filters.continuity import frozen_ratio, jump_cuts, movement
from multitalk.filters.pose import head_angles
from multitalk.filters.visibility import SEEN, confidence
from multitalk.filters.worst_frames import WorstFrames, worst_frames
from multitalk.ground.face_layout import distance, layout_of, overlap

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float, Float32

__all__ = ["FaceAppearance", "FaceMetrics", "face_appearance", "landmark_jitter", "measure_face"]

FloatArray = npt.NDArray[np.float32]

PERCENTILES = (5, 50, 95)

# MediaPipe's numbers, as everywhere (`multitalk.ground.face_layout`).
_EYES = (33, 263)  # outer corners
_INNER_LIPS = (13, 14)
# Points on bone, which do not move with expression: brow ridge, nose bridge, corners of the eyes.
_STABLE = (9, 8, 168, 6, 197, 195, 33, 133, 362, 263)


@dataclass(frozen=True, slots=True)
class FaceMetrics:
    """The manifest's face metrics; field names are column names."""

    face_coverage: float
    """Share of frames in which the face was seen, 0..1."""
    face_count_max: int
    """Most faces that at least 2% of the frames, and three, show."""
    face_size_px: float
    """Median distance of the outer eye corners in the clip, pixels."""
    yaw_deg: list[float]
    """5th, 50th, 95th percentile, degrees; positive when the head turns to its left (right in the picture)."""
    pitch_deg: list[float]
    """The same; positive when the head looks up."""
    roll_deg: list[float]
    """The same; positive when the head tilts to its right shoulder (counter-clockwise in the picture)."""
    sharpness: float
    """0..1, median over the frames, whatever the face's size; blur lowers it, also the blur of enlarging."""
    brightness: float
    """Median over the frames, 0..1."""
    landmark_jitter: float
    """Root mean square second difference of points on bone, head motion taken out, of inter-ocular distance."""
    mouth_open_range: float
    """95th less 5th percentile of the gap between the inner lips, of inter-ocular distance."""
    mouth_visibility: float
    """Share of the frames with the face, 0..1, in which nothing covers the mouth."""
    eye_visibility: float
    """The same of the eyes."""
    bbox_iou: float
    """Median overlap (intersection over union) of the landmarks' box and the annotated one, 0..1."""
    shot_changes: int
    """Cuts inside the clip, and jump cuts."""
    frozen_ratio: float
    """Share of the frames, 0..1, in stretches of a fifth of a second or more through which nothing moves."""


def measure_face(
    track: FaceTrack,
    faces: Sequence[Sequence[DetectedFace]],
    appearance: Sequence[Sequence[FaceAppearance]],
    rotation: Float32[Array, "frames 3"],
    annotated: Box,
    changes: Float[Array, " frames"],
    cuts: Sequence[int] = (),
) -> tuple[FaceMetrics, WorstFrames]:
    """Measure the clip's face.

    Parameters
    ----------
    track
        The clip's face over T frames.
    faces, appearance
        All faces of each frame and what they look like.
    rotation
        (T, 3) axis-angle of the head; zero faces the camera (`multitalk.filters.pose.head_rotation`).
    annotated
        (4,) annotated box in the clip, pixels.
    changes
        (T,) how much the picture changes from the frame before, 0..1 of full scale.
    cuts
        First frames of the shots after the first.
    """
    seen = np.flatnonzero(track.face_index >= 0).tolist()
    chosen = [appearance[frame][track.face_index[frame]] for frame in seen]
    points = track.landmarks[track.valid]
    size = float(np.median(distance(points, _EYES)))
    gap = distance(points, _INNER_LIPS) / size
    low, high = np.percentile(gap, (5, 95))
    angles = _angles(rotation, track.valid)
    yaw, pitch, roll = angles[track.valid].T
    exact = np.full_like(track.landmarks, np.nan)
    exact[seen] = [faces[frame][track.face_index[frame]].points for frame in seen]
    moved = movement(exact)
    found = {cut for cut in jump_cuts(moved, changes) if all(abs(cut - other) > 2 for other in cuts)}
    sharp = np.full(len(faces), np.nan)
    sharp[seen] = [face.sharpness for face in chosen]
    visible = confidence(*chosen_of(track, faces, appearance)) >= SEEN
    metrics = FaceMetrics(
        face_coverage=track.coverage,
        face_count_max=int(track.face_count.max()),
        face_size_px=size,
        yaw_deg=_percentiles(yaw),
        pitch_deg=_percentiles(pitch),
        roll_deg=_percentiles(roll),
        sharpness=float(np.median(sharp[seen])),
        brightness=float(np.median([face.brightness for face in chosen])),
        landmark_jitter=landmark_jitter(track.landmarks, size),
        mouth_open_range=float(high - low),
        mouth_visibility=float(visible[seen, 0].mean()),
        eye_visibility=float(visible[seen, 1].mean()),
        bbox_iou=float(np.median([overlap(faces[f][track.face_index[f]].box, annotated) for f in seen])),
        shot_changes=len(cuts) + len(found),
        frozen_ratio=frozen_ratio(moved),
    )
    return metrics, worst_frames(track.landmarks, angles, sharp, ~visible[:, 0])


def chosen_of(
    track: FaceTrack,
    faces: Sequence[Sequence[DetectedFace]],
    appearance: Sequence[Sequence[FaceAppearance]],
) -> tuple[list[DetectedFace | None], list[FaceAppearance | None]]:
    """Take the clip's face and what it looks like out of all faces of each frame; None where it was not seen."""
    chosen = track.face_index.tolist()
    return (
        [seen[index] if index >= 0 else None for seen, index in zip(faces, chosen, strict=True)],
        [looks[index] if index >= 0 else None for looks, index in zip(appearance, chosen, strict=True)],
    )


def landmark_jitter(landmarks: FloatArray, size: float) -> float:
    """Root mean square second difference of points on bone after each frame is laid over the mean, over `size`.

    Parameters
    ----------
    landmarks
        (T, N, 3) pixels, NaN where not valid; frames without two valid neighbours are left out.
    size
        Inter-ocular distance in pixels.
    """
    points = landmarks[:, layout_of(landmarks).rows(_STABLE), :2].astype(np.float64)
    points = points[..., 0] + 1j * points[..., 1]
    valid = np.isfinite(points).all(axis=1)
    if not valid.any():
        return 0.0
    centred = points[valid] - points[valid].mean(axis=1, keepdims=True)
    mean = centred.mean(axis=0)
    # Least-squares similarity in the plane: a complex factor, turning and scaling each frame onto the mean.
    factor = (centred.conj() * mean).sum(axis=1) / (np.abs(centred) ** 2).sum(axis=1)
    aligned = np.full_like(points, np.nan)
    aligned[valid] = centred * factor[:, None]
    second = aligned[2:] - 2 * aligned[1:-1] + aligned[:-2]
    second = second[np.isfinite(second).all(axis=1)]
    return float(np.sqrt((np.abs(second) ** 2).mean())) / size if len(second) else 0.0


def _angles(rotation: FloatArray, valid: npt.NDArray[np.bool_]) -> FloatArray:
    """Yaw, pitch and roll (T, 3) in degrees, NaN where not valid."""
    angles = np.full((len(rotation), 3), np.nan, np.float32)
    angles[valid] = head_angles(rotation[valid])
    return angles


def _percentiles(values: FloatArray) -> list[float]:
    return [float(value) for value in np.percentile(values, PERCENTILES)]

"""Faces followed through a clip, and the one among them that the annotation means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from multitalk.extract.crop import CropBox
from multitalk.extract.errors import ClipError, ErrorCode, Stage
from multitalk.extract.faces.landmarks import DetectedFace
from multitalk.ground.face_layout import distance, layout_of, overlap
from multitalk.ground.outcome import OUTCOME
from multitalk.ground.units import CLIP_SIDE

FloatArray = npt.NDArray[np.float32]
Box = npt.NDArray[np.float32]
"""(4,) left, top, right, bottom in pixels of the clip."""


# MediaPipe's numbers, as everywhere: points on bone (brow ridge, bridge of the nose, corners of the eyes).
_BONE = (9, 8, 168, 6, 197, 195, 33, 133, 362, 263)
_EYES = (33, 263)  # outer corners


class TrackSettings(BaseModel):
    """How a clip's face is chosen and followed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_gap: Annotated[int, OUTCOME] = Field(
        default=3, ge=0, description="Frames without the face that are interpolated; longer gaps stay gaps"
    )
    min_coverage: Annotated[float, OUTCOME] = Field(
        default=0.5, ge=0, le=1, description="Share of frames that must show the face, else the clip has none"
    )
    min_overlap: Annotated[float, OUTCOME] = Field(
        default=0.3, gt=0, le=1, description="Overlap of boxes by which a face is the one of the frame before"
    )
    max_jump: Annotated[float, OUTCOME] = Field(
        default=0.25,
        gt=0,
        description="Furthest that a face moves in a frame, in inter-ocular distances: what jumps further and back "
        "is no face",
    )
    max_size_jump: Annotated[float, OUTCOME] = Field(
        default=0.2,
        gt=0,
        description="Furthest that its size changes in a frame, as a share, likewise; 0.09 is the most in real ones",
    )
    min_other_size: Annotated[float, OUTCOME] = Field(
        default=0.25, ge=0, le=1, description="Size relative to the clip's face from which another one counts"
    )
    min_other_frames: Annotated[int, OUTCOME] = Field(
        default=10,
        ge=1,
        description="Frames that another face must last to count; half of a shorter clip will do",
    )


@dataclass(frozen=True, slots=True)
class FaceTrack:
    """The clip's face over its T frames."""

    landmarks: FloatArray
    """(T, N, 3) pixels of the clip; NaN where not valid. N tells the layout (`multitalk.ground.face_layout`)."""
    valid: npt.NDArray[np.bool_]
    """(T,) the face was seen, or lies in a short gap that was interpolated; not where it is uncertain or jumps."""
    interpolated: npt.NDArray[np.bool_]
    """(T,) valid, but not seen."""
    face_count: npt.NDArray[np.int32]
    """(T,) faces in the frame that count: not much smaller than the clip's face, lasting, none twice."""
    face_index: npt.NDArray[np.int32]
    """(T,) which of the frame's faces it is; -1 where it was not seen."""

    @property
    def coverage(self) -> float:
        """Share of frames in which the face was seen, 0..1."""
        return float(np.mean(self.face_index >= 0)) if len(self.face_index) else 0.0


def box_in_clip(bbox: Mapping[str, float], crop: CropBox, source_width: int, source_height: int) -> Box:
    """Where the annotated box lies in the clip.

    Parameters
    ----------
    bbox
        ``top``, ``bottom``, ``left``, ``right`` as shares (0..1) of the source frame.
    crop
        The square of the source frame that became the clip, in pixels.
    source_width, source_height
        Size of the source frame in pixels.
    """
    scale = CLIP_SIDE / crop.width
    left, right = ((bbox[side] * source_width - crop.x) * scale for side in ("left", "right"))
    top, bottom = ((bbox[side] * source_height - crop.y) * scale for side in ("top", "bottom"))
    return np.asarray([left, top, right, bottom], np.float32).clip(0, CLIP_SIDE)


def follow(faces: Sequence[Sequence[DetectedFace]], settings: TrackSettings) -> list[dict[int, int]]:
    """Link the faces of neighbouring frames into tracks, the best overlap first.

    A track ends when its face is not seen for more than `max_gap` frames; what comes later is a new one.

    Returns
    -------
    list of dict
        One for every track: frame to the index of its face in that frame.
    """
    tracks: list[dict[int, int]] = []
    last_box: list[Box] = []
    for frame, seen in enumerate(faces):
        boxes = [face.box for face in seen]
        live = [t for t, track in enumerate(tracks) if frame - next(reversed(track)) <= settings.max_gap + 1]
        pairs = sorted(
            ((overlap(last_box[t], box), t, i) for t in live for i, box in enumerate(boxes)), reverse=True
        )
        taken_tracks: set[int] = set()
        taken_faces: set[int] = set()
        for score, t, i in pairs:
            if score >= settings.min_overlap and t not in taken_tracks and i not in taken_faces:
                tracks[t][frame], last_box[t] = i, boxes[i]
                taken_tracks.add(t)
                taken_faces.add(i)
        for i, box in enumerate(boxes):
            if i not in taken_faces:
                tracks.append({frame: i})
                last_box.append(box)
    return tracks


def choose_track(
    faces: Sequence[Sequence[DetectedFace]], annotated: Box, settings: TrackSettings, clip_id: str
) -> FaceTrack:
    """Choose the face that the annotated box means and follow it through the clip.

    Of all tracks the one is chosen whose faces overlap the box most, summed over the frames. Tracks before and
    after it that touch the place where it was last seen, at its size, are the same face, lost for a while.

    Parameters
    ----------
    faces
        The faces of each of T frames.
    annotated
        The annotated box in the clip, from `box_in_clip`.
    clip_id
        For messages.

    Raises
    ------
    ClipError
        ``no_face``: no face was found, or in too few frames.
    """
    tracks = follow(faces, settings)
    index = np.full(len(faces), -1, np.int32)
    if tracks:
        _join(index, faces, tracks, annotated)
    refused = _jumps(faces, index, settings)
    seen_at = np.flatnonzero(index >= 0).tolist()
    refused[[f for f in seen_at if not faces[f][index[f]].certain]] = True
    index[refused] = -1
    seen = index >= 0
    if not len(seen) or seen.mean() < settings.min_coverage or not seen.any():
        raise ClipError(ErrorCode.NO_FACE, _no_face(clip_id, faces, seen, settings), Stage.LANDMARKS)
    landmarks = _points(faces, index)
    interpolated = _fill_gaps(landmarks, seen, settings.max_gap)
    interpolated &= ~refused
    landmarks[refused] = np.nan
    return FaceTrack(
        landmarks, seen | interpolated, interpolated, _count(faces, tracks, index, settings), index
    )


def _join(
    index: npt.NDArray[np.int32],
    faces: Sequence[Sequence[DetectedFace]],
    tracks: Sequence[dict[int, int]],
    annotated: Box,
) -> None:
    """Write the chosen track, and what continues it, into `index` (T,)."""
    scores = [sum(overlap(faces[f][i].box, annotated) for f, i in track.items()) for track in tracks]
    best, *others = np.argsort(scores)[::-1]
    for f, i in tracks[best].items():
        index[f] = i
    for t in others:
        if _continues(tracks[t], index, faces):
            for f, i in tracks[t].items():
                index[f] = i


def _continues(
    track: dict[int, int], index: npt.NDArray[np.int32], faces: Sequence[Sequence[DetectedFace]]
) -> bool:
    """Whether a track can be the face of `index` (T,) at other times: never beside it, near it, of its size."""
    frames = np.asarray(list(track))
    taken = np.flatnonzero(index >= 0)
    after = np.searchsorted(taken, frames).clip(max=len(taken) - 1)
    before = (after - 1).clip(min=0)
    earlier = np.abs(frames - taken[before]) <= np.abs(frames - taken[after])
    nearest = taken[np.where(earlier, before, after)]
    distance = np.abs(frames - nearest)
    if not distance.all():
        return False
    own, chosen = int(frames[distance.argmin()]), int(nearest[distance.argmin()])
    here, there = faces[own][track[own]], faces[chosen][index[chosen]]
    return overlap(here.box, there.box) > 0 and 0.5 < _size(here) / _size(there) < 2


def _jumps(
    faces: Sequence[Sequence[DetectedFace]], index: npt.NDArray[np.int32], settings: TrackSettings
) -> npt.NDArray[np.bool_]:
    """Frames (T,), of at most `max_gap` on end, whose face of `index` (T,) leaps away and back.

    What stays where it leapt to is a cut, and no mistake.
    """
    refused = np.zeros(len(index), np.bool_)
    frames = np.flatnonzero(index >= 0)
    if len(frames) < 3:
        return refused
    points = np.stack([faces[f][index[f]].points for f in frames.tolist()])
    bone = points[:, layout_of(points).rows(_BONE), :2]
    middle = bone.mean(axis=1)
    size = np.linalg.norm(bone - middle[:, None], axis=2).mean(axis=1).clip(min=1e-3)
    eyes = np.maximum(distance(points, _EYES), np.float32(1))

    def leaps(one: int, other: int) -> bool:
        moved = float(np.linalg.norm(middle[one] - middle[other]) / max(eyes[one], eyes[other]))
        grown = abs(float(np.log(size[one] / size[other])))
        return moved > settings.max_jump or grown > settings.max_size_jump

    at = 1
    while at < len(frames) - 1:
        later = range(at + 1, min(at + settings.max_gap + 1, len(frames)))
        back = next((b for b in later if not leaps(at - 1, b)), 0) if leaps(at - 1, at) else 0
        if back:
            refused[frames[at:back]] = True
            at = back
        at += 1
    return refused


def _points(faces: Sequence[Sequence[DetectedFace]], index: npt.NDArray[np.int32]) -> FloatArray:
    """Landmarks (T, N, 3) of the faces of `index` (T,), NaN in the frames without."""
    seen = np.flatnonzero(index >= 0).tolist()
    like = faces[seen[0]][index[seen[0]]].points
    landmarks = np.full((len(faces), *like.shape), np.nan, np.float32)
    for frame in seen:
        landmarks[frame] = faces[frame][index[frame]].points
    return landmarks


def _count(
    faces: Sequence[Sequence[DetectedFace]],
    tracks: Sequence[dict[int, int]],
    index: npt.NDArray[np.int32],
    settings: TrackSettings,
) -> npt.NDArray[np.int32]:
    """Faces (T,) that count in each frame."""
    size = float(np.median([_size(faces[f][index[f]]) for f in np.flatnonzero(index >= 0).tolist()]))
    # What the detector takes for a face for a moment is a shadow or a pattern.
    enough = min(settings.min_other_frames, -(-len(faces) // 2))
    lasting = {(f, i) for track in tracks if len(track) >= enough for f, i in track.items()}
    counts = np.zeros(len(faces), np.int32)
    for frame, seen in enumerate(faces):
        kept: list[Box] = []
        for i, face in enumerate(seen):
            other = i != index[frame]
            if other and ((frame, i) not in lasting or _size(face) < settings.min_other_size * size):
                continue
            # The detector now and then reports one face twice.
            if all(overlap(face.box, box) < 0.5 for box in kept):
                kept.append(face.box)
        counts[frame] = len(kept)
    return counts


def _size(face: DetectedFace) -> float:
    left, top, right, bottom = face.box
    return float(max(right - left, bottom - top))


def _fill_gaps(landmarks: FloatArray, seen: npt.NDArray[np.bool_], max_gap: int) -> npt.NDArray[np.bool_]:
    """Interpolate gaps of at most `max_gap` frames between seen ones, in place; returns where (T,)."""
    filled = np.zeros(len(seen), np.bool_)
    frames = np.flatnonzero(seen)
    for before, after in pairwise(frames.tolist()):
        if 1 < after - before <= max_gap + 1:
            inside = np.arange(before + 1, after)
            share = ((inside - before) / (after - before)).astype(np.float32)[:, None, None]
            landmarks[inside] = (1 - share) * landmarks[before] + share * landmarks[after]
            filled[inside] = True
    return filled


def _no_face(
    clip_id: str,
    faces: Sequence[Sequence[DetectedFace]],
    seen: npt.NDArray[np.bool_],
    settings: TrackSettings,
) -> str:
    if not any(faces):
        return (
            f"Clip {clip_id}: no face in any of its {len(faces)} frames. A face must fill about a sixth of the "
            "annotated box to be found; check the box."
        )
    return (
        f"Clip {clip_id}: the face in the annotated box is seen in {int(seen.sum())} of {len(faces)} frames, "
        f"fewer than {settings.min_coverage:.0%} (tracks.min_coverage)."
    )

"""Where clips may lie in a raw video: from faces, shots and speech to intervals with a box.

Nothing in here looks at a picture or hears a sound. What comes out is a candidate: whether it makes a good
clip is measured on the clip itself, by the same stages as any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from multitalk.extract.annotations import BoundingBox
from multitalk.extract.crop import crop_box
from multitalk.extract.faces.tracks import Box
from multitalk.ground.face_layout import overlap
from multitalk.ground.outcome import OUTCOME
from multitalk.ground.units import FPS

_SAME_FACE = 0.3  # overlap of a face's boxes in two frames looked at a fifth of a second apart
_BOX_DIGITS = 4


class CandidateSettings(BaseModel):
    """Which intervals of a raw video are looked at as clips."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_clip_sec: Annotated[float, OUTCOME] = Field(
        default=2.0, ge=2 / FPS, description="Shortest clip, in seconds: two frames at least."
    )
    max_clip_sec: Annotated[float, OUTCOME] = Field(
        default=12.0,
        gt=0,
        le=30,
        description="Longest clip, in seconds; Whisper times the words of 30 at most.",
    )
    max_pause_sec: Annotated[float, OUTCOME] = Field(
        default=0.8, ge=0, description="Longer pauses in speech part clips, in seconds."
    )
    margin_sec: Annotated[float, OUTCOME] = Field(
        default=0.2, ge=0, description="Silence kept before and after speech, where there is some."
    )
    min_face_px: Annotated[float, OUTCOME] = Field(
        default=110.0,
        gt=0,
        description="Smallest face, as the longer side of its landmarks' box in pixels of the source video.",
    )
    max_yaw_deg: Annotated[float, OUTCOME] = Field(
        default=35.0, gt=0, description="Furthest that a head may be turned aside."
    )
    max_pitch_deg: Annotated[float, OUTCOME] = Field(
        default=30.0, gt=0, description="Furthest that it may look up or down."
    )
    min_other_size: Annotated[float, OUTCOME] = Field(
        default=0.3,
        ge=0,
        le=1,
        description="Size relative to the largest face from which another one counts: then two are visible.",
    )
    box_scale: Annotated[float, OUTCOME] = Field(
        default=2.0,
        ge=1,
        description="Side of the clip's box in sides of the face: 2 leaves room for hair, chin and shoulders.",
    )

    @model_validator(mode="after")
    def _lengths_are_in_order(self) -> Self:
        if self.min_clip_sec >= self.max_clip_sec:
            raise ValueError(f"min_clip_sec: must be less than max_clip_sec, {self.max_clip_sec:g}")
        return self


@dataclass(frozen=True, slots=True)
class SampledFrame:
    """The faces of one frame that was looked at."""

    frame: int
    """On the grid of 25 frames a second."""
    boxes: npt.NDArray[np.float32]
    """(N, 4) left, top, right, bottom of the faces' landmarks in pixels of the source video."""
    yaw_deg: npt.NDArray[np.float32]
    """(N,)."""
    pitch_deg: npt.NDArray[np.float32]
    """(N,)."""


@dataclass(frozen=True, slots=True)
class SpeechActivity:
    """Where a video's sound holds speech."""

    intervals: Sequence[tuple[float, float]]
    """Stretches of speech in frames (25 a second), in order."""
    probability: npt.NDArray[np.float32]
    """(T,) probability of speech in each frame: long speech without a pause is parted where it is lowest."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An interval and a box that may make a clip."""

    start_frame: int
    frame_count: int
    bbox: BoundingBox


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time through which exactly one usable face is visible, in one shot."""

    start: int
    end: int
    """First frame, and the first after it."""
    sampled_frames: tuple[tuple[int, Box], ...]
    """Frames looked at, with the face's box in pixels."""


def find_candidates(
    sampled_frames: Sequence[SampledFrame],
    cuts: Sequence[int],
    frame_count: int,
    speech: SpeechActivity,
    frame_size: tuple[int, int],
    settings: CandidateSettings,
) -> list[Candidate]:
    """Find the intervals in which one large, frontal face is visible while somebody speaks.

    Parameters
    ----------
    sampled_frames
        What was seen, in the order of time; times that nobody looked at hold no clip.
    cuts
        First frames of shots.
    frame_count
        Frames of the video.
    speech
        Of the whole video.
    frame_size
        Width and height of the source video in pixels.
    """
    candidates = []
    for stretch in one_face_stretches(sampled_frames, cuts, frame_count, settings):
        for start, end in clip_intervals(stretch, speech, settings):
            inside = [box for frame, box in stretch.sampled_frames if start <= frame < end]
            bbox = clip_box(np.asarray(inside), frame_size, settings.box_scale) if inside else None
            if bbox is not None:
                candidates.append(Candidate(start, end - start, bbox))
    return candidates


def one_face_stretches(
    sampled_frames: Sequence[SampledFrame], cuts: Sequence[int], frame_count: int, settings: CandidateSettings
) -> list[Stretch]:
    """Join neighbouring sampled frames of the same single face.

    Between two sampled frames the face is taken to be there if no cut lies between them. A stretch ends at its last
    sampled frame, except where the shot or the video ends before the next one would have come.
    """
    step = min((b.frame - a.frame for a, b in pairwise(sampled_frames)), default=1)
    seen = [(sampled_frame.frame, _single_face(sampled_frame, settings)) for sampled_frame in sampled_frames]
    runs: list[list[tuple[int, Box]]] = []
    previous: tuple[int, Box] | None = None
    for frame, box in seen:
        if box is None:
            previous = None
            continue
        if previous is not None and _goes_on(previous, (frame, box), cuts, 2 * step):
            runs[-1].append((frame, box))
        else:
            runs.append([(frame, box)])
        previous = (frame, box)
    stretches = []
    for run in runs:
        first, last = run[0][0], run[-1][0]
        shot_start = max((cut for cut in cuts if cut <= first), default=0)
        shot_end = min((cut for cut in cuts if cut > last), default=frame_count)
        start = shot_start if first - shot_start < step else first
        end = shot_end if shot_end <= last + step else last + 1
        stretches.append(Stretch(start, min(end, frame_count), tuple(run)))
    return stretches


def clip_intervals(
    stretch: Stretch, speech: SpeechActivity, settings: CandidateSettings
) -> list[tuple[int, int]]:
    """Cut a stretch into clips at pauses: first frames, and the first frames after the end.

    Speech that goes on over an end of the stretch is left out up to its next pause.
    """
    whole = [(a, b) for a, b in speech.intervals if a >= stretch.start - 1 and b <= stretch.end + 1]
    chains: list[list[tuple[float, float]]] = []
    for interval in whole:
        if chains and interval[0] - chains[-1][-1][1] <= settings.max_pause_sec * FPS:
            chains[-1].append(interval)
        else:
            chains.append([interval])
    parts = [part for chain in chains for part in _parted(chain, speech, settings)]
    clips: list[tuple[int, int]] = []
    for index, part in enumerate(parts):
        before = parts[index - 1][-1][1] if index else -np.inf
        after = parts[index + 1][0][0] if index + 1 < len(parts) else np.inf
        start, end = _with_margins(part, before, after, speech, settings)
        taken = clips[-1][1] if clips else 0  # where two clips meet within a frame, it belongs to the first
        first = max(stretch.start, taken, int(np.floor(start)))
        # Whole frames around speech of just the longest clip's length may be one more than it.
        last = min(stretch.end, int(np.ceil(end)), first + int(settings.max_clip_sec * FPS))
        if settings.min_clip_sec * FPS <= last - first:
            clips.append((first, last))
    return clips


def clip_box(boxes: Box, frame_size: tuple[int, int], scale: float) -> BoundingBox | None:
    """Return a square around the boxes of a face, whose crop holds them; None where there is no room.

    Parameters
    ----------
    boxes
        (N, 4) left, top, right, bottom of the face in pixels, over the clip.
    frame_size
        Width and height of the source video in pixels.
    scale
        Side of the square in sides of the face.
    """
    width, height = frame_size
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    face = float(np.median((boxes[:, 2:] - boxes[:, :2]).max(axis=1)))
    side = min(max(scale * face, 1.2 * float((high - low).max())), width, height)
    # Moved into the frame instead of cut off by it: the crop is the shorter side's square.
    left, top = np.clip((low + high) / 2 - side / 2, 0, [width - side, height - side])
    bbox = BoundingBox(
        top=_share(top, height),
        bottom=_share(top + side, height),
        left=_share(left, width),
        right=_share(left + side, width),
    )
    crop = crop_box(bbox.as_dict(), width, height)
    inside = min(
        low[0] - crop.x, low[1] - crop.y, crop.x + crop.width - high[0], crop.y + crop.height - high[1]
    )
    # A face at the very edge of the picture is cut off by up to a tenth at most.
    return bbox if inside >= -0.1 * face else None


def _single_face(sampled_frame: SampledFrame, settings: CandidateSettings) -> Box | None:
    """Return the box of the only face that counts, if it is large and frontal enough."""
    if not len(sampled_frame.boxes):
        return None
    sizes = (sampled_frame.boxes[:, 2:] - sampled_frame.boxes[:, :2]).max(axis=1)
    largest = int(sizes.argmax())
    if np.count_nonzero(sizes >= settings.min_other_size * sizes[largest]) > 1:
        return None
    frontal = (
        abs(sampled_frame.yaw_deg[largest]) <= settings.max_yaw_deg
        and abs(sampled_frame.pitch_deg[largest]) <= settings.max_pitch_deg
    )
    return sampled_frame.boxes[largest] if frontal and sizes[largest] >= settings.min_face_px else None


def _goes_on(before: tuple[int, Box], after: tuple[int, Box], cuts: Sequence[int], longest_gap: int) -> bool:
    cut = any(before[0] < frame <= after[0] for frame in cuts)
    return not cut and after[0] - before[0] <= longest_gap and overlap(before[1], after[1]) >= _SAME_FACE


def _parted(
    chain: list[tuple[float, float]], speech: SpeechActivity, settings: CandidateSettings
) -> list[list[tuple[float, float]]]:
    """Part a chain of stretches of speech until each part is short enough for a clip."""
    parts: list[list[tuple[float, float]]] = []
    chains = [chain]  # a stack: hours of speech may be parted thousands of times
    while chains:
        first = chains.pop()
        if first[-1][1] - first[0][0] <= settings.max_clip_sec * FPS:
            parts.append(first)
        else:
            chains += reversed(_halves(first, speech, settings))
    return parts


def _halves(
    chain: list[tuple[float, float]], speech: SpeechActivity, settings: CandidateSettings
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Part a chain that is too long for a clip at its longest pause."""
    start, end = chain[0][0], chain[-1][1]
    shortest, longest = settings.min_clip_sec * FPS, settings.max_clip_sec * FPS
    pauses = [
        (after[0] - before[1], index)
        for index, (before, after) in enumerate(pairwise(chain), start=1)
        if before[1] - start >= shortest and end - after[0] >= shortest
    ]
    if pauses:
        _, index = max(pauses)
        return chain[:index], chain[index:]
    # No pause: where a voice is least heard, so that both parts make clips, or at least the first one. Both
    # bounds lie inside the chain, since a clip has two frames at least.
    first = int(start + shortest)
    last = int(end - shortest) if end - shortest >= first else int(start + longest)
    probability = speech.probability[first : last + 1]
    least = np.flatnonzero(probability == probability.min())
    quietest = first + int(least[len(least) // 2])
    left = [(a, min(b, quietest)) for a, b in chain if a < quietest]
    right = [(max(a, quietest), b) for a, b in chain if b > quietest]
    return left, right


def _with_margins(
    part: list[tuple[float, float]],
    before: float,
    after: float,
    speech: SpeechActivity,
    settings: CandidateSettings,
) -> tuple[float, float]:
    """Widen a clip into the silence around it, at most to the middle of the pause to any other speech."""
    start, end = part[0][0], part[-1][1]
    before = max([before, *(b for _, b in speech.intervals if b <= start)])
    after = min([after, *(a for a, _ in speech.intervals if a >= end)])
    room = max(0.0, settings.max_clip_sec * FPS - 1 - (end - start)) / 2
    margin = min(settings.margin_sec * FPS, room)
    return max(start - margin, (before + start) / 2), min(end + margin, (after + end) / 2)


def _share(pixels: float, length: int) -> float:
    return round(min(max(float(pixels) / length, 0.0), 1.0), _BOX_DIGITS)

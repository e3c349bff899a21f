"""The square of the source frame that becomes the clip: MultiTalk's geometry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

WIDENING = 0.02
"""How far each side of the annotated box is moved outwards, as a share of the frame's side."""


@dataclass(frozen=True, slots=True)
class CropBox:
    """A square in pixels of the source frame. `x` and `y` may end in a half, as MultiTalk's do."""

    width: float
    height: float
    x: float
    """Left edge."""
    y: float
    """Top edge."""


def crop_box(bbox: Mapping[str, float], frame_width: int, frame_height: int) -> CropBox:
    """Return the square that MultiTalk's script cuts for an annotated box.

    Each side of the box is moved outwards by `WIDENING` but not out of the frame, and rounded to
    whole pixels. The square has the box's centre and its shorter side, made even.

    ffmpeg's crop filter, given a half, rounds it to the nearest even pixel and then, for 4:2:0
    pictures, down to an even one. The numbers go to it as they are, here as in the reference, so
    that both cut the same pixels.

    Parameters
    ----------
    bbox
        ``top``, ``bottom``, ``left``, ``right`` as shares (0..1) of the frame.
    frame_width, frame_height
        The source frame's size in pixels.
    """
    left = round(max(bbox["left"] - WIDENING, 0) * frame_width)
    right = round(min(bbox["right"] + WIDENING, 1) * frame_width)
    top = round(max(bbox["top"] - WIDENING, 0) * frame_height)
    bottom = round(min(bbox["bottom"] + WIDENING, 1) * frame_height)
    side = min(right - left, bottom - top)
    side -= side % 2
    return CropBox(
        width=float(side),
        height=float(side),
        x=(left + right - side) / 2,
        y=(top + bottom - side) / 2,
    )

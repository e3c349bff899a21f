"""A talking portrait for the demo: NASA's public-domain picture of Eileen Collins with a mouth that moves.

The picture ships with scikit-image. The lower lip, chin and cheeks are warped smoothly; where the lips part,
the picture's own teeth show, and below them the dark inside of the mouth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]

FRAME_WIDTH, FRAME_HEIGHT = 1280, 720
SCALE = 3.6
"""Pixels of a frame to one of the 512x512 picture."""
HEAD_CENTRE = (222.0, 112.0)
"""Middle of the head in the picture (x, y); shown at the centre of a frame."""
FACE_BOX = (136.0, 32.0, 308.0, 204.0)
"""Left, top, right, bottom of the head with some air, in the picture."""

# Inner lip lines of the picture at these columns, corner to corner. They part because she smiles.
_COLUMNS = (204.3, 206.9, 209.9, 213.6, 218.1, 223.6, 229.0, 233.8, 237.6, 240.8, 243.7)
_UPPER_LIP = (140.0, 140.4, 140.9, 141.6, 142.6, 143.4, 143.2, 142.6, 142.2, 141.9, 141.6)
_LOWER_LIP = (140.0, 143.2, 145.7, 147.8, 149.2, 150.1, 149.9, 148.7, 146.9, 144.6, 141.6)
_SMILE_GAP = 6.7  # pixels between the lips in the picture, at the middle
_MOUTH_X, _MOUTH_Y = 224.0, 145.0
_CHIN_Y, _COLLAR_Y = 179.0, 205.0
_JAW_HALF_WIDTH = 46.0
_REGION = (178, 126, 270, 206)  # left, top, right, bottom: all that moves with the mouth
_CLOSED_RATIO, _OPEN_RATIO = 0.04, 1.9  # gap as a multiple of the smile's; lips that close are not glued
_MOUTH_INSIDE = (38.0, 14.0, 16.0)  # RGB


@dataclass(frozen=True, slots=True)
class Look:
    """What tells one demo speaker from another, so that not every clip shows the same pixels."""

    mirrored: bool = False
    brightness: float = 1.0
    """Factor on all channels."""
    warmth: float = 1.0
    """Factor on red, its inverse on blue."""
    width: float = 1.0
    """Horizontal stretch of the whole picture."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the head is in one frame."""

    shift: tuple[float, float] = (0.0, 0.0)
    """Pixels of the frame (x, y)."""
    roll_deg: float = 0.0
    zoom: float = 1.0


class Portrait:
    """Draws frames of one speaker.

    Parameters
    ----------
    look : Look
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._picture = _dressed(look)
        self._region = _Region.of(self._picture)

    def frame(self, opening: float, narrowing: float, pose: Pose) -> Image:
        """Draw one frame.

        Parameters
        ----------
        opening : float
            Distance between the lips as a share of the widest: 0 closed, 1 wide open.
        narrowing : float
            0 as broad as in the picture (a smile), 1 as narrow as for "oo".
        pose : Pose

        Returns
        -------
        ndarray, uint8 (720, 1280, 3)
            RGB.
        """
        import cv2

        left, top = (round(edge * SCALE) for edge in _REGION[:2])
        mouth = self._region.drawn(opening, narrowing)
        self._picture[top : top + mouth.shape[0], left : left + mouth.shape[1]] = mouth
        return np.asarray(
            cv2.warpAffine(
                self._picture,
                _placement(self._look, pose),
                (FRAME_WIDTH, FRAME_HEIGHT),
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
        )


@dataclass(frozen=True, slots=True)
class _Region:
    """The part of the enlarged picture that moves with the mouth; coordinates are the small picture's."""

    pixels: Image
    x: Field
    y: Field
    mouth_bump: Field
    """1 at the mouth, falling to 0 towards cheeks, nose and chin."""
    jaw: Field
    """1 at the middle of the jaw, 0 beyond its sides."""
    reach: Field
    """1 down to the chin, 0 from the collar on."""

    @classmethod
    def of(cls, picture: Image) -> _Region:
        left, top, right, bottom = (round(edge * SCALE) for edge in _REGION)
        columns = np.arange(left, right, dtype=np.float32) / np.float32(SCALE)
        rows = np.arange(top, bottom, dtype=np.float32) / np.float32(SCALE)
        x, y = np.meshgrid(columns, rows)
        jaw = 1 - _smooth_step(np.abs(x - _MOUTH_X) / _JAW_HALF_WIDTH)
        below = y - _MOUTH_Y
        bump = jaw * (1 - _smooth_step(np.where(below < 0, below / (_REGION[1] - _MOUTH_Y), below / 30)))
        reach = 1 - _smooth_step((y - _CHIN_Y) / (_COLLAR_Y - _CHIN_Y))
        return cls(picture[top:bottom, left:right].copy(), x, y, bump, jaw, reach)

    def drawn(self, opening: float, narrowing: float) -> Image:
        ratio = np.float32(_CLOSED_RATIO + (_OPEN_RATIO - _CLOSED_RATIO) * opening)
        source_x = self.x + (self.x - _MOUTH_X) * np.float32(0.34 * narrowing) * self.mouth_bump
        upper, gap = _lip_lines(source_x)
        lower_edge = upper + gap * ratio
        skin = self._sampled(source_x, self.y - self._descent(lower_edge, gap, ratio))
        # Half a pixel of the small picture is blended at the lower lip's edge: no stairs, no tear.
        cover = np.clip((lower_edge - self.y) * 2 + 0.5, 0, 1) * np.clip((self.y - upper) * 2 + 0.5, 0, 1)
        cover *= np.clip(gap * 2, 0, 1)
        parted = np.flatnonzero(cover.any(axis=1))
        rows = slice(parted[0], parted[-1] + 1)
        inside = self._inside(source_x[rows], self.y[rows], upper[rows], gap[rows], ratio)
        blended = skin[rows] + (inside - skin[rows]) * cover[rows, :, None]
        skin[rows] = np.rint(blended).astype(np.uint8)
        return skin

    def _descent(self, lower_edge: Field, gap: Field, ratio: np.float32) -> Field:
        """How far each pixel below the lips has come down (negative: up), in pixels of the small picture."""
        lip = gap * (ratio - 1)  # exactly the lip's own way, so that the edges meet
        jaw = self.jaw * (_SMILE_GAP * 0.75 * (ratio - 1))
        blend = _smooth_step((self.y - lower_edge) / (_CHIN_Y - _MOUTH_Y - 5))
        descent = (lip + (jaw - lip) * blend) * self.reach
        return np.where(self.y >= lower_edge, descent, np.float32(0))

    def _inside(self, x: Field, y: Field, upper: Field, gap: Field, ratio: np.float32) -> Field:
        """Teeth where the picture has them, darkness below; float32 RGB."""
        depth = (y - upper) / np.maximum(gap, 0.5)  # 0 at the upper lip, 1 where the picture's teeth end
        teeth = self._sampled(x, upper + gap * np.clip(depth, 0, 0.92)).astype(np.float32)
        shade = 1 - np.clip((depth - 0.72) / 0.3, 0, 1)
        shade *= np.float32(0.55 + 0.45 * min(1.0, float(ratio)))  # less light falls between close lips
        dark = np.asarray(_MOUTH_INSIDE, np.float32)
        return np.asarray(dark + (teeth - dark) * shade[..., None], np.float32)

    def _sampled(self, x: Field, y: Field) -> Image:
        import cv2

        left, top = (np.float32(round(edge * SCALE)) for edge in _REGION[:2])
        scale = np.float32(SCALE)
        return np.asarray(
            cv2.remap(
                self.pixels,
                x * scale - left,
                y * scale - top,
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
        )


def _lip_lines(x: Field) -> tuple[Field, Field]:
    """Return the upper lip's line and the smile's gap below it at columns x; beyond the corners it is 0."""
    upper, gap = _lip_tables()
    step = np.float32((len(gap) - 1) / (_COLUMNS[-1] - _COLUMNS[0]))
    index = np.clip((x - np.float32(_COLUMNS[0])) * step, 0, len(gap) - 1).astype(np.int32)
    return upper[index], gap[index]


@cache
def _lip_tables() -> tuple[Field, Field]:
    """Smooth curves through the measured points, tabulated so finely that no interpolation is needed."""
    from scipy.interpolate import PchipInterpolator

    grid = np.linspace(_COLUMNS[0], _COLUMNS[-1], 4000)
    upper = PchipInterpolator(_COLUMNS, _UPPER_LIP)(grid)
    gap = PchipInterpolator(_COLUMNS, np.subtract(_LOWER_LIP, _UPPER_LIP))(grid)
    return upper.astype(np.float32), gap.astype(np.float32)


def _smooth_step(value: Field) -> Field:
    """Rise from 0 at 0 to 1 at 1, flat at both ends."""
    clipped = np.clip(value, 0, 1)
    return clipped * clipped * (3 - 2 * clipped)


def _dressed(look: Look) -> Image:
    """Return the picture enlarged, in the look's colours."""
    import cv2
    import skimage.data

    picture: Image = skimage.data.astronaut()  # type: ignore[no-untyped-call]
    size = round(picture.shape[0] * SCALE)
    large = cv2.resize(picture, (size, size), interpolation=cv2.INTER_LANCZOS4).astype(np.float32)
    colours = np.asarray([look.warmth, 1, 1 / look.warmth], np.float32) * np.float32(look.brightness)
    return np.asarray(np.clip(large * colours, 0, 255).astype(np.uint8))


def _placement(look: Look, pose: Pose) -> npt.NDArray[np.float64]:
    """Affine map (2, 3) from the enlarged picture to the frame."""
    angle = np.deg2rad(pose.roll_deg)
    turn = pose.zoom * np.asarray([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    sign = -1.0 if look.mirrored else 1.0
    linear = turn @ np.diag([sign * look.width, 1.0])
    target = np.asarray([FRAME_WIDTH / 2, FRAME_HEIGHT / 2]) + pose.shift
    offset = target - linear @ (np.asarray(HEAD_CENTRE) * SCALE)
    return np.column_stack([linear, offset])

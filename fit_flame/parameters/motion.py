"""Motion: the head-model parameters of a clip, the unit that is stored, filtered and trained on.

Conventions, the same everywhere in the project
-----------------------------------------------
Head coordinates are FLAME's: metres, x to the head's left (right in the picture), y up, z out of the face.
The camera sits at the origin, x right, y up, looking along -z, so a head that faces the camera has rotation
zero and a translation of about (0, 0, -distance). The head turns about FLAME's root joint J, as in every FLAME
layer: a point X of the head, its face posed, lands at the pixel

    P = R (X - J) + J + t,    u = cx + focal * P_x / -P_z,    v = cy - focal * P_y / -P_z.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

_FRAME_COLUMNS = {"jaw": 3, "eyes": 6, "rotation": 3, "translation": 3}


class MotionError(ValueError):
    """The arrays of a motion do not fit each other, or belong to another head model."""


@dataclass(frozen=True, slots=True)
class Motion:
    """Motion of one clip of T frames. Every array is float32 but `valid`, which is bool."""

    head_model: str
    """Name and hash of the head model, e.g. `canonical:3f2a9c0d11e4b5a7`; no other can decode the motion."""
    fps: float
    """Frames a second."""
    shape: FloatArray
    """(S,) identity coefficients of the clip, in standard deviations."""
    expression: FloatArray
    """(T, E) expression coefficients, in standard deviations; or weights 0 to 1, where the head model names them."""
    jaw: FloatArray
    """(T, 3) axis-angle of the jaw joint, radians; opening is +x."""
    eyes: FloatArray
    """(T, 6) axis-angle of the left and of the right eyeball, radians."""
    rotation: FloatArray
    """(T, 3) axis-angle of the head, radians; zero faces the camera."""
    translation: FloatArray
    """(T, 3) metres, in camera coordinates."""
    camera: FloatArray
    """(3,) focal length, principal point x and y, in pixels of the clip."""
    valid: BoolArray
    """(T,) False where no landmarks supported the frame: its values come from the temporal prior alone."""
    residual: FloatArray
    """(T,) mean landmark error as a share of the clip's inter-ocular distance; NaN where not valid."""
    correction: FloatArray | None = None
    """(T, C) what the expressions cannot reach, in standard deviations; None where the head model has no such."""

    def __post_init__(self) -> None:
        frames = len(self.valid)
        if self.shape.ndim != 1 or self.camera.shape != (3,):
            raise MotionError(f"shape {self.shape.shape} must be (S,) and camera {self.camera.shape} (3,)")
        if self.valid.dtype != np.bool_:
            raise MotionError(f"valid must be bool, not {self.valid.dtype}")
        if self.expression.ndim != 2 or self.expression.shape[0] != frames:
            raise MotionError(f"expression {self.expression.shape} must be ({frames}, E)")
        if self.residual.shape != (frames,):
            raise MotionError(f"residual {self.residual.shape} must be ({frames},)")
        if self.correction is not None and (self.correction.ndim != 2 or len(self.correction) != frames):
            raise MotionError(f"correction {self.correction.shape} must be ({frames}, C)")
        for name, width in _FRAME_COLUMNS.items():
            if getattr(self, name).shape != (frames, width):
                raise MotionError(f"{name} {getattr(self, name).shape} must be ({frames}, {width})")

    @property
    def frame_count(self) -> int:
        """T."""
        return len(self.valid)

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic] | str | float]:
        """Every field by name, as it goes into a motion row or an npz; no `correction` where there is none."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def require_model(self, head_model: str) -> None:
        """Refuse to be decoded on another head model.

        Raises
        ------
        MotionError
            When `head_model` (name and hash) is not the one that these coefficients were fitted with.
        """
        if head_model != self.head_model:
            raise MotionError(
                f"these coefficients belong to head model {self.head_model}, not to {head_model}: "
                "load the file that they were fitted with, or fit the clip again with this one"
            )

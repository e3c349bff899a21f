"""What every regressor offers: how it wants its images cut, and its numbers for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from multitalk.fit_flame.regressors.crop import CropRule

FloatArray = npt.NDArray[np.float32]

EXPRESSIONS = 50
"""FLAME expression coefficients of every network here."""


class Code(NamedTuple):
    """A network's numbers for T images, on the image that it saw."""

    shape: Tensor
    """(T, 100 or 300) FLAME 2020 identity."""
    expression: Tensor
    """(T, 50) FLAME 2020 expression."""
    jaw: Tensor
    """(T, 3) axis-angle."""
    eyelids: Tensor
    """(T, 2) how far the left and the right eye are closed, 0 to 1."""
    rotation: Tensor
    """(T, 3) axis-angle about FLAME's root joint; zero faces the camera."""
    camera: Tensor
    """(T, 3) s, tx, ty: a point X lands at s (X + t), y up, in -1..1 of the image."""


@dataclass(frozen=True, slots=True)
class Coefficients:
    """A network's numbers for the T frames of a clip, float32."""

    shape: FloatArray
    """(T, 100 or 300) FLAME 2020 identity."""
    expression: FloatArray
    """(T, 50) FLAME 2020 expression."""
    jaw: FloatArray
    """(T, 3) axis-angle, radians."""
    eyelids: FloatArray
    """(T, 2) how far the left and the right eye are closed, 0 to 1; zero from networks without them."""
    rotation: FloatArray
    """(T, 3) axis-angle about FLAME's root joint, radians; zero faces the camera."""
    camera: FloatArray
    """(T, 3) weak perspective: pixels per metre, and the pixel (x, y) of FLAME's origin."""
    valid: npt.NDArray[np.bool_]
    """(T,) frames with landmarks; the others were cut where the face was before and after."""


class Regressor(Protocol):
    """A network from face images to FLAME coefficients."""

    crop: CropRule
    """How its images are cut."""

    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, 224, 224) RGB in 0..1 -> (B, D): all that later steps need of each image."""
        ...

    def read(self, codes: Tensor) -> Code:
        """(T, D) of consecutive frames -> their coefficients."""
        ...

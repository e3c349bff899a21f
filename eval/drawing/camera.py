"""The pinhole camera of the project's convention, shared by rendering and by the projection of landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera at the origin, x right, y up, looking along -z, before which the head stands at `position`."""

    focal: float
    """Pixels."""
    center_x: float
    """Principal point, pixels from the left."""
    center_y: float
    """Principal point, pixels from the top."""
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Added to every vertex, metres; zero for vertices that are in camera coordinates already."""

    @classmethod
    def portrait(cls, template: Float[Array, "vertices 3"], size: int, margin: float = 0.05) -> Camera:
        """Camera that sees a head without pose from the front, at a distance of one metre.

        Parameters
        ----------
        template
            (V, 3) neutral face, metres: the frame is chosen by it, so that no motion moves the camera.
        size
            Side of the square picture, pixels.
        margin
            Share of the picture left free above and below, or left and right.
        """
        low, high = template.min(axis=0), template.max(axis=0)
        middle = (low + high) / 2
        nearest = 1.0 - (high[2] - middle[2])
        focal = (1 - 2 * margin) * size * nearest / float(max(high[:2] - low[:2]))
        return cls(focal, size / 2, size / 2, (-float(middle[0]), -float(middle[1]), -1.0 - float(middle[2])))

    def place(self, vertices: Float[Array, "... 3"]) -> Float[Array, "... 3"]:
        """Vertices (..., 3) in camera coordinates."""
        return np.asarray(vertices + np.asarray(self.position, dtype=vertices.dtype))

    def project(self, vertices: Float[Array, "... 3"]) -> Float[Array, "... 2"]:
        """Pixels (..., 2) at which vertices (..., 3) land."""
        placed = self.place(vertices)
        pixels = self.focal * placed[..., :2] / -placed[..., 2:]
        return np.stack([self.center_x + pixels[..., 0], self.center_y - pixels[..., 1]], axis=-1)

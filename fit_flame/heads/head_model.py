"""The parametric head: FLAME's parametrisation, whatever file or mesh it came from.

Symbols: V vertices, F triangles, S shape and E expression coefficients, L landmarks.
Joints, always five and in this order: root, neck, jaw, left eye, right eye.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.heads.expression_rules import ExpressionRules
from multitalk.ground.landmark_layout import LANDMARK_COUNT

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

PARENTS = (-1, 0, 1, 1, 1)
ROOT, NECK, JAW, LEFT_EYE, RIGHT_EYE = range(5)


class HeadModelError(ValueError):
    """A head model's file is missing, damaged, refused, or not what its name says."""


@dataclass(frozen=True, slots=True)
class LandmarkEmbedding:
    """Where detected landmarks lie on a head model: a barycentric point of three vertices each."""

    landmarks: IntArray
    """(L,) indices into the N detected landmarks, without the irises."""
    vertices: IntArray
    """(L, 3) vertex ids."""
    barycentric: FloatArray
    """(L, 3) weights, rows sum to 1."""
    yaw: FloatArray | None = None
    """(L,) radians of yaw for which a landmark of the outline lies there; NaN, or None for all, if it stays."""
    iris_vertices: IntArray | None = None
    """(10,) vertex ids of MediaPipe's landmarks 468 to 477; None if the model has no eyeballs to follow, or the
    detector sees no irises."""
    detected: IntArray = field(default_factory=lambda: np.arange(LANDMARK_COUNT))
    """(N,) what the detector gives, in its order, by the landmarks of MediaPipe's that lie there."""


@dataclass(frozen=True, slots=True)
class HeadModel:
    """A head as template, linear bases and joints, in metres; float32 numpy arrays."""

    name: str
    """`canonical`, `anny`, or the FLAME release, e.g. `flame_2023_open`."""
    hash: str
    """16 hexadecimal digits of the SHA-256 of what the model was made from."""
    v_template: FloatArray
    """(V, 3) mean head at zero pose, metres."""
    faces: IntArray
    """(F, 3) triangles, counter-clockwise from outside."""
    shapedirs: FloatArray
    """(V, 3, S) identity directions at one standard deviation."""
    expressiondirs: FloatArray
    """(V, 3, E) expression directions at one standard deviation, or at weight 1 where there are rules."""
    posedirs: FloatArray
    """(V, 3, 36) pose correctives, per entry of the four non-root rotation matrices minus identity."""
    joint_regressor: FloatArray
    """(5, V) joints from shaped vertices."""
    skinning_weights: FloatArray
    """(V, 5) linear blend skinning, rows sum to 1."""
    embedding: LandmarkEmbedding
    """Where the detected landmarks lie on the surface."""
    rules: ExpressionRules | None = None
    """What expression weights must keep to; None: free Gaussian coefficients."""
    correctiondirs: FloatArray | None = None
    """(V, 3, C) directions of what expressions cannot reach, at one standard deviation; None: none."""
    colours: npt.NDArray[np.uint8] | None = None
    """(V, 3) RGB of the surface, where it is known."""
    uv: FloatArray | None = None
    """(U, 2) texture coordinates, v up, where they are known."""
    uv_faces: IntArray | None = None
    """(F, 3) rows of `uv` at the triangles' corners."""

    def __post_init__(self) -> None:
        v = len(self.v_template)
        wanted = {
            "v_template": (v, 3),
            "shapedirs": (v, 3, self.shape_size),
            "expressiondirs": (v, 3, self.expression_size),
            "posedirs": (v, 3, 36),
            "joint_regressor": (5, v),
            "skinning_weights": (v, 5),
        }
        if self.correctiondirs is not None:
            wanted["correctiondirs"] = (v, 3, self.correction_size)
        for name, shape in wanted.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != np.float32:
                raise HeadModelError(f"{name} is {array.dtype} {array.shape}, wanted float32 {shape}")

    @property
    def key(self) -> str:
        """Name and hash, as a motion's `head_model` carries it."""
        return f"{self.name}:{self.hash}"

    @property
    def shape_size(self) -> int:
        """S."""
        return int(self.shapedirs.shape[2])

    @property
    def expression_size(self) -> int:
        """E."""
        return int(self.expressiondirs.shape[2])

    @property
    def correction_size(self) -> int:
        """C."""
        return 0 if self.correctiondirs is None else int(self.correctiondirs.shape[2])

    @property
    def has_jaw(self) -> bool:
        """Whether a jaw joint moves anything; where it does not, the jaw is within the expressions."""
        return bool(self.skinning_weights[:, JAW].any())

"""From vertices back to coefficients: the inverse of `multitalk.fit_flame.parameters.decode`, by least squares.

For data that others stored as vertices. Every frame is solved by itself, all of them at once: the expression is
linear and is eliminated with one orthonormal basis for all frames, Gauss-Newton finds the few angles that remain
(variable projection; G. Golub, V. Pereyra, "Separable nonlinear least squares", 2003). The residual is turned
back by each vertex's skinning first, where the expression's directions are the same for every pose; so the
solution is that of ordinary least squares over the posed vertices, identity and neck left at zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.heads.head_model import HeadModel, HeadModelError
from multitalk.fit_flame.parameters.motion import Motion

if TYPE_CHECKING:
    from torch import Tensor

    from multitalk.fit_flame.parameters.decode import ForwardModel

FloatArray = npt.NDArray[np.float32]

VIRTUAL_CAMERA = (1200.0, 256.0, 256.0)
"""Focal length and principal point, pixels, of motion that no camera saw."""
VIRTUAL_DISTANCE = 1.0
"""Distance of its head, metres: a face of 0.2 m fills half of the 512 pixels."""

_ITERATIONS = 20
_NEAR = 3e-3
"""Largest step, radians, after which the derivatives are kept."""
_DIFFERENCE = 1e-3
_ENOUGH = 2e-7
"""Largest step, radians, after which a chunk of frames is solved."""
_CHUNK = 64
_EVERY = 4
"""Every so many vertices are solved for: a thousand and more, for some sixty unknowns. The error is of all."""
_EYE_CORNERS = (33, 263)


@dataclass(frozen=True, slots=True)
class Encoded:
    """Motion that was found for vertices, and how far its vertices are from them."""

    motion: Motion
    """Its `residual` is the mean distance of a frame's vertices as a share of the mean face's inter-ocular
    distance; rotation is zero and the camera a virtual one unless the head's pose was solved for."""
    error_mm: FloatArray
    """(T,) mean distance of each frame's vertices, millimetres."""


class VertexEncoder:
    """Finds the motion of vertices on one head model.

    Parameters
    ----------
    model
        The head model whose topology the vertices have.
    device
        Where to compute.
    """

    def __init__(self, model: HeadModel, device: str = "cpu") -> None:
        import torch

        from multitalk.fit_flame.parameters.decode import ForwardModel

        self._model = model
        self._all: ForwardModel = ForwardModel(model, device=device)
        self._chosen = np.arange(0, len(model.v_template), _EVERY)
        self._forward: ForwardModel = ForwardModel(model, self._chosen, device=device)
        directions = model.expressiondirs[self._chosen].reshape(-1, model.expression_size)
        basis = torch.from_numpy(directions).to(device)
        factors = torch.linalg.qr(basis.double())
        self._orthonormal = factors.Q.float()
        """(3 N, E) orthonormal directions."""
        self._mixing = factors.R
        """(E, E) their upper triangular mixture, float64."""

    def __call__(self, vertices: FloatArray, *, head_pose: bool = False) -> Encoded:
        """Encode one clip.

        Parameters
        ----------
        vertices
            (T, V, 3) metres, of any identity near the mean face's; the residual tells how near.
        head_pose
            Also solve for rotation and translation of the head, where the vertices were left with them.

        Raises
        ------
        HeadModelError
            When the vertices are not (T, V, 3) of this model, or not all finite.
        """
        import torch

        count = len(self._model.v_template)
        if vertices.ndim != 3 or vertices.shape[1:] != (count, 3) or not len(vertices):
            raise HeadModelError(f"vertices are {vertices.shape}; {self._model.name} has (T, {count}, 3)")
        if not np.isfinite(vertices).all():
            raise HeadModelError("vertices hold values that are not finite")
        parts = []
        for start in range(0, len(vertices), _CHUNK):
            target = torch.from_numpy(np.ascontiguousarray(vertices[start : start + _CHUNK], np.float32))
            parts.append(self._solve(target.to(self._orthonormal.device), head_pose=head_pose))
        expression, pose, translation, error = (
            torch.cat(columns).cpu().numpy() for columns in zip(*parts, strict=True)
        )
        return Encoded(self._motion(expression, pose, translation, error), 1000 * error)

    def _solve(self, target: Tensor, *, head_pose: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Expression (T, E), root, jaw and eye angles (T, 12), translation (T, 3) and error (T,) of T frames."""
        import torch

        every, target = target, target[:, torch.from_numpy(self._chosen)]
        frames = len(target)
        expression = target.new_zeros(frames, self._model.expression_size)
        pose = target.new_zeros(frames, 15)  # root, jaw, eyes, and the translation as the last three
        if head_pose:
            pose[:, :3], pose[:, 12:] = self._placed(target)
        free = list(range(15)) if head_pose else list(range(3, 12))
        moved = np.inf
        for _ in range(_ITERATIONS):
            if moved > _NEAR:
                turned_back = self._forward.skinning_rotation(
                    root=pose[:, :3], jaw=pose[:, 3:6], eyes=pose[:, 6:12]
                ).mT
                columns = self._columns(expression, pose, free, turned_back)
                mixed = columns @ self._orthonormal
                columns_outside = columns - mixed @ self._orthonormal.mT
                normal = (columns_outside @ columns_outside.mT).double()
                # A joint that moves no vertex of its own has no angle to find: it stays at zero.
                normal.diagonal(dim1=1, dim2=2).add_(1e-9 + 1e-9 * normal.diagonal(dim1=1, dim2=2))
            residual = _turned(turned_back, target - self._posed(expression, pose))
            within = residual @ self._orthonormal
            gradient = (columns_outside @ residual[..., None]).double()
            step = torch.linalg.solve(normal, gradient)[..., 0]
            change = within.double() - (step[:, None] @ mixed.double())[:, 0]
            pose[:, free] += step.float()
            expression += torch.linalg.solve_triangular(self._mixing, change.mT, upper=True).mT.float()
            moved = float(step.abs().max())
            if moved < _ENOUGH:
                break
        error = (every - self._posed(expression, pose, self._all)).norm(dim=-1).mean(dim=-1)
        return expression, pose[:, :12], pose[:, 12:], error

    def _columns(self, expression: Tensor, pose: Tensor, free: list[int], turned_back: Tensor) -> Tensor:
        """Differentiate the vertices by the free angles, by differences: (T, P, 3 N), turned back."""
        import torch

        here = self._posed(expression, pose)
        columns = []
        for number in free:
            beside = pose.clone()
            beside[:, number] += _DIFFERENCE
            columns.append(_turned(turned_back, (self._posed(expression, beside) - here) / _DIFFERENCE))
        return torch.stack(columns, 1)

    def _posed(self, expression: Tensor, pose: Tensor, forward: ForwardModel | None = None) -> Tensor:
        return (forward or self._forward)(
            expression.new_zeros(len(expression), 0),
            expression,
            rotation=pose[:, :3],
            jaw=pose[:, 3:6],
            eyes=pose[:, 6:12],
            translation=pose[:, 12:],
        )

    def _placed(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Rotation (T, 3) and translation (T, 3) that lay the mean face best on the vertices (Kabsch)."""
        from multitalk.fit_flame.parameters.rotation import nearest_rotation, to_axis_angle

        rest = self._forward.template
        centre, target_centre = rest.mean(0), target.mean(1)
        rotation = nearest_rotation((target - target_centre[:, None]).mT @ (rest - centre))
        # The head turns about its root joint, not about the origin: see multitalk.fit_flame.parameters.motion.
        root = self._forward.joint_template[0]
        turned_centre = (rotation @ (centre - root)[:, None])[..., 0] + root
        return to_axis_angle(rotation), target_centre - turned_centre

    def _motion(
        self, expression: FloatArray, pose: FloatArray, translation: FloatArray, error: FloatArray
    ) -> Motion:
        frames = len(error)
        return Motion(
            head_model=self._model.key,
            fps=25.0,
            shape=np.zeros(self._model.shape_size, np.float32),
            expression=expression,
            jaw=pose[:, 3:6],
            eyes=pose[:, 6:12],
            rotation=pose[:, :3],
            translation=translation - np.array([0, 0, VIRTUAL_DISTANCE], np.float32),
            camera=np.array(VIRTUAL_CAMERA, np.float32),
            valid=np.ones(frames, bool),
            residual=error / interocular_metres(self._model),
        )


def _turned(rotations: Tensor, points: Tensor) -> Tensor:
    """Rotate points (T, N, 3), each by its own matrix, and lay each frame flat: (T, 3 N)."""
    return (rotations @ points[..., None])[..., 0].flatten(1)


def interocular_metres(model: HeadModel) -> np.float32:
    """Return the distance of the mean face's outer eye corners.

    Raises
    ------
    HeadModelError
        When the model's landmark embedding lacks them.
    """
    embedding = model.embedding
    corners = [np.flatnonzero(embedding.landmarks == landmark) for landmark in _EYE_CORNERS]
    if not all(len(found) for found in corners):
        raise HeadModelError(f"the landmark embedding of {model.name} lacks the eye corners")
    ends = [
        embedding.barycentric[found[0]] @ model.v_template[embedding.vertices[found[0]]] for found in corners
    ]
    return np.float32(np.linalg.norm(ends[0] - ends[1]))

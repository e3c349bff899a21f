"""From coefficients to vertices: FLAME's forward model, on any subset of the vertices.

T. Li, T. Bolkart, M. J. Black, H. Li, J. Romero, "Learning a model of facial shape and expression from 4D
scans", 2017: shaped template, joints regressed from it, pose correctives, linear blend skinning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.heads.head_model import PARENTS, ROOT, HeadModel
from multitalk.fit_flame.parameters.motion import Motion

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from multitalk.ground.arrays import Array, Float32

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


class ForwardModel:
    """A head model in torch, evaluated on a subset of its vertices.

    Parameters
    ----------
    model
        The head model.
    vertices
        (N,) vertex ids to evaluate, all if None.
    device, dtype
        Where and how; float32 agrees with float64 to 1e-6 m.
    """

    def __init__(
        self,
        model: HeadModel,
        vertices: IntArray | None = None,
        *,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        import torch

        dtype = dtype or torch.float32
        chosen = np.arange(len(model.v_template)) if vertices is None else np.asarray(vertices)

        def tensor(array: npt.NDArray[np.generic]) -> Tensor:
            return torch.as_tensor(np.ascontiguousarray(array), device=device).to(dtype)

        regressor = model.joint_regressor.astype(np.float64)
        self.template = tensor(model.v_template[chosen])
        self.bases = tensor(np.concatenate([model.shapedirs, model.expressiondirs], axis=2)[chosen])
        self.posedirs = tensor(model.posedirs[chosen])
        self.weights = tensor(model.skinning_weights[chosen])
        self.joint_template = tensor(regressor @ model.v_template)
        self.joint_bases = tensor(
            np.concatenate(
                [
                    np.einsum("jv,vck->jck", regressor, model.shapedirs),
                    np.einsum("jv,vck->jck", regressor, model.expressiondirs),
                ],
                axis=2,
            )
        )
        self.sizes = (model.shape_size, model.expression_size)
        self._has_correctives = bool(self.posedirs.any())

    def __call__(
        self,
        shape: Tensor,
        expression: Tensor,
        *,
        rotation: Tensor | None = None,
        neck: Tensor | None = None,
        jaw: Tensor | None = None,
        eyes: Tensor | None = None,
        translation: Tensor | None = None,
    ) -> Tensor:
        """Evaluate B heads.

        Parameters
        ----------
        shape, expression
            (B, up to S) and (B, up to E) coefficients; missing ones are zero.
        rotation, neck, jaw
            (B, 3) axis-angle of the root, neck and jaw joints, zero if None.
        eyes
            (B, 6) left, right.
        translation
            (B, 3) metres, added last.

        Returns
        -------
        Tensor
            (B, N, 3) metres.
        """
        import torch

        coefficients = torch.cat([_padded(shape, self.sizes[0]), _padded(expression, self.sizes[1])], -1)
        vertices = self.template + (coefficients @ self.bases.flatten(0, 1).mT).reshape(len(shape), -1, 3)
        joints = self.joint_template + (coefficients @ self.joint_bases.flatten(0, 1).mT).reshape(-1, 5, 3)
        matrices = _local_rotations(shape, rotation, neck, jaw, eyes)
        if self._has_correctives:
            bend = (matrices[:, 1:] - torch.eye(3, dtype=shape.dtype, device=shape.device)).flatten(1)
            vertices = vertices + (bend @ self.posedirs.flatten(0, 1).mT).reshape(len(shape), -1, 3)
        world, offset = _joint_transforms(matrices, joints)
        blended = (self.weights @ world.flatten(2)).reshape(*vertices.shape, 3)
        posed: Tensor = (blended @ vertices[..., None])[..., 0] + self.weights @ offset
        return posed if translation is None else posed + translation[:, None]

    def skinning_rotation(self, *, root: Tensor, jaw: Tensor, eyes: Tensor) -> Tensor:
        """Blend of rotations (B, N, 3, 3) that each vertex takes with the angles of `__call__`."""
        matrices = _local_rotations(root, root, None, jaw, eyes)
        world, _ = _joint_transforms(matrices, root.new_zeros(len(root), 5, 3))
        blended: Tensor = (self.weights @ world.flatten(2)).reshape(len(root), -1, 3, 3)
        return blended


def _padded(coefficients: Tensor, size: int) -> Tensor:
    import torch

    if coefficients.shape[-1] > size:
        raise ValueError(f"{coefficients.shape[-1]} coefficients for a head model of {size}")
    return torch.nn.functional.pad(coefficients, (0, size - coefficients.shape[-1]))


def _local_rotations(
    like: Tensor, root: Tensor | None, neck: Tensor | None, jaw: Tensor | None, eyes: Tensor | None
) -> Tensor:
    """Rotation matrices (B, 5, 3, 3) of the joints in their order; angles that are None are zero."""
    import torch

    from multitalk.fit_flame.parameters.rotation import to_matrix

    zero = like.new_zeros(len(like), 3)
    left, right = (zero, zero) if eyes is None else (eyes[:, :3], eyes[:, 3:])
    turns = [zero if part is None else part for part in (root, neck, jaw)] + [left, right]
    return to_matrix(torch.stack(turns, 1))


def _joint_transforms(matrices: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
    """Rotation (B, 5, 3, 3) and offset (B, 5, 3) that each joint applies to a vertex of the rest pose."""
    import torch

    world: list[Tensor] = []
    position: list[Tensor] = []
    for joint, parent in enumerate(PARENTS):
        if parent < 0:
            world.append(matrices[:, joint])
            position.append(joints[:, joint])
            continue
        world.append(world[parent] @ matrices[:, joint])
        bone = joints[:, joint] - joints[:, parent]
        position.append(position[parent] + (world[parent] @ bone[..., None])[..., 0])
    rotation = torch.stack(world, 1)
    offset = torch.stack(position, 1) - (rotation @ joints[..., None])[..., 0]
    return rotation, offset


def decode(
    motion: Motion,
    model: HeadModel,
    *,
    frames: IntArray | None = None,
    vertices: IntArray | None = None,
    neutral_shape: bool = False,
    head_pose: bool = True,
) -> FloatArray:
    """Decode a motion into vertices.

    Parameters
    ----------
    motion
        The motion.
    model
        The head model that it was fitted with.
    frames
        (n,) frames to decode, all if None.
    vertices
        (N,) vertex ids, all if None.
    neutral_shape
        Leave the identity out: every clip shows the mean face.
    head_pose
        Apply the head's rotation and translation.

    Returns
    -------
    ndarray
        (n, N, 3) metres, float32; camera coordinates if `head_pose`, else head coordinates.

    Raises
    ------
    MotionError
        When the motion belongs to another head model.
    """
    import torch

    motion.require_model(model.key)
    chosen = np.arange(motion.frame_count) if frames is None else np.asarray(frames)
    forward = ForwardModel(model, vertices)

    def tensor(array: FloatArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array[chosen]))

    shape = torch.from_numpy(motion.shape * np.float32(not neutral_shape)).expand(len(chosen), -1)
    pose = (
        {"rotation": tensor(motion.rotation), "translation": tensor(motion.translation)} if head_pose else {}
    )
    decoded = forward(
        shape, tensor(motion.expression), jaw=tensor(motion.jaw), eyes=tensor(motion.eyes), **pose
    )
    result: FloatArray = decoded.numpy()
    return result


def root_joint(model: HeadModel, shape: Tensor, expression: Tensor) -> Tensor:
    """(T, 3) where the root joint lies, in float64: FLAME regresses it from the shaped, expressive head."""
    import torch

    row = model.joint_regressor[ROOT].astype(np.float64)
    parts = (model.v_template, model.shapedirs, model.expressiondirs)
    template, by_shape, by_expression = (
        torch.as_tensor(np.tensordot(row, part, axes=1), device=shape.device) for part in parts
    )
    joint: Tensor = template + by_shape @ shape.double() + expression.double() @ by_expression.mT
    return joint


def project(
    points: Float32[Array, "... points 3"], camera: Float32[Array, " 3"]
) -> Float32[Array, "... points 2"]:
    """Project camera coordinates (..., 3), metres, to pixels (..., 2); `camera` as in `Motion.camera`."""
    focal, cx, cy = camera
    depth = -points[..., 2]
    pixels: FloatArray = np.stack(
        [cx + focal * points[..., 0] / depth, cy - focal * points[..., 1] / depth], axis=-1
    ).astype(np.float32)
    return pixels


def project_vertices(
    motion: Motion, model: HeadModel, frames: IntArray | None = None
) -> Float32[Array, "frames vertices 2"]:
    """Project the fitted mesh into the clip: (n, V, 2) pixels; see `decode` for the arguments and errors."""
    return project(decode(motion, model, frames=frames), motion.camera)

"""Motion values to vertices on the device that uses them: the head model at rest, with only the face moving.

As in the reference's data, identity is the mean head's and the head does not turn: what is learnt is
expression and jaw. FLAME's forward model (Li et al. 2017) with neck, eyes and root at zero leaves one joint
to turn:

    v = x + w (R - 1) (x - j),    x = template + expression directions + pose correctives of R,

with the jaw's rotation R, its joint j and its skinning weight w at each vertex.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from multitalk.fit_flame.landmarks.lips import lip_vertices
from multitalk.fit_flame.parameters.rotation import to_matrix

if TYPE_CHECKING:
    from multitalk.fit_flame.heads.head_model import HeadModel

JAW = 2
"""The jaw's place among root, neck, jaw and eyes."""


class FaceDecoder(nn.Module):
    """Head model as a function of F = E + 3 motion values: E of expression, then the jaw's axis-angle.

    Parameters
    ----------
    head_model : HeadModel
        Any, FLAME or canonical.
    """

    template: Tensor
    expression: Tensor
    correctives: Tensor
    joint: Tensor
    joint_expression: Tensor
    weights: Tensor
    lips: Tensor

    def __init__(self, head_model: HeadModel) -> None:
        super().__init__()
        self.key = head_model.key
        template, directions = (
            torch.from_numpy(head_model.v_template),
            torch.from_numpy(head_model.expressiondirs),
        )
        regressor = torch.from_numpy(head_model.joint_regressor)[JAW]
        # Correctives come per entry of the rotations of neck, jaw and eyes: the jaw's are the second nine.
        correctives = torch.from_numpy(head_model.posedirs)[..., 9:18]
        arrays = {
            "template": template,
            "expression": directions.flatten(0, 1).T,
            "correctives": correctives.flatten(0, 1).T,
            "joint": regressor @ template,
            "joint_expression": torch.einsum("v,vce->ec", regressor, directions),
            "weights": torch.from_numpy(head_model.skinning_weights)[:, JAW, None],
            "lips": torch.from_numpy(lip_vertices(head_model)),
        }
        for name, array in arrays.items():
            self.register_buffer(name, array.contiguous(), persistent=False)

    @property
    def motion_values(self) -> int:
        """F."""
        return len(self.expression) + 3

    @property
    def vertex_values(self) -> int:
        """Three times the number of vertices."""
        return self.template.numel()

    def forward(self, motion: Tensor) -> Tensor:
        """Vertex offsets from the template (..., 3 V), metres, of motion (..., F)."""
        with torch.autocast(motion.device.type, enabled=False):
            coefficients, jaw = motion[..., :-3].float(), motion[..., -3:].float()
            turn = to_matrix(jaw) - torch.eye(3, device=motion.device)
            offsets = coefficients @ self.expression + turn.flatten(-2) @ self.correctives
            offsets = offsets.view(*motion.shape[:-1], -1, 3)
            joint = self.joint + coefficients @ self.joint_expression
            lever = self.template + offsets - joint[..., None, :]
            moved: Tensor = (offsets + self.weights * (lever @ turn.transpose(-1, -2))).flatten(-2)
            return moved

    def lip_error(self, offsets: Tensor, truth: Tensor) -> Tensor:
        """Lip Vertex Error of clips (B, T, 3 V): largest squared distance of a frame, averaged; (B,) m^2."""
        difference = (offsets - truth).float().view(*offsets.shape[:-1], -1, 3)[..., self.lips, :]
        return difference.square().sum(-1).amax(-1).mean(-1)

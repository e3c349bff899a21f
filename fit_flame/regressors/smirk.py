"""SMIRK: FLAME 2020 coefficients with eyelids from one image.

G. Retsinas et al., "3D facial expressions through analysis-by-neural-synthesis", 2024: three MobileNetV3, one
each for pose and camera, shape, and expression with eyelids and jaw.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from multitalk.fit_flame.regressors.crop import CropRule
from multitalk.fit_flame.regressors.interface import EXPRESSIONS, Code
from multitalk.fit_flame.regressors.mobilenet_v3 import MobileNetV3
from multitalk.ground import landmark_layout as layout

_POSE, _SHAPE, _FACE = 6, 300, EXPRESSIONS + 2 + 3
_LARGEST_SIDEWAYS = 0.2  # radians of the jaw


class _Head(nn.Module):
    """A network and one linear layer, which every checkpoint names after what it gives."""

    def __init__(self, size: Literal["small", "large"], name: str, out: int) -> None:
        super().__init__()
        self.encoder = MobileNetV3(size)
        self.layer_name = name
        self.add_module(name, nn.Sequential(nn.Linear(self.encoder.features, out)))

    def forward(self, image: Tensor) -> Tensor:
        numbers: Tensor = self.get_submodule(self.layer_name)(self.encoder(image))
        return numbers


class Smirk(nn.Module):
    """SMIRK's encoder, its tensors named as in `SMIRK_em1.pt` after the prefix `smirk_encoder`."""

    crop = CropRule(tuple(range(layout.LANDMARK_COUNT)), 1.4, whole_levels=True)

    def __init__(self) -> None:
        super().__init__()
        self.pose_encoder = _Head("small", "pose_cam_layers", _POSE)
        self.shape_encoder = _Head("large", "shape_layers", _SHAPE)
        self.expression_encoder = _Head("large", "expression_layers", _FACE)

    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, 224, 224) RGB in 0..1 -> (B, 361)."""
        heads = (self.pose_encoder, self.shape_encoder, self.expression_encoder)
        return torch.cat([head(images) for head in heads], -1)

    def read(self, codes: Tensor) -> Code:
        """(T, 361) -> coefficients, within the authors' bounds."""
        pose, shape, face = torch.split(codes, [_POSE, _SHAPE, _FACE], dim=-1)
        expression, eyelids, jaw = torch.split(face, [EXPRESSIONS, 2, 3], dim=-1)
        jaw = torch.cat([jaw[:, :1].relu(), jaw[:, 1:].clamp(-_LARGEST_SIDEWAYS, _LARGEST_SIDEWAYS)], -1)
        return Code(shape, expression, jaw, eyelids.clamp(0, 1), pose[:, :3], pose[:, 3:])

"""DECA: FLAME 2020 coefficients from one image.

Y. Feng, H. Feng, M. J. Black, T. Bolkart, "Learning an animatable detailed 3D face model from in-the-wild
images", 2021: a ResNet-50 and two linear layers that give 236 numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from multitalk.fit_flame.regressors.crop import LIKE_THE_68, CropRule
from multitalk.fit_flame.regressors.interface import Code
from multitalk.fit_flame.regressors.resnet import ResNet50

_PARTS = {"shape": 100, "texture": 50, "expression": 50, "pose": 6, "camera": 3, "light": 27}
CODE_SIZE = sum(_PARTS.values())


class DecaEncoder(nn.Module):
    """DECA's coarse encoder, with the tensor names of `E_flame` in `deca_model.tar`."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = ResNet50()
        self.layers = nn.Sequential(nn.Linear(2048, 1024), nn.ReLU(), nn.Linear(1024, CODE_SIZE))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, 224, 224) RGB in 0..1 -> (B, 236)."""
        code: Tensor = self.layers(self.encoder(image))
        return code


class Deca(nn.Module):
    """DECA, its tensors named as in `deca_model.tar`."""

    # The authors enlarge the box of the 68 landmarks by 1.1 to that of a detector, and this by 1.25.
    crop = CropRule(LIKE_THE_68, 1.1 * 1.25)

    def __init__(self) -> None:
        super().__init__()
        self.E_flame = DecaEncoder()

    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, 224, 224) RGB in 0..1 -> (B, 236)."""
        codes: Tensor = self.E_flame(images)
        return codes

    @staticmethod
    def read(codes: Tensor) -> Code:
        """(T, 236) -> coefficients; texture and light are left."""
        shape, _, expression, pose, camera, _ = torch.split(codes, list(_PARTS.values()), dim=-1)
        no_eyelids = codes.new_zeros(len(codes), 2)
        return Code(shape, expression, pose[:, 3:], no_eyelids, pose[:, :3], camera)

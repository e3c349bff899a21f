"""SPECTRE: DECA's coefficients, with expression and jaw corrected from the lips' movement.

P. P. Filntisis et al., "Visual speech-aware perceptual 3D facial expression reconstruction from videos", 2022:
beside DECA's frozen encoder a MobileNetV2 with a convolution over five frames.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from multitalk.fit_flame.regressors.crop import LIKE_THE_68, CropRule
from multitalk.fit_flame.regressors.deca import CODE_SIZE, Deca, DecaEncoder
from multitalk.fit_flame.regressors.interface import EXPRESSIONS, Code
from multitalk.fit_flame.regressors.mobilenet_v2 import FEATURES, MobileNetV2

_WIDTH, _REACH = 256, 2  # frames to either side


class PerceptualEncoder(nn.Module):
    """Corrections of expression and jaw, its tensors named as `E_expression` in `spectre_model.tar`."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = MobileNetV2()
        self.temporal = nn.Sequential(
            nn.Conv1d(FEATURES, _WIDTH, 2 * _REACH + 1), nn.BatchNorm1d(_WIDTH), nn.ReLU()
        )
        self.layers = nn.Sequential(nn.Linear(_WIDTH, EXPRESSIONS + 3))

    def correct(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(T, 1280) features of consecutive frames -> expression (T, 50), jaw (T, 3), to be added to DECA's.

        The first and the last frame are repeated outwards, as the authors do with whole videos.
        """
        around = nn.functional.pad(features.T[None], (_REACH, _REACH), mode="replicate")
        numbers = self.layers(self.temporal(around)[0].T)
        expression, jaw = torch.split(numbers, [EXPRESSIONS, 3], dim=-1)
        return expression, torch.cat([jaw[:, :1].relu(), jaw[:, 1:]], -1)


class Spectre(nn.Module):
    """SPECTRE, its tensors named as in `spectre_model.tar`."""

    crop = CropRule(LIKE_THE_68, 1.6)

    def __init__(self) -> None:
        super().__init__()
        self.E_flame = DecaEncoder()
        self.E_expression = PerceptualEncoder()

    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, 224, 224) RGB in 0..1 -> (B, 236 + 1280): DECA's code and the features of the lips."""
        return torch.cat([self.E_flame(images), self.E_expression.encoder(images)], -1)

    def read(self, codes: Tensor) -> Code:
        """(T, 1516) of consecutive frames -> coefficients."""
        deca, features = torch.split(codes, [CODE_SIZE, FEATURES], dim=-1)
        coarse = Deca.read(deca)
        expression, jaw = self.E_expression.correct(features)
        return coarse._replace(expression=coarse.expression + expression, jaw=coarse.jaw + jaw)

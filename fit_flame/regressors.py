"""Learned regressors of FLAME 2020 parameters from one image: DECA.

Y. Feng, H. Feng, M. J. Black, T. Bolkart, "Learning an animatable detailed 3D face model from in-the-wild
images", 2021: a ResNet-50 (K. He et al., 2015, with the stride on the 3x3 convolution) and two linear layers
that give 236 numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fit_flame.head_model import HeadModelError

IMAGE_SIZE = 224
_PARTS = {"shape": 100, "texture": 50, "expression": 50, "pose": 6, "camera": 3, "light": 27}


class DecaCode(NamedTuple):
    """DECA's 236 numbers, B images."""

    shape: Tensor
    """(B, 100) FLAME 2020 identity."""
    texture: Tensor
    """(B, 50) albedo."""
    expression: Tensor
    """(B, 50) FLAME 2020 expression."""
    pose: Tensor
    """(B, 6) axis-angle of head and jaw."""
    camera: Tensor
    """(B, 3) scale and shift of the weak-perspective camera on the 224 pixel crop."""
    light: Tensor
    """(B, 27) spherical harmonics."""


class DecaEncoder(nn.Module):
    """DECA's coarse encoder, with the tensor names of `E_flame` in `deca_model.tar`."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = ResNet50()
        self.layers = nn.Sequential(nn.Linear(2048, 1024), nn.ReLU(), nn.Linear(1024, sum(_PARTS.values())))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, 224, 224) RGB in 0..1 -> (B, 236)."""
        code: Tensor = self.layers(self.encoder(image))
        return code


def split_code(code: Tensor) -> DecaCode:
    """Name the parts of DECA's code (B, 236)."""
    return DecaCode(*torch.split(code, list(_PARTS.values()), dim=-1))


class ResNet50(nn.Module):
    """ResNet-50 without its classifier, named as torchvision names it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _stage(64, 64, 3, stride=1)
        self.layer2 = _stage(256, 128, 4, stride=2)
        self.layer3 = _stage(512, 256, 6, stride=2)
        self.layer4 = _stage(1024, 512, 3, stride=2)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 2048)."""
        x = torch.relu(self.bn1(self.conv1(image)))
        x = nn.functional.max_pool2d(x, 3, stride=2, padding=1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        pooled: Tensor = x.mean((2, 3))
        return pooled


def _stage(channels: int, width: int, blocks: int, *, stride: int) -> nn.Sequential:
    first = _Bottleneck(channels, width, stride)
    return nn.Sequential(first, *(_Bottleneck(4 * width, width, 1) for _ in range(blocks - 1)))


class _Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions beside a shortcut."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels != 4 * width:
            shortcut = nn.Conv2d(channels, 4 * width, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def load_deca(path: Path) -> DecaEncoder:
    """Load DECA's coarse encoder from `deca_model.tar`.

    Raises
    ------
    HeadModelError
        When the file cannot be read, holds more than tensors, or lacks or adds a tensor of `E_flame`.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        state = checkpoint["E_flame"]
        encoder = DecaEncoder()
        encoder.load_state_dict(state)
    except KeyError:
        raise HeadModelError(f"{path} has no part 'E_flame': it is not deca_model.tar") from None
    except Exception as error:  # torch raises anything from OSError to RuntimeError here
        raise HeadModelError(f"{path} is no DECA checkpoint: {error}") from error
    return encoder.eval()

"""AV-HuBERT's video front end: a 3-D convolution, then a ResNet-18 on each frame, then a projection.

Legend: B clips, T frames, H x W pixels, D the encoder's width. Modules bear the names of the original
checkpoint's tensors, so that it loads without a table of names.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

FRAMES_AT_ONCE = 128
"""Frames that go through the ResNet together: bounds the memory of long clips, changes no number."""

# The first convolution looks two frames back and two ahead.
_HALO = 2
_STAGE_WIDTHS = (64, 128, 256, 512)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut, and a PReLU with one slope a channel after each.

    Parameters
    ----------
    in_channels, out_channels
        Channels before and after.
    stride
        Of the first convolution; a 1x1 convolution carries the shortcut where the shape changes.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.PReLU(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu2 = nn.PReLU(out_channels)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H / stride, W / stride)."""
        out = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(out + self.downsample(x))  # type: ignore[no-any-return]


class Trunk(nn.Module):
    """ResNet-18 without its first convolution: four stages of two blocks, then the mean over the picture."""

    def __init__(self) -> None:
        super().__init__()
        channels = _STAGE_WIDTHS[0]
        for index, width in enumerate(_STAGE_WIDTHS, start=1):
            stride = 1 if index == 1 else 2
            stage = nn.Sequential(ResidualBlock(channels, width, stride), ResidualBlock(width, width, 1))
            self.add_module(f"layer{index}", stage)
            channels = width

    def forward(self, x: Tensor) -> Tensor:
        """(N, 64, H, W) to (N, 512)."""
        for stage in self.children():
            x = stage(x)
        return x.mean(dim=(2, 3))


class ResNet(nn.Module):
    """The 3-D convolution and the trunk."""

    def __init__(self) -> None:
        super().__init__()
        self.frontend3D = nn.Sequential(
            nn.Conv3d(1, 64, (5, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
            nn.BatchNorm3d(64),
            nn.PReLU(64),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        )
        self.trunk = Trunk()

    def forward(self, video: Tensor) -> Tensor:
        """(B, 1, T, H, W) to (B, T, 512)."""
        frames = video.shape[2]
        padded = functional.pad(video, (0, 0, 0, 0, _HALO, _HALO))
        parts = []
        for start in range(0, frames, FRAMES_AT_ONCE):
            part = padded[:, :, start : start + FRAMES_AT_ONCE + 2 * _HALO]
            maps = self.frontend3D(part).transpose(1, 2)
            parts.append(self.trunk(maps.flatten(0, 1)).unflatten(0, maps.shape[:2]))
        return torch.cat(parts, dim=1)


class VideoFrontEnd(nn.Module):
    """Mouth pictures to features.

    Parameters
    ----------
    width
        D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.resnet = ResNet()
        self.proj = nn.Linear(_STAGE_WIDTHS[-1], width)

    def forward(self, video: Tensor) -> Tensor:
        """(B, 1, T, 88, 88), normalised grey, to (B, T, D)."""
        return self.proj(self.resnet(video))  # type: ignore[no-any-return]


class AudioFrontEnd(nn.Module):
    """Stacked log filterbanks to features, one linear layer."""

    def __init__(self, feature_count: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(feature_count, width)

    def forward(self, audio: Tensor) -> Tensor:
        """(B, T, 104), layer-normalised, to (B, T, D)."""
        return self.proj(audio)  # type: ignore[no-any-return]

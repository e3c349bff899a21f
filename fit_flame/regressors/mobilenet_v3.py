"""MobileNetV3 "minimal" (A. Howard et al., 2019): 3x3 convolutions, ReLU, no squeeze-and-excitation.

Tensors are named as in timm's `tf_mobilenetv3_small_minimal_100` and `tf_mobilenetv3_large_minimal_100`
without their classifiers. These descend from TensorFlow: a stride of two pads as TensorFlow's "same" does,
at the right and the bottom first, and batch norm adds 1e-3 to the variance.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

_Rows = tuple[tuple[tuple[int, int, int], ...], ...]

# Of each stage its blocks: channels in the middle, channels out, stride.
_SMALL: _Rows = (
    ((72, 24, 2), (88, 24, 1)),
    ((96, 40, 2), (240, 40, 1), (240, 40, 1)),
    ((120, 48, 1), (144, 48, 1)),
    ((288, 96, 2), (576, 96, 1), (576, 96, 1)),
)
_LARGE: _Rows = (
    ((64, 24, 2), (72, 24, 1)),
    ((72, 40, 2), (120, 40, 1), (120, 40, 1)),
    ((240, 80, 2), (200, 80, 1), (184, 80, 1), (184, 80, 1)),
    ((480, 112, 1), (672, 112, 1)),
    ((672, 160, 2), (960, 160, 1), (960, 160, 1)),
)
_STEM = 16


class MobileNetV3(nn.Module):
    """The network up to its last feature map, averaged over the image.

    Parameters
    ----------
    size
        `small` gives 576 features, `large` 960.
    """

    def __init__(self, size: Literal["small", "large"]) -> None:
        super().__init__()
        stages, first_stride = (_SMALL, 2) if size == "small" else (_LARGE, 1)
        self.conv_stem = _same(3, _STEM, 3, stride=2)
        self.bn1 = _norm(_STEM)
        blocks: list[nn.Module] = [nn.Sequential(_Separable(_STEM, first_stride))]
        channels = _STEM
        for stage in stages:
            row: list[nn.Module] = []
            for middle, out, stride in stage:
                row.append(_InvertedResidual(channels, middle, out, stride))
                channels = out
            blocks.append(nn.Sequential(*row))
        self.features = 6 * channels
        blocks.append(nn.Sequential(_Last(channels, self.features)))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 576 or 960)."""
        pooled: Tensor = self.blocks(torch.relu(self.bn1(self.conv_stem(image)))).mean((2, 3))
        return pooled


class _SameConv(nn.Conv2d):
    """A convolution that pads as TensorFlow's "same" does."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
        pads = []
        for length, kernel, stride in zip(
            reversed(x.shape[2:]), reversed(self.kernel_size), reversed(self.stride), strict=True
        ):
            total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(nn.functional.pad(x, pads))


def _same(channels: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    if stride == 1:
        return nn.Conv2d(channels, out, kernel, padding=kernel // 2, groups=groups, bias=False)
    return _SameConv(channels, out, kernel, stride=stride, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class _Separable(nn.Module):
    """Depthwise, then pointwise, which stays linear."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = _same(channels, channels, 3, stride=stride, groups=channels)
        self.bn1 = _norm(channels)
        self.conv_pw = _same(channels, channels, 1)
        self.bn2 = _norm(channels)
        self.has_shortcut = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn2(self.conv_pw(torch.relu(self.bn1(self.conv_dw(x)))))
        return x + y if self.has_shortcut else y


class _InvertedResidual(nn.Module):
    """Pointwise to more channels, depthwise, pointwise back, beside a shortcut where shapes agree."""

    def __init__(self, channels: int, middle: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv_pw = _same(channels, middle, 1)
        self.bn1 = _norm(middle)
        self.conv_dw = _same(middle, middle, 3, stride=stride, groups=middle)
        self.bn2 = _norm(middle)
        self.conv_pwl = _same(middle, out, 1)
        self.bn3 = _norm(out)
        self.has_shortcut = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.relu(self.bn1(self.conv_pw(x)))
        y = torch.relu(self.bn2(self.conv_dw(y)))
        y = self.bn3(self.conv_pwl(y))
        return x + y if self.has_shortcut else y


class _Last(nn.Module):
    """Pointwise, to the features."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = _same(channels, out, 1)
        self.bn1 = _norm(out)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.relu(self.bn1(self.conv(x)))
        return y

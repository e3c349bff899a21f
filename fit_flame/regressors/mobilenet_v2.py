"""MobileNetV2 (M. Sandler et al., 2018) without its classifier, as torchvision names its tensors."""

from __future__ import annotations

from torch import Tensor, nn

FEATURES = 1280

# Of each stage: expansion, channels out, blocks, stride of the first.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_STEM = 32


class MobileNetV2(nn.Module):
    """The network up to its last feature map, averaged over the image."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(3, _STEM, 3, stride=2)]
        channels = _STEM
        for expansion, out, blocks, stride in _STAGES:
            for block in range(blocks):
                layers.append(_InvertedResidual(channels, expansion, out, stride if block == 0 else 1))
                channels = out
        layers.append(_conv(channels, FEATURES, 1))
        self.features = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1280)."""
        pooled: Tensor = self.features(image).mean((2, 3))
        return pooled


def _conv(channels: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU up to 6."""
    convolution = nn.Conv2d(
        channels, out, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU6())


class _InvertedResidual(nn.Module):
    """Pointwise to more channels, depthwise, pointwise back, beside a shortcut where shapes agree."""

    def __init__(self, channels: int, expansion: int, out: int, stride: int) -> None:
        super().__init__()
        middle = expansion * channels
        widen = [_conv(channels, middle, 1)] if expansion > 1 else []
        self.conv = nn.Sequential(
            *widen,
            _conv(middle, middle, 3, stride=stride, groups=middle),
            nn.Conv2d(middle, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.has_shortcut = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.has_shortcut else y

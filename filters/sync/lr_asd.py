"""LR-ASD, an active-speaker network of 0.8 million weights (Liao et al., IJCV 2025; published under MIT).

Own implementation; module names are those of the published weights, so that they load as they are. Shapes:
B clips, T frames at 25 frames/s, C channels.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

CHANNELS = (1, 32, 64, 128)
GRAY_MEAN, GRAY_STD = 0.4161, 0.1688

_NORM_EPSILON = 1e-3


class VisualBlock(nn.Module):
    """Two convolutions over space, then two over time, each with norm and ReLU: (B, T, C, H, W).

    The weights are published as 3D convolutions; in 2D, over frames as pictures and over time against all pixels,
    they are three times faster on a CPU. With the channels last in memory neither needs a copy.
    """

    def __init__(self, channels_in: int, channels_out: int, *, stride: int) -> None:
        super().__init__()
        half = channels_out // 2

        def conv(c_in: int, c_out: int, size: tuple[int, int, int], step: int = 1) -> nn.Conv3d:
            padding = (size[0] // 2, size[1] // 2, size[2] // 2)
            return nn.Conv3d(c_in, c_out, size, stride=(1, step, step), padding=padding, bias=False)

        self.s_1 = conv(channels_in, half, (1, 5, 5), stride)
        self.s_norm_1 = nn.BatchNorm3d(half, eps=_NORM_EPSILON)
        self.s_2 = conv(half, channels_out, (1, 3, 3))
        self.s_norm_2 = nn.BatchNorm3d(channels_out, eps=_NORM_EPSILON)
        self.t_1 = conv(channels_out, channels_out, (5, 1, 1))
        self.t_norm_1 = nn.BatchNorm3d(channels_out, eps=_NORM_EPSILON)
        self.t_2 = conv(channels_out, channels_out, (3, 1, 1))
        self.t_norm_2 = nn.BatchNorm3d(channels_out, eps=_NORM_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        clips = x.shape[0]
        for layer, norm in ((self.s_1, self.s_norm_1), (self.s_2, self.s_norm_2)):
            weight, bias = folded(layer, norm)
            padding = layer.kernel_size[1] // 2
            y = conv2d(x.flatten(0, 1), channels_last(weight[:, :, 0]), bias, layer.stride[1:], padding)
            x = y.relu_().view(clips, -1, *y.shape[1:])
        size = x.shape[3:]
        over_time = x.flatten(3).transpose(1, 2)  # (B, C, T, H W), still with its channels last
        for layer, norm in ((self.t_1, self.t_norm_1), (self.t_2, self.t_norm_2)):
            weight, bias = folded(layer, norm)
            before = layer.kernel_size[0] // 2
            over_time = conv2d(over_time, channels_last(weight[..., 0]), bias, padding=(before, 0)).relu_()
        over_time = over_time.transpose(1, 2)
        return over_time.view(*over_time.shape[:3], *size)


def folded(layer: nn.Conv3d | nn.Conv2d, norm: nn.BatchNorm3d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of one convolution that does what a convolution and its norm, in evaluation, do."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    weight = layer.weight * scale.view(-1, *[1] * (layer.weight.ndim - 1))
    return weight, norm.bias - norm.running_mean * scale


def channels_last(x: Tensor) -> Tensor:
    """Lay out pictures (N, C, H, W) with their channels last in memory: twice as fast on a CPU."""
    return x.contiguous(memory_format=torch.channels_last)


class AudioBlock(nn.Module):
    """Two convolutions over coefficients, then two over time, each with norm and ReLU: (B, C, 13, S)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        half = channels_out // 2

        def conv(c_in: int, c_out: int, size: tuple[int, int]) -> nn.Conv2d:
            return nn.Conv2d(c_in, c_out, size, padding=(size[0] // 2, size[1] // 2), bias=False)

        self.m_1 = conv(channels_in, half, (5, 1))
        self.m_norm_1 = nn.BatchNorm2d(half, eps=_NORM_EPSILON)
        self.m_2 = conv(half, channels_out, (3, 1))
        self.m_norm_2 = nn.BatchNorm2d(channels_out, eps=_NORM_EPSILON)
        self.t_1 = conv(channels_out, channels_out, (1, 5))
        self.t_norm_1 = nn.BatchNorm2d(channels_out, eps=_NORM_EPSILON)
        self.t_2 = conv(channels_out, channels_out, (1, 3))
        self.t_norm_2 = nn.BatchNorm2d(channels_out, eps=_NORM_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        pairs = (
            *((self.m_1, self.m_norm_1), (self.m_2, self.m_norm_2)),
            *((self.t_1, self.t_norm_1), (self.t_2, self.t_norm_2)),
        )
        for layer, norm in pairs:
            weight, bias = folded(layer, norm)
            x = conv2d(x, channels_last(weight), bias, padding=layer.padding).relu_()
        return x


class VisualEncoder(nn.Module):
    """Gray faces (B, T, 112, 112), normalised -> (B, T, 128)."""

    def __init__(self) -> None:
        super().__init__()
        self.block1 = VisualBlock(CHANNELS[0], CHANNELS[1], stride=2)
        self.block2 = VisualBlock(CHANNELS[1], CHANNELS[2], stride=1)
        self.block3 = VisualBlock(CHANNELS[2], CHANNELS[3], stride=1)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)

    def forward(self, faces: Tensor) -> Tensor:
        """Encode each frame with some 9 frames on both sides."""
        x = self._halved(self.block1(faces[:, :, None]))
        x = self.block3(self._halved(self.block2(x)))
        embedding: Tensor = x.amax(dim=(3, 4))
        return embedding

    def _halved(self, x: Tensor) -> Tensor:
        smaller: Tensor = self.pool(x.flatten(0, 1))
        return smaller.view(*x.shape[:2], *smaller.shape[1:])


class MfccEncoder(nn.Module):
    """Coefficients (B, 4T, 13) -> (B, T, 128)."""

    def __init__(self) -> None:
        super().__init__()
        self.block1 = AudioBlock(CHANNELS[0], CHANNELS[1])
        self.block2 = AudioBlock(CHANNELS[1], CHANNELS[2])
        self.block3 = AudioBlock(CHANNELS[2], CHANNELS[3])
        self.pool = nn.MaxPool2d((1, 3), stride=(1, 2), padding=(0, 1))

    def forward(self, coefficients: Tensor) -> Tensor:
        """Encode four steps to a frame."""
        x = self.pool(self.block1(channels_last(coefficients.transpose(1, 2)[:, None])))
        x = self.block3(self.pool(self.block2(x)))
        embedding: Tensor = x.mean(dim=2).transpose(1, 2)
        return embedding


class Gate(nn.Module):
    """Channels weighted by a sigmoid of all of them: (B, T, C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Conv1d(channels, channels, 1, bias=False)
        self.bn = nn.BatchNorm1d(channels, eps=_NORM_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the gate."""
        weights = torch.sigmoid(self.bn(self.attention(x.transpose(1, 2))))
        return x * weights.transpose(1, 2)


class Detector(nn.Module):
    """One GRU forwards, one backwards in time, and a gate: (B, T, 256) -> (B, T, 128)."""

    def __init__(self) -> None:
        super().__init__()
        self.gru_forward = nn.GRU(2 * CHANNELS[3], CHANNELS[3] // 2, batch_first=True)
        self.gru_backward = nn.GRU(2 * CHANNELS[3], CHANNELS[3] // 2, batch_first=True)
        self.attention = Gate(CHANNELS[3])

    def forward(self, x: Tensor) -> Tensor:
        """Relate each frame to the others."""
        forward, _ = self.gru_forward(x)
        backward, _ = self.gru_backward(x.flip(1))
        attended: Tensor = self.attention(torch.cat([forward, backward.flip(1)], dim=2))
        return attended


class _Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.visualEncoder = VisualEncoder()
        self.audioEncoder = MfccEncoder()
        self.fusion = Gate(2 * CHANNELS[3])
        self.detector = Detector()


class _Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.FC = nn.Linear(CHANNELS[3], 2)


class LrAsd(nn.Module):
    """The whole network, with logits (not speaking, speaking) for sound and sight, and for sight alone."""

    def __init__(self) -> None:
        super().__init__()
        self.model = _Backbone()
        self.lossAV = _Classifier()
        self.lossV = _Classifier()

    def embed(self, faces: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (B, T, 128) of the sound (B, 4T, 13) and of gray faces (B, T, 112, 112) in 0..255."""
        audio: Tensor = self.model.audioEncoder(coefficients)
        visual: Tensor = self.model.visualEncoder((faces / 255 - GRAY_MEAN) / GRAY_STD)
        return audio, visual

    def logits(self, audio: Tensor, visual: Tensor) -> Tensor:
        """Logits (B, T, 2) from both embeddings (B, T, 128)."""
        fused = self.model.fusion(torch.cat([audio, visual], dim=2))
        scores: Tensor = self.lossAV.FC(self.model.detector(fused))
        return scores

    def visual_logits(self, visual: Tensor) -> Tensor:
        """Logits (B, T, 2) from the faces' embedding alone."""
        scores: Tensor = self.lossV.FC(visual)
        return scores


def load_lr_asd(weights: Path) -> LrAsd:
    """Load the published weights, without unpickling anything but tensors; the network is in evaluation mode.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file holds other weights.
    """
    from multitalk.ground.untrusted.checkpoint_file import CheckpointError, read_content

    weights.stat()
    network = LrAsd()
    try:
        network.load_state_dict(read_content(weights))
    except (CheckpointError, RuntimeError, TypeError) as error:
        raise ValueError(f"{weights} does not hold LR-ASD's weights ({_first_line(error)})") from error
    return network.eval()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]

"""dlib's face descriptor: a residual network of 29 layers (D. King, 2017; weights under CC0), in torch.

dlib keeps a network as it serialises its C++ types. Of those, what is read here are the weights, in their order: the
network that they belong to is written down below. That both are the same network was seen against dlib itself
(`tests/filters/persons/test_face.py` holds its numbers).
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

_MEAN_RGB = (122.782, 117.001, 104.298)
_SCALE = 1 / 256
_NUMBERS = 128  # of a descriptor
_LAYER = re.compile(rb"\x01\x05con_4|\x01\x07affine_|\x01\x04fc_2")
_TENSOR_VERSION = 2
# Blocks from the picture to the descriptor: channels, and how many; all but the first group begin with a smaller one.
_GROUPS = ((32, 3), (64, 4), (128, 3), (256, 3), (256, 1))


class _Block(nn.Module):
    """Two convolutions beside a way around them; a `down` block halves the sides and may add channels."""

    def __init__(self, channels_in: int, channels: int, *, down: bool) -> None:
        super().__init__()
        # dlib pads only where it takes every place
        step, padding = (2, 0) if down else (1, 1)
        self.first = nn.Conv2d(channels_in, channels, 3, stride=step, padding=padding)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        around = functional.avg_pool2d(x, 2) if self.down else x
        y = self.second(functional.relu(self.first(x)))
        return functional.relu(_sum(y, around))


class FaceNetwork(nn.Module):
    """Pictures (B, 3, 150, 150), RGB in 0..255 -> descriptors (B, 128). Norms are folded into the convolutions."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.entry = nn.Conv2d(3, 32, 7, stride=2)
        blocks, channels_in = [], 32
        for group, (channels, count) in enumerate(_GROUPS):
            for number in range(count):
                blocks.append(_Block(channels_in, channels, down=group > 0 and number == 0))
                channels_in = channels
        self.blocks = nn.Sequential(*blocks)
        self.exit = nn.Linear(channels_in, _NUMBERS, bias=False)
        self.register_buffer("mean", torch.tensor(_MEAN_RGB).reshape(1, 3, 1, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        """Describe faces; the same person's are less than about 0.6 apart."""
        x = functional.relu(self.entry((pictures - self.mean) * _SCALE))
        x = self.blocks(functional.max_pool2d(x, 3, stride=2))
        found: Tensor = self.exit(x.mean(dim=(2, 3)))
        return found


def load_face_network(weights: Path) -> FaceNetwork:
    """Load dlib's file; the network is in evaluation mode.

    Raises
    ------
    ValueError
        The file holds another network, or is cut.
    FileNotFoundError
        It is not there.
    """
    network = FaceNetwork()
    layers = _layers(weights.read_bytes())
    try:
        with torch.no_grad():
            for convolution in (part for part in network.modules() if isinstance(part, nn.Conv2d)):
                _fill(convolution, next(layers), next(layers))
            exit_weights = torch.from_numpy(next(layers))
            network.exit.weight.copy_(exit_weights.reshape(network.exit.in_features, _NUMBERS).T)
    except (StopIteration, RuntimeError, IndexError, ValueError) as error:
        raise ValueError(f"{weights} does not hold the weights of dlib's face descriptor") from error
    return network.eval()


def _fill(convolution: nn.Conv2d, numbers: npt.NDArray[np.float32], norm: npt.NDArray[np.float32]) -> None:
    """Take a convolution's weights and biases, and the gains and shifts of the norm behind it."""
    count = convolution.weight.numel()
    gains, shifts = (torch.from_numpy(part) for part in np.split(norm, 2))
    kernels = torch.from_numpy(numbers[:count]).reshape(convolution.weight.shape)
    assert convolution.bias is not None
    convolution.weight.copy_(kernels * gains[:, None, None, None])
    convolution.bias.copy_(torch.from_numpy(numbers[count:]) * gains + shifts)


def _layers(content: bytes) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the numbers of each layer that has any, from the picture on."""
    at = 0
    while layer := _LAYER.search(content, at):
        at = layer.end()
        if layer[0].endswith(b"fc_2"):
            for _ in range(2):  # how many go in and come out
                _, at = _whole(content, at)
        version, at = _whole(content, at)
        if version != _TENSOR_VERSION:
            raise ValueError("tensors of another version of dlib")
        count = 1
        for _ in range(4):
            length, at = _whole(content, at)
            count *= length
        end = at + 4 * count
        if end > len(content):
            raise ValueError("cut")
        yield np.frombuffer(content[at:end], "<f4").astype(np.float32)
        at = end


def _whole(content: bytes, at: int) -> tuple[int, int]:
    """Read a whole number as dlib writes it, its length in front; and return where it ends."""
    length = content[at] & 0x0F
    return int.from_bytes(content[at + 1 : at + 1 + length], "little"), at + 1 + length


def _sum(a: Tensor, b: Tensor) -> Tensor:
    """Add what may differ in size and channels: the smaller one is filled up with zeros, as dlib does."""
    sizes = [max(x, y) for x, y in zip(a.shape[1:], b.shape[1:], strict=True)]

    def filled(x: Tensor) -> Tensor:
        channels, high, wide = (size - have for size, have in zip(sizes, x.shape[1:], strict=True))
        return functional.pad(x, (0, wide, 0, high, 0, channels)) if channels or high or wide else x

    return filled(a) + filled(b)

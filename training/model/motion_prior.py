"""The motion prior of new models: a vector-quantised autoencoder of motion parameters.

Convolutions over time take the place of the reference's transformers and InstanceNorm: a frame depends on
less than a second around it and nothing else, so that clips of any length, and batches of them, are exact,
and positions need no table. It speaks the head model's own parameters, from which vertices follow on the
device that needs them.

Shapes: B clips, T frames, F motion values a frame (expression, then jaw), D channels, L latent values a
frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from multitalk.training.layers.quantiser import Quantised, Quantiser
from multitalk.training.settings import MotionPriorSettings

DILATIONS = (1, 2, 4)
"""Of the residual blocks in turn."""


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """What the prior makes of a batch of motion."""

    motion: Tensor
    """(B, T, F) reconstructed motion."""
    quantised: Quantised
    """Latents, codes and the quantiser's loss."""


class ResidualBlock(nn.Module):
    """Layer norm, dilated convolution of three frames, GELU, linear map; added to the input."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.conv = nn.Conv1d(
            channels, channels, 3, padding=dilation, dilation=dilation, padding_mode="replicate"
        )
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        hidden = self.conv(self.norm(x).transpose(1, 2)).transpose(1, 2)
        out: Tensor = x + self.out(functional.gelu(hidden))
        return out


class ConvolutionStack(nn.Sequential):
    """Linear map, residual blocks, layer norm, linear map: (B, T, inputs) -> (B, T, outputs)."""

    def __init__(self, inputs: int, outputs: int, settings: MotionPriorSettings) -> None:
        width = settings.hidden
        blocks = [ResidualBlock(width, DILATIONS[i % len(DILATIONS)]) for i in range(settings.blocks)]
        super().__init__(nn.Linear(inputs, width), *blocks, nn.LayerNorm(width), nn.Linear(width, outputs))


class MotionPrior(nn.Module):
    """Motion to codes and back.

    Parameters
    ----------
    settings : MotionPriorSettings
        Sizes.
    mean, deviation : Tensor
        (F,) mean and standard deviation of each motion value over the training data; kept in the
        checkpoint.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, settings: MotionPriorSettings, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("mean", mean.clone())
        self.register_buffer("deviation", deviation.clone())
        self.encoder = ConvolutionStack(len(mean), settings.latent, settings)
        self.decoder = ConvolutionStack(settings.latent, len(mean), settings)
        self.quantise_latents = Quantiser(settings.codebook_size, settings.code_dim)

    def encode(self, motion: Tensor) -> Tensor:
        """Latents (B, T, L) before quantisation of motion (B, T, F)."""
        latents: Tensor = self.encoder((motion - self.mean) / self.deviation)
        return latents

    def quantise(self, motion: Tensor) -> Quantised:
        """Latents and codes of motion (B, T, F)."""
        quantised: Quantised = self.quantise_latents(self.encode(motion))
        return quantised

    def decode(self, latents: Tensor) -> Tensor:
        """Motion (B, T, F) of quantised latents (B, T, L)."""
        motion: Tensor = self.decoder(latents).float() * self.deviation + self.mean
        return motion

    def forward(self, motion: Tensor) -> Reconstruction:
        """Encode, quantise and decode motion (B, T, F)."""
        quantised = self.quantise(motion)
        return Reconstruction(self.decode(quantised.latents), quantised)


def statistics(motion: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (F,) of frames (T, F); values that never move get a deviation of one."""
    mean, deviation = motion.mean(0), motion.std(0, correction=0)
    return mean, torch.where(deviation < 1e-6, torch.ones_like(deviation), deviation)

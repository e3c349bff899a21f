"""The reference's motion prior (CodeTalker's stage 1 as MultiTalk trained it), for its published checkpoint.

Kept as it was, down to the names in the state dict, with what it got wrong:

- positions are indexed by the place in the batch, so that at batch 1 every frame gets the same constant
  vector. Here all clips of a batch get the vector of a single one, which makes a batch equal to single
  runs;
- InstanceNorm over time lets every frame change all others, and makes a single frame say nothing.

`multitalk.training.model.motion_prior` is the architecture for new models.

Shapes: B clips, T frames, N vertex values (three times the vertices), D hidden, G codes a frame, C their
width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from multitalk.training.layers.quantiser import Quantised, Quantiser
from multitalk.training.settings import ReferencePriorSettings

LEAK = 0.2


class Attention(nn.Module):
    """Self-attention without a mask. Its scale is dim**-0.5, where a head's width would be usual."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = float(dim**-0.5)
        self.to_qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.to_out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.to_qkv(x).chunk(3, -1)
        )
        heads = functional.scaled_dot_product_attention(q, k, v, scale=self.scale)
        out: Tensor = self.to_out(heads.transpose(1, 2).flatten(2))
        return out


class FeedForward(nn.Module):
    """Two linear maps with GELU in its tanh approximation between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.l1 = nn.Linear(dim, hidden)
        self.l2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        out: Tensor = self.l2(functional.gelu(self.l1(x), approximate="tanh"))
        return out


class PreNorm(nn.Module):
    """`fn` of the layer-normed input."""

    def __init__(self, dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        out: Tensor = self.fn(self.norm(x))
        return out


class Residual(nn.Module):
    """Input plus `fn` of it."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        out: Tensor = x + self.fn(x)
        return out


class Transformer(nn.Module):
    """Attention and feed-forward blocks in turn, pre-norm, no norm at the end."""

    def __init__(self, settings: ReferencePriorSettings) -> None:
        super().__init__()
        dim = settings.hidden
        blocks: list[nn.Module] = []
        for _ in range(settings.layers):
            blocks.append(Residual(PreNorm(dim, Attention(dim, settings.heads))))
            blocks.append(Residual(PreNorm(dim, FeedForward(dim, settings.feed_forward))))
        self.net = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        out: Tensor = self.net(x)
        return out


class Positions(nn.Module):
    """Adds the first row of a table of sinusoids to every frame: what the reference does at batch 1."""

    pe: Tensor

    def __init__(self, dim: int, dropout: float, rows: int = 5000) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("pe", sinusoids(rows, dim)[:, None])

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        out: Tensor = self.dropout(x + self.pe[0])
        return out


class LinearEmbedding(nn.Module):
    """One linear map, under the name that the checkpoint has for it."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.net = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        out: Tensor = self.net(x)
        return out


class PriorEncoder(nn.Module):
    """Vertex offsets to latents: linear, convolution over time, transformer."""

    def __init__(self, settings: ReferencePriorSettings) -> None:
        super().__init__()
        dim = settings.hidden
        self.vertice_mapping = nn.Sequential(nn.Linear(settings.vertex_values, dim), nn.LeakyReLU(LEAK))
        self.squasher = nn.Sequential(convolution(dim))
        self.encoder_transformer = Transformer(settings)
        self.encoder_pos_embedding = Positions(dim, settings.dropout)
        self.encoder_linear_embedding = LinearEmbedding(dim)

    def forward(self, offsets: Tensor) -> Tensor:
        """(B, T, N) -> (B, T, D); T at least 2."""
        x = self.squasher(self.vertice_mapping(offsets).transpose(1, 2)).transpose(1, 2)
        x = self.encoder_pos_embedding(self.encoder_linear_embedding(x))
        out: Tensor = self.encoder_transformer(x)
        return out


class PriorDecoder(nn.Module):
    """Latents to vertex offsets: convolution over time, transformer, linear."""

    def __init__(self, settings: ReferencePriorSettings) -> None:
        super().__init__()
        dim = settings.hidden
        self.expander = nn.Sequential(convolution(dim))
        self.decoder_transformer = Transformer(settings)
        self.decoder_pos_embedding = Positions(dim, settings.dropout)
        self.decoder_linear_embedding = LinearEmbedding(dim)
        self.vertice_map_reverse = nn.Linear(dim, settings.vertex_values)

    def forward(self, latents: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, N); T at least 2."""
        x = self.expander(latents.transpose(1, 2)).transpose(1, 2)
        x = self.decoder_pos_embedding(self.decoder_linear_embedding(x))
        out: Tensor = self.vertice_map_reverse(self.decoder_transformer(x))
        return out


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """What a prior makes of a batch of motion."""

    offsets: Tensor
    """(B, T, N) reconstructed offsets from the template, metres."""
    quantised: Quantised
    """Latents, codes and the quantiser's loss."""


class ReferencePrior(nn.Module):
    """Vector-quantised autoencoder of vertex offsets from the template.

    Parameters
    ----------
    settings : ReferencePriorSettings
        Sizes.

    Raises
    ------
    ValueError
        When codes_per_frame times code_dim is not the hidden width.
    """

    def __init__(self, settings: ReferencePriorSettings) -> None:
        super().__init__()
        if settings.codes_per_frame * settings.code_dim != settings.hidden:
            raise ValueError(f"{settings.codes_per_frame} codes do not fill {settings.hidden} values")
        self.settings = settings
        self.encoder = PriorEncoder(settings)
        self.decoder = PriorDecoder(settings)
        self.quantize = Quantiser(settings.codebook_size, settings.code_dim)

    def quantise(self, offsets: Tensor) -> Quantised:
        """Latents and codes of offsets (B, T, N)."""
        quantised: Quantised = self.quantize(self.encoder(offsets))
        return quantised

    def decode(self, latents: Tensor) -> Tensor:
        """Offsets (B, T, N) of quantised latents (B, T, D)."""
        offsets: Tensor = self.decoder(latents)
        return offsets

    def forward(self, offsets: Tensor) -> Reconstruction:
        """Encode, quantise and decode offsets (B, T, N)."""
        quantised = self.quantise(offsets)
        return Reconstruction(self.decode(quantised.latents), quantised)


def convolution(dim: int) -> nn.Sequential:
    """Kernel 5 over time with replicated ends, LeakyReLU, InstanceNorm: (B, D, T) -> (B, D, T)."""
    conv = nn.Conv1d(dim, dim, kernel_size=5, padding=2, padding_mode="replicate")
    return nn.Sequential(conv, nn.LeakyReLU(LEAK), nn.InstanceNorm1d(dim))


def sinusoids(rows: int, dim: int) -> Tensor:
    """Sine and cosine of each position in turn (Vaswani et al. 2017, section 3.5): (rows, dim) float32."""
    frequency = torch.exp(torch.arange(0, dim, 2) * (-torch.log(torch.tensor(10000.0)) / dim))
    angle = torch.arange(rows)[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)

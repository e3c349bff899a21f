"""Vector quantisation (van den Oord et al. 2017): the codebook between a prior's encoder and decoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

COMMITMENT = 0.25


@dataclass(frozen=True, slots=True)
class Quantised:
    """Latents and the codebook entries nearest to them."""

    latents: Tensor
    """(B, T, G * C) quantised latents; gradients pass straight through to the encoder."""
    codes: Tensor
    """(B, T, G) int64 indices into the codebook."""
    loss: Tensor
    """(B,) codebook and commitment loss of each clip."""

    def perplexity(self, entries: int) -> Tensor:
        """Exponential of the entropy of the codes in use, () float: `entries` when all are used alike."""
        share = torch.bincount(self.codes.flatten(), minlength=entries) / self.codes.numel()
        return torch.exp(-(share * torch.log(share + 1e-10)).sum())


class Quantiser(nn.Module):
    """Replaces every group of C values by the nearest of K codebook entries.

    Parameters
    ----------
    entries : int
        K, size of the codebook.
    code_dim : int
        C, width of an entry. Latents of G * C values carry G codes.
    """

    def __init__(self, entries: int, code_dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(entries, code_dim)
        nn.init.uniform_(self.embedding.weight, -1 / entries, 1 / entries)

    def nearest(self, latents: Tensor) -> Tensor:
        """Codes (..., G) int64 of latents (..., G * C); the first of equally near entries wins.

        Distances are taken in float32 whatever the autocast type: under bfloat16 codes flip.
        """
        book = self.embedding.weight.float()
        groups = latents.float().reshape(-1, book.shape[1])
        device = latents.device.type
        with torch.autocast("cpu" if device == "meta" else device, enabled=False):  # meta has no autocast
            distance = groups.square().sum(1, keepdim=True) + book.square().sum(1) - 2 * groups @ book.T
        return distance.argmin(1).view(*latents.shape[:-1], -1)

    def lookup(self, codes: Tensor) -> Tensor:
        """Latents (..., G * C) of codes (..., G)."""
        return functional.embedding(codes, self.embedding.weight).flatten(-2)

    def forward(self, latents: Tensor) -> Quantised:
        """Quantise latents (B, T, G * C)."""
        latents = latents.float()
        codes = self.nearest(latents)
        entries = self.lookup(codes)
        commitment = (entries.detach() - latents).square().flatten(1).mean(1)
        codebook = (entries - latents.detach()).square().flatten(1).mean(1)
        straight_through = latents + (entries - latents).detach()
        return Quantised(straight_through, codes, COMMITMENT * commitment + codebook)

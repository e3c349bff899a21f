"""The health of a codebook: which codes are used, and new lives for those that are not.

A code that no latent is nearest to gets no gradient and stays dead. Such codes are moved to latents of the
current batch (Dhariwal et al. 2020), the same on every process.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from multitalk.training.layers.quantiser import Quantiser

DEAD_SHARE = 0.01
"""A code is dead when it is used less than this share of an even use."""


@dataclass(frozen=True, slots=True)
class CodebookHealth:
    """Use of the codes since the last look."""

    perplexity: float
    """Exponential of the entropy of use: the number of codes when all are used alike."""
    dead_share: float
    """Share of codes that were moved."""


class Codebook(nn.Module):
    """Counts the use of a quantiser's codes.

    Parameters
    ----------
    quantiser : Quantiser
        Its codes.
    """

    usage: Tensor
    """(K,) times that each code was used since the last look, by all processes."""

    def __init__(self, quantiser: Quantiser) -> None:
        super().__init__()
        self._quantiser = (quantiser,)  # in a tuple: its weights belong to the model
        self.register_buffer("usage", torch.zeros(quantiser.embedding.num_embeddings))

    def uses(self, codes: Tensor) -> Tensor:
        """Count codes (..., G): (K,) float32."""
        return torch.bincount(codes.flatten(), minlength=len(self.usage)).float()

    @torch.no_grad()
    def begin(self, latents: Tensor, seed: int) -> None:
        """Put all codes on latents (M, L) of the first batch, so that none begins dead."""
        self._place(torch.ones_like(self.usage, dtype=torch.bool), latents, seed)

    @torch.no_grad()
    def revive(self, latents: Tensor, optimiser: torch.optim.Optimizer, seed: int) -> CodebookHealth:
        """Move dead codes and begin to count anew.

        Parameters
        ----------
        latents : Tensor
            (M, L) latents before quantisation of all processes, the same on each.
        optimiser : Optimizer
            Forgets the momentum of moved codes.
        seed : int
            Of the choice; the same on each process.
        """
        share = self.usage / self.usage.sum().clamp_min(1)
        dead = share < DEAD_SHARE / len(share)
        self._place(dead, latents, seed)
        for value in optimiser.state[self._quantiser[0].embedding.weight].values():
            if value.shape == (*dead.shape, self._quantiser[0].embedding.embedding_dim):
                value[dead] = 0
        self.usage.zero_()
        entropy = -(share * torch.log(share + 1e-10)).sum()
        return CodebookHealth(entropy.exp().item(), dead.float().mean().item())

    def _place(self, chosen: Tensor, latents: Tensor, seed: int) -> None:
        weight = self._quantiser[0].embedding.weight
        groups = latents.reshape(-1, weight.shape[1])
        generator = torch.Generator().manual_seed(seed)
        index = torch.randint(len(groups), (int(chosen.sum()),), generator=generator)
        weight[chosen] = groups[index.to(groups.device)].to(weight.dtype)

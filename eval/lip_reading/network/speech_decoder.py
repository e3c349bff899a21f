"""The text decoder of MuAViC's speech recognisers: a pre-norm Transformer with cross-attention, with a cache.

Legend: N hypotheses of one clip, L tokens so far, T encoder frames, D the decoder's width, E the encoder's,
V tokens. Modules bear the names of the original checkpoint's tensors (after its prefix `decoder.`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

FIRST_POSITION = 2
"""fairseq counts positions from the padding token's id plus one."""


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """Sizes of a decoder; all but heads and embedding scale can be read off its tensors."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    feed_forward: int
    memory_width: int
    """E."""
    scale_embedding: bool = False
    """Multiply embeddings by the root of the width; MuAViC's models do not."""
    tied: bool = True
    """The output layer is the embedding's transpose."""

    def __post_init__(self) -> None:
        if self.width % self.heads or self.width % 2:
            raise ValueError(f"width {self.width} must be even and divisible by {self.heads} heads")


@dataclass(slots=True)
class LayerCache:
    """Keys and values that a layer need not compute again."""

    memory: tuple[Tensor, Tensor]
    """Each (1, heads, T, D / heads): of the encoder's frames, the same for all hypotheses."""
    past: tuple[Tensor, Tensor] | None = None
    """Each (N, heads, L, D / heads): of the tokens so far."""

    def reorder(self, origins: Tensor) -> None:
        """Keep the hypotheses with these indices (M,), in this order; one may occur twice."""
        if self.past is not None:
            self.past = (self.past[0][origins], self.past[1][origins])


class Attention(nn.Module):
    """Multi-head attention whose keys and values may come from a wider or narrower source."""

    def __init__(self, width: int, heads: int, source_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj = nn.Linear(source_width, width)
        self.v_proj = nn.Linear(source_width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def keys_and_values(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """(N, S, source width) to two of (N, heads, S, D / heads)."""
        return self._split(self.k_proj(source)), self._split(self.v_proj(source))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """One query (N, 1, D) over keys and values (N or 1, heads, S, D / heads) to (N, 1, D)."""
        query = self._split(self.q_proj(x))
        shape = (len(query), *keys.shape[1:])
        attended = functional.scaled_dot_product_attention(query, keys.expand(shape), values.expand(shape))
        return self.out_proj(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention and feed-forward, with the norm before each, and ReLU."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.self_attn = Attention(shape.width, shape.heads, shape.width)
        self.self_attn_layer_norm = nn.LayerNorm(shape.width)
        self.encoder_attn = Attention(shape.width, shape.heads, shape.memory_width)
        self.encoder_attn_layer_norm = nn.LayerNorm(shape.width)
        self.fc1 = nn.Linear(shape.width, shape.feed_forward)
        self.fc2 = nn.Linear(shape.feed_forward, shape.width)
        self.final_layer_norm = nn.LayerNorm(shape.width)

    def forward(self, x: Tensor, cache: LayerCache) -> Tensor:
        """Take the newest token (N, 1, D) to (N, 1, D); its keys and values are added to the cache."""
        normed = self.self_attn_layer_norm(x)
        keys, values = self.self_attn.keys_and_values(normed)
        if cache.past is not None:
            keys, values = torch.cat([cache.past[0], keys], 2), torch.cat([cache.past[1], values], 2)
        cache.past = (keys, values)
        x = x + self.self_attn(normed, keys, values)
        x = x + self.encoder_attn(self.encoder_attn_layer_norm(x), *cache.memory)
        return x + self.fc2(torch.relu(self.fc1(self.final_layer_norm(x))))  # type: ignore[no-any-return]


class SpeechDecoder(nn.Module):
    """Predicts the next token of each hypothesis, one at a time.

    Parameters
    ----------
    shape
        Sizes.
    """

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.layers = nn.ModuleList(DecoderLayer(shape) for _ in range(shape.layers))
        self.layer_norm = nn.LayerNorm(shape.width)
        if not shape.tied:
            self.embed_out = nn.Parameter(torch.zeros(shape.vocabulary, shape.width))

    @torch.inference_mode()
    def start(self, memory: Tensor) -> list[LayerCache]:
        """Return the caches of a clip with encoder frames (1, T, E)."""
        attentions = (cast(DecoderLayer, layer).encoder_attn for layer in self.layers)
        return [LayerCache(attention.keys_and_values(memory)) for attention in attentions]

    @torch.inference_mode()
    def step(self, tokens: Tensor, position: int, caches: list[LayerCache]) -> Tensor:
        """Log-probabilities of the token after `tokens`.

        Parameters
        ----------
        tokens
            (N,) the newest token of each hypothesis.
        position
            How many tokens came before it.
        caches
            As `start` returned them; they grow by one token.

        Returns
        -------
        Tensor
            (N, V) float32.
        """
        scale = math.sqrt(self.shape.width) if self.shape.scale_embedding else 1.0
        x = scale * self.embed_tokens(tokens) + sinusoid(position, self.shape.width).to(tokens.device)
        x = x[:, None]
        for layer, cache in zip(self.layers, caches, strict=True):
            x = layer(x, cache)
        output = self.embed_tokens.weight if self.shape.tied else self.embed_out
        return functional.log_softmax(functional.linear(self.layer_norm(x[:, 0]), output).float(), dim=-1)


def sinusoid(position: int, width: int) -> Tensor:
    """Position embedding (width,) of the token at `position`, counted from 0: sines, then cosines."""
    half = width // 2
    frequencies = torch.exp(-math.log(10000.0) / max(1, half - 1) * torch.arange(half, dtype=torch.float32))
    angles = (position + FIRST_POSITION) * frequencies
    return torch.cat([angles.sin(), angles.cos()])

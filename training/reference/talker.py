"""The reference's talker (MultiTalk's stage 2): speech to the prior's codes, one frame after the other.

Kept as it was, down to the names in the state dict, with what it got wrong:

- each frame is told the last decoded vertices, and the prior normalises over time, so that every new frame
  means decoding all frames before it again;
- the first frame hears nothing: its token is the style alone, and the prior makes a constant of a single
  frame;
- twelve languages, one of them without clips.

Its limit of 600 frames is gone: masks and positions are closed forms here. `multitalk.training.model.talker` is the
architecture for new models; `multitalk.training.reference.decoding` predicts with this one.

Shapes: B clips, T frames, L audio tokens (50 Hz), N vertex values, D hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from multitalk.ground.nearest import did_you_mean
from multitalk.training.layers.wav2vec2 import Wav2Vec2
from multitalk.training.reference.prior import ReferencePrior, sinusoids
from multitalk.training.settings import ReferenceTalkerSettings


class UnknownLanguageError(ValueError):
    """A talker was asked for a language that its table does not have."""


class Attention(nn.Module):
    """Parameters of a multi-head attention, named as torch's, and the projections of it."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def project(self, x: Tensor, parts: slice) -> list[Tensor]:
        """Query, key, value (0, 1, 2; `parts` of them), each (B, heads, T, D / heads), of x (B, T, D)."""
        dim = x.shape[-1]
        rows = slice(parts.start * dim, parts.stop * dim)
        projected = functional.linear(x, self.in_proj_weight[rows], self.in_proj_bias[rows])
        return [split_heads(p, self.heads) for p in projected.chunk(parts.stop - parts.start, -1)]

    def merge(self, heads: Tensor) -> Tensor:
        """(B, heads, T, D / heads) -> (B, T, D)."""
        out: Tensor = self.out_proj(heads.transpose(1, 2).flatten(2))
        return out


class DecoderLayer(nn.Module):
    """Post-norm: self-attention to the past, attention to the frame's two audio tokens, feed-forward."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = Attention(dim, heads)
        self.multihead_attn = Attention(dim, heads)
        self.linear1, self.linear2 = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor, bias: Tensor) -> Tensor:
        """All frames at once, for training.

        Parameters
        ----------
        x : Tensor
            (B, T, D) inputs of the layer.
        memory : Tensor
            (B, 2 T, D) audio tokens.
        bias : Tensor
            (heads, T, T) added to the attention scores; -inf forbids.

        Returns
        -------
        Tensor
            (B, T, D).
        """
        q, k, v = self.self_attn.project(x, slice(0, 3))
        heads = functional.scaled_dot_product_attention(
            q, k, v, bias.to(q.dtype), dropout_p=self._attention_dropout
        )
        x = self.norm1(x + self.dropout(self.self_attn.merge(heads)))
        x = self.norm2(
            x + self.dropout(self.attend_to_audio(x, *self.multihead_attn.project(memory, slice(1, 3))))
        )
        return self.transform(x)

    def attend_to_audio(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Attention of every frame to its own two audio tokens: (B, T, D) -> (B, T, D).

        `keys` and `values` are (B, heads, 2 T, D / heads). The reference's mask leaves just these two of
        all tokens, so that the softmax is one over pairs and no (T, 2 T) map is needed.
        """
        (q,) = self.multihead_attn.project(x, slice(0, 1))
        keys, values = pairs(keys), pairs(values)
        scores = (keys @ q[..., None])[..., 0] * q.shape[-1] ** -0.5
        weights = functional.dropout(scores.softmax(-1), self._attention_dropout)
        return self.multihead_attn.merge((weights[..., None, :] @ values)[..., 0, :])

    def transform(self, x: Tensor) -> Tensor:
        """Feed-forward block with its norm: (B, T, D) -> (B, T, D)."""
        out: Tensor = self.norm3(
            x + self.dropout(self.linear2(self.dropout(functional.relu(self.linear1(x)))))
        )
        return out

    @property
    def _attention_dropout(self) -> float:
        return self.dropout.p if self.training else 0.0


class PeriodicPositions(nn.Module):
    """Sinusoids of t modulo the period, in a table that repeats itself because the checkpoint's does."""

    pe: Tensor

    def __init__(self, dim: int, period: int) -> None:
        super().__init__()
        self.period = period
        repeats = 600 // period + 1
        self.register_buffer("pe", sinusoids(period, dim).repeat(repeats, 1)[None])

    def forward(self, times: Tensor) -> Tensor:
        """Positions (T, D) of frame numbers (T,)."""
        return self.pe[0, times % self.period]


class DecoderStack(nn.Module):
    """The decoder's layers, under the name that the checkpoint has for them."""

    def __init__(self, settings: ReferenceTalkerSettings) -> None:
        super().__init__()
        layers = (
            DecoderLayer(settings.hidden, settings.heads, settings.dropout) for _ in range(settings.layers)
        )
        self.layers = nn.ModuleList(layers)


@dataclass(frozen=True, slots=True)
class TalkerLosses:
    """Teacher-forced losses of each clip, (B,)."""

    motion: Tensor
    """Mean squared error of the decoded vertices."""
    latent: Tensor
    """Mean squared error of the latents, before quantisation, against the prior's of the true motion."""


class ReferenceTalker(nn.Module):
    """Speech and language style to the prior's latents, autoregressive over decoded vertices.

    The prior is not part of it: the checkpoint leaves it out, so it is given to every call that needs it.

    Parameters
    ----------
    settings : ReferenceTalkerSettings
        Sizes.
    """

    def __init__(self, settings: ReferenceTalkerSettings) -> None:
        super().__init__()
        self.settings = settings
        dim = settings.hidden
        self.audio_encoder = Wav2Vec2(settings.audio)
        self.audio_feature_map = nn.Linear(settings.audio.hidden, dim)
        self.vertice_map = nn.Linear(settings.vertex_values, dim)
        self.PPE = PeriodicPositions(dim, settings.period)
        self.transformer_decoder = DecoderStack(settings)
        self.feat_map = nn.Linear(dim, settings.latent, bias=False)
        self.learnable_style_emb = nn.Embedding(len(settings.languages), dim)
        self.dropout = nn.Dropout(settings.dropout)
        nn.init.zeros_(self.feat_map.weight)

    def style(self, weights: Mapping[str, float]) -> Tensor:
        """Style vector (D,): the table's rows of the named languages, weighted.

        Raises
        ------
        UnknownLanguageError
            When a language has no row; the message lists those that have.
        """
        names = self.settings.languages
        for language in weights:
            if language not in names:
                raise UnknownLanguageError(
                    f"no language {language!r} in this talker; it has {', '.join(names)}"
                    + did_you_mean(language, names)
                )
        table = self.learnable_style_emb.weight
        return torch.stack([weight * table[names.index(name)] for name, weight in weights.items()]).sum(0)

    def memory(self, audio: Sequence[Tensor], frame_counts: Sequence[int] | None = None) -> list[Tensor]:
        """Audio tokens (L, D) of each clip, from its normalised samples (S,) at 16 kHz."""
        return [self.audio_feature_map(tokens) for tokens in self.audio_encoder(audio, frame_counts)]

    def attention_bias(self, frames: int) -> Tensor:
        """FaceFormer's periodic bias, (heads, T, T): -slope * floor((i - j) / period); -inf ahead."""
        device = self.PPE.pe.device
        time = torch.arange(frames, device=device)
        past = time[:, None] - time
        bias = -slopes(self.settings.heads, device)[:, None, None] * (past // self.settings.period)
        return bias.masked_fill(past < 0, float("-inf"))

    def forward(
        self, prior: ReferencePrior, audio: Sequence[Tensor], styles: Tensor, offsets: Tensor
    ) -> TalkerLosses:
        """Teacher-forced losses of a batch of clips of the same length.

        Parameters
        ----------
        prior : ReferencePrior
            Frozen; gradients pass through its decoder.
        audio : sequence of Tensor
            (S,) normalised samples of each clip.
        styles : Tensor
            (B, D) from `style`.
        offsets : Tensor
            (B, T, N) vertex offsets from the template, metres.
        """
        frames = offsets.shape[1]
        memory = torch.stack([m[: 2 * frames] for m in self.memory(audio, [frames] * len(audio))])
        with torch.no_grad():
            target = prior.quantise(offsets).latents
        shifted = functional.pad(offsets[:, :-1], (0, 0, 1, 0))
        positions = self.PPE(torch.arange(frames, device=offsets.device))
        x = self.dropout(self.vertice_map(shifted) + styles[:, None] + positions)
        bias = self.attention_bias(frames)
        for layer in self.transformer_decoder.layers:
            x = layer(x, memory, bias)
        latents = self.feat_map(x)
        decoded = prior.decode(prior.quantize(latents).latents)
        return TalkerLosses(_squared_error(decoded, offsets), _squared_error(latents, target))


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, T, D) -> (B, heads, T, D / heads)."""
    return x.view(*x.shape[:-1], heads, -1).transpose(1, 2)


def pairs(x: Tensor) -> Tensor:
    """Tokens two by two: (B, heads, 2 T, C) -> (B, heads, T, 2, C)."""
    return x.reshape(*x.shape[:2], -1, 2, x.shape[-1])


def slopes(heads: int, device: torch.device) -> Tensor:
    """ALiBi's slopes (Press et al. 2022), (heads,): powers of 2^(-8 / n), n the power of two below `heads`.

    Where that leaves heads without one, they take every other of the slopes for 2 n.
    """
    power = 1 << (heads.bit_length() - 1)
    first = torch.exp2(-8 / power * torch.arange(1, power + 1, device=device))
    more = torch.exp2(-4 / power * (2 * torch.arange(heads - power, device=device) + 1))
    return torch.cat([first, more])


def _squared_error(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared error of each clip, (B,), in float32: the values are about 1e-6 square metres."""
    return (x.float() - y.float()).square().flatten(1).mean(1)

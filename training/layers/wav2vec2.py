"""wav2vec 2.0 (Baevski et al. 2020) as XLSR-53 has it: layer norm in all convolutions, pre-norm transformer.

The parameters bear the names of transformers' `Wav2Vec2Model`, so that its files load, and the reference's
talker, which holds one under `audio_encoder`. Written here and not taken from there because the reference
stretches the tokens between convolutions and transformer, and because clips of different length run
together exactly: shorter ones are masked in the attention and zero for the positional convolution, as
outside a single clip.

Shapes: B clips, S samples at 16 kHz, L tokens at 50 Hz, D hidden.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from multitalk.training.settings import Wav2Vec2Settings

KERNELS = (10, 3, 3, 3, 3, 2, 2)
STRIDES = (5, 2, 2, 2, 2, 2, 2)
SHORTEST = 720
"""Samples that give two tokens, a frame's; shorter sound is filled up with silence."""


class ConvLayer(nn.Module):
    """Convolution, layer norm over channels, exact GELU."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels_in, channels, kernel, stride)
        self.layer_norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, S) -> (B, channels, S / stride)."""
        return functional.gelu(self.layer_norm(self.conv(x).transpose(1, 2)).transpose(1, 2))


class FeatureExtractor(nn.Module):
    """Seven convolutions: 16 kHz samples to 50 Hz tokens."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        sizes = (1, *[channels] * (len(KERNELS) - 1))
        layers = [ConvLayer(size, channels, k, s) for size, k, s in zip(sizes, KERNELS, STRIDES, strict=True)]
        self.conv_layers = nn.ModuleList(layers)

    def forward(self, audio: Tensor) -> Tensor:
        """(B, S) -> (B, L, conv_dim)."""
        x = audio[:, None]
        for layer in self.conv_layers:
            x = layer(x)
        return x.transpose(1, 2)


class FeatureProjection(nn.Module):
    """Layer norm and a linear map to the transformer's width."""

    def __init__(self, settings: Wav2Vec2Settings) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(settings.conv_dim)
        self.projection = nn.Linear(settings.conv_dim, settings.hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, conv_dim) -> (B, L, D)."""
        out: Tensor = self.projection(self.layer_norm(x))
        return out


class PositionalConvolution(nn.Module):
    """Grouped convolution with weight norm over its kernel, GELU: relative positions."""

    def __init__(self, settings: Wav2Vec2Settings) -> None:
        super().__init__()
        kernel = settings.position_kernel
        conv = nn.Conv1d(
            settings.hidden, settings.hidden, kernel, padding=kernel // 2, groups=settings.position_groups
        )
        self.conv = weight_norm(conv, dim=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        # An even kernel gives one token too many.
        return functional.gelu(self.conv(x.transpose(1, 2))[..., : x.shape[1]]).transpose(1, 2)


class SelfAttention(nn.Module):
    """Multi-head self-attention with four separate projections."""

    def __init__(self, settings: Wav2Vec2Settings) -> None:
        super().__init__()
        dim = settings.hidden
        self.heads, self.dropout = settings.heads, settings.dropout
        self.k_proj, self.v_proj = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.q_proj, self.out_proj = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, L, D) -> (B, L, D); `mask` (B, 1, 1, L) is True where a token may be looked at."""
        q, k, v = (
            projection(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        dropout = self.dropout if self.training else 0.0
        heads = functional.scaled_dot_product_attention(q, k, v, mask, dropout_p=dropout)
        out: Tensor = self.out_proj(heads.transpose(1, 2).flatten(2))
        return out


class FeedForward(nn.Module):
    """Two linear maps with the exact GELU between them."""

    def __init__(self, settings: Wav2Vec2Settings) -> None:
        super().__init__()
        self.dropout = nn.Dropout(settings.dropout)
        self.intermediate_dense = nn.Linear(settings.hidden, settings.feed_forward)
        self.output_dense = nn.Linear(settings.feed_forward, settings.hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        out: Tensor = self.dropout(
            self.output_dense(self.dropout(functional.gelu(self.intermediate_dense(x))))
        )
        return out


class EncoderLayer(nn.Module):
    """Attention and feed-forward, pre-norm."""

    def __init__(self, settings: Wav2Vec2Settings) -> None:
        super().__init__()
        self.attention = SelfAttention(settings)
        self.dropout = nn.Dropout(settings.dropout)
        self.layer_norm = nn.LayerNorm(settings.hidden)
        self.feed_forward = FeedForward(settings)
        self.final_layer_norm = nn.LayerNorm(settings.hidden)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        x = x + self.dropout(self.attention(self.layer_norm(x), mask))
        out: Tensor = x + self.feed_forward(self.final_layer_norm(x))
        return out


class TransformerEncoder(nn.Module):
    """Positional convolution, layers, final norm."""

    def __init__(self, settings: Wav2Vec2Settings) -> None:
        super().__init__()
        self.layer_drop = settings.layer_drop
        self.pos_conv_embed = PositionalConvolution(settings)
        self.dropout = nn.Dropout(settings.dropout)
        self.layers = nn.ModuleList(EncoderLayer(settings) for _ in range(settings.layers))
        self.layer_norm = nn.LayerNorm(settings.hidden)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        out: Tensor = self.layer_norm(self.below(x, mask, len(self.layers)))
        return out

    def below(self, x: Tensor, mask: Tensor | None, layers: int) -> Tensor:
        """Run the first so many layers, without the final norm: (B, L, D) -> (B, L, D)."""
        x = self.dropout(x + self.pos_conv_embed(x))
        return run_layers(self.layers[:layers], x, mask, self.layer_drop if self.training else 0.0)


def run_layers(layers: Iterable[nn.Module], x: Tensor, mask: Tensor | None, drop: float) -> Tensor:
    """Layers in turn, each left out with probability `drop` (Fan et al. 2020): (B, L, D) -> (B, L, D)."""
    for layer in layers:
        if not drop or torch.rand(()) >= drop:
            x = layer(x, mask)
    return x


class Wav2Vec2(nn.Module):
    """Speech to 50 Hz tokens.

    Parameters
    ----------
    settings : Wav2Vec2Settings
        Sizes.
    """

    def __init__(self, settings: Wav2Vec2Settings) -> None:
        super().__init__()
        self.settings = settings
        self.masked_spec_embed = nn.Parameter(torch.rand(settings.hidden))
        self.feature_extractor = FeatureExtractor(settings.conv_dim)
        self.feature_projection = FeatureProjection(settings)
        self.encoder = TransformerEncoder(settings)

    def forward(self, audio: Sequence[Tensor], frame_counts: Sequence[int] | None = None) -> list[Tensor]:
        """Tokens of several clips, each as it would be alone.

        Parameters
        ----------
        audio : sequence of Tensor
            (S,) float32 of each clip, normalised by `normalise_sound`.
        frame_counts : sequence of int, optional
            Frames of each clip at 25 a second: where the sound is too short for two tokens a frame, they
            are stretched to it (linear, ends kept) before the transformer, as the reference does.

        Returns
        -------
        list of Tensor
            (L, D) of each clip; L is even, and at least twice its frame count where that was given.
        """
        features = self.tokens(audio, frame_counts)
        lengths = [len(f) for f in features]
        x = self.feature_projection(nn.utils.rnn.pad_sequence(features, batch_first=True))
        mask = None
        if len(set(lengths)) > 1:
            inside = (
                torch.arange(x.shape[1], device=x.device) < torch.tensor(lengths, device=x.device)[:, None]
            )
            x, mask = x * inside[..., None], inside[:, None, None]
        if self.training:
            x = masked(x, self.masked_spec_embed, self.settings)
        hidden = self.encoder(x, mask)
        return [clip[:length] for clip, length in zip(hidden, lengths, strict=True)]

    def tokens(self, audio: Sequence[Tensor], frame_counts: Sequence[int] | None = None) -> list[Tensor]:
        """Tokens (L, conv_dim) of several clips before the transformer; arguments as those of `forward`."""
        filled = (functional.pad(clip, (0, max(0, SHORTEST - len(clip)))) for clip in audio)
        features = [self.feature_extractor(clip[None])[0] for clip in filled]
        even = [f[: len(f) // 2 * 2] for f in features]
        if frame_counts is None:
            return even
        return [_stretched(f, 2 * count) for f, count in zip(even, frame_counts, strict=True)]

    def below(self, audio: Tensor, frames: int, layers: int) -> Tensor:
        """Tokens (L, D) of one clip (S,) after so many layers; 0: (L, conv_dim), before the transformer."""
        (tokens,) = self.tokens([audio], [frames])
        if layers == 0:
            return tokens
        return self.encoder.below(self.feature_projection(tokens[None]), None, layers)[0]


def masked(x: Tensor, vector: Tensor, settings: Wav2Vec2Settings) -> Tensor:
    """SpecAugment over time of (B, L, D): two spans of every clip or more become the vector (D,)."""
    if not settings.mask_probability:
        return x
    clips, tokens = x.shape[:2]
    length = min(settings.mask_length, tokens)
    spans = max(2, round(settings.mask_probability * tokens / length))
    start = torch.randint(tokens - length + 1, (clips, spans, 1), device=x.device)
    index = (start + torch.arange(length, device=x.device)).flatten(1)
    inside = torch.zeros(clips, tokens, dtype=torch.bool, device=x.device).scatter(1, index, value=True)
    return torch.where(inside[..., None], vector.to(x.dtype), x)


def normalise_sound(audio: Tensor) -> Tensor:
    """Give samples (S,) zero mean and unit variance; to this the reference's processor adds 1e-5."""
    return (audio - audio.mean()) / torch.sqrt(audio.var(correction=0) + 1e-5)


def _stretched(tokens: Tensor, length: int) -> Tensor:
    """(L, C) tokens, linearly stretched to `length` when they are fewer."""
    if len(tokens) >= length:
        return tokens
    return functional.interpolate(tokens.T[None], size=length, mode="linear", align_corners=True)[0].T

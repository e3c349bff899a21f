"""A plain evaluation of the reference's two models: one clip, full prefixes, vertices in the loop.

It is what `benchmarks/training.py` measures against, and what the tests of `training` take their expected
values from. It shares no code with `training/` and works on the bare tensors of the two checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Heads:
    """What no tensor's shape tells: numbers of attention heads, and the period of talker's positions."""

    prior: int = 8
    talker: int = 4
    audio: int = 16
    period: int = 25


def _layers(w: Weights, prefix: str) -> int:
    """Count the layers: their tensors are called `prefix` and a number."""
    return 1 + max(int(name[len(prefix) :].split(".")[0]) for name in w if name.startswith(prefix))


def _linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return functional.linear(x, w[name + ".weight"], w.get(name + ".bias"))


def _norm(w: Weights, name: str, x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], w[name + ".weight"], w[name + ".bias"])


def _attention(
    q: Tensor, k: Tensor, v: Tensor, heads: int, scale: float, bias: Tensor | None = None
) -> Tensor:
    """Multi-head attention of (L, D) queries to (S, D) keys."""
    q, k, v = (x.view(len(x), heads, -1).transpose(0, 1) for x in (q, k, v))
    scores = q @ k.transpose(1, 2) * scale
    if bias is not None:
        scores = scores + bias
    return (scores.softmax(-1) @ v).transpose(0, 1).flatten(1)


def _prior_transformer(w: Weights, name: str, x: Tensor, heads: int) -> Tensor:
    layers = _layers(w, name + ".net.")
    for index in range(0, layers, 2):
        block, scale = f"{name}.net.{index}.fn", x.shape[-1] ** -0.5
        q, k, v = _linear(w, block + ".fn.to_qkv", _norm(w, block + ".norm", x)).chunk(3, -1)
        x = x + _linear(w, block + ".fn.to_out", _attention(q, k, v, heads, scale))
        block = f"{name}.net.{index + 1}.fn"
        hidden = functional.gelu(
            _linear(w, block + ".fn.l1", _norm(w, block + ".norm", x)), approximate="tanh"
        )
        x = x + _linear(w, block + ".fn.l2", hidden)
    return x


def _prior_convolution(w: Weights, name: str, x: Tensor) -> Tensor:
    padded = functional.pad(x.T[None], (2, 2), mode="replicate")
    x = functional.leaky_relu(functional.conv1d(padded, w[name + ".weight"], w[name + ".bias"]), 0.2)
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, correction=0)
    return ((x - mean) / torch.sqrt(variance + 1e-5))[0].T


def encode(w: Weights, offsets: Tensor, heads: Heads) -> Tensor:
    """Latents (T, D) before quantisation of vertex offsets (T, N)."""
    x = functional.leaky_relu(_linear(w, "encoder.vertice_mapping.0", offsets), 0.2)
    x = _linear(w, "encoder.encoder_linear_embedding.net", _prior_convolution(w, "encoder.squasher.0.0", x))
    x = x + w["encoder.encoder_pos_embedding.pe"][0]
    return _prior_transformer(w, "encoder.encoder_transformer", x, heads.prior)


def quantise(w: Weights, latents: Tensor) -> tuple[Tensor, Tensor]:
    """Codebook entries (T, D) nearest to latents (T, D), and their codes (T, G)."""
    book = w["quantize.embedding.weight"]
    groups = latents.reshape(-1, book.shape[1])
    codes = (groups.square().sum(1, keepdim=True) + book.square().sum(1) - 2 * groups @ book.T).argmin(1)
    return book[codes].view_as(latents), codes.view(len(latents), -1)


def decode(w: Weights, latents: Tensor, heads: Heads) -> Tensor:
    """Vertex offsets (T, N) of quantised latents (T, D)."""
    x = _prior_convolution(w, "decoder.expander.0.0", latents)
    x = _linear(w, "decoder.decoder_linear_embedding.net", x) + w["decoder.decoder_pos_embedding.pe"][0]
    x = _prior_transformer(w, "decoder.decoder_transformer", x, heads.prior)
    return _linear(w, "decoder.vertice_map_reverse", x)


def audio_tokens(w: Weights, audio: Tensor, frames: int | None, heads: Heads) -> Tensor:
    """wav2vec 2.0's tokens (L, D) of normalised samples (S,), stretched to two a frame when fewer."""
    x, prefix = audio[None, None], "audio_encoder.feature_extractor.conv_layers"
    for layer, stride in enumerate((5, 2, 2, 2, 2, 2, 2)):
        conv = f"{prefix}.{layer}.conv"
        x = functional.conv1d(x, w[conv + ".weight"], w[conv + ".bias"], stride)
        x = functional.gelu(_norm(w, f"{prefix}.{layer}.layer_norm", x.transpose(1, 2)).transpose(1, 2))
    x = x[..., : x.shape[-1] // 2 * 2]
    if frames is not None and x.shape[-1] < 2 * frames:
        x = functional.interpolate(x, 2 * frames, mode="linear", align_corners=True)
    x = _norm(w, "audio_encoder.feature_projection.layer_norm", x[0].T)
    return _audio_transformer(w, _linear(w, "audio_encoder.feature_projection.projection", x), heads)


def _audio_transformer(w: Weights, x: Tensor, heads: Heads) -> Tensor:
    name = "audio_encoder.encoder.pos_conv_embed.conv"
    magnitude = w[name + ".parametrizations.weight.original0"]
    direction = w[name + ".parametrizations.weight.original1"]
    kernel = magnitude * direction / direction.pow(2).sum((0, 1), keepdim=True).sqrt()
    groups, width = x.shape[-1] // kernel.shape[1], kernel.shape[-1]
    positions = functional.conv1d(x.T[None], kernel, w[name + ".bias"], padding=width // 2, groups=groups)
    x = x + functional.gelu(positions[0, :, : len(x)]).T
    layers = _layers(w, "audio_encoder.encoder.layers.")
    for layer in range(layers):
        block = f"audio_encoder.encoder.layers.{layer}"
        y = _norm(w, block + ".layer_norm", x)
        q, k, v = (_linear(w, f"{block}.attention.{part}_proj", y) for part in "qkv")
        scale = (x.shape[-1] / heads.audio) ** -0.5
        x = x + _linear(w, block + ".attention.out_proj", _attention(q, k, v, heads.audio, scale))
        y = _linear(w, block + ".feed_forward.intermediate_dense", _norm(w, block + ".final_layer_norm", x))
        x = x + _linear(w, block + ".feed_forward.output_dense", functional.gelu(y))
    return _norm(w, "audio_encoder.encoder.layer_norm", x)


def masks(frames: int, tokens: int, heads: Heads) -> tuple[Tensor, Tensor]:
    """Make what is added to the scores: (H, T, T) for the past, (T, L) for the sound."""
    i, j, token = torch.arange(frames)[:, None], torch.arange(frames), torch.arange(tokens)
    slopes = torch.tensor([2.0 ** (-8 / heads.talker * (head + 1)) for head in range(heads.talker)])
    bias = -slopes[:, None, None] * ((i - j) // heads.period)
    bias = torch.where(j <= i, bias, -math.inf)
    audible = torch.where(token // 2 == i, 0.0, -math.inf)
    return bias, audible


def decoder(w: Weights, x: Tensor, memory: Tensor, heads: Heads, bias: Tensor, audible: Tensor) -> Tensor:
    """Latents (T, D) of the talker's inputs (T, D), with full masks over (T, T) and (T, L)."""
    layers = _layers(w, "transformer_decoder.layers.")
    for layer in range(layers):
        block = f"transformer_decoder.layers.{layer}"
        x = _norm(w, block + ".norm1", x + _talker_attention(w, block + ".self_attn", x, x, heads, bias))
        x = _norm(
            w,
            block + ".norm2",
            x + _talker_attention(w, block + ".multihead_attn", x, memory, heads, audible),
        )
        hidden = functional.relu(_linear(w, block + ".linear1", x))
        x = _norm(w, block + ".norm3", x + _linear(w, block + ".linear2", hidden))
    return _linear(w, "feat_map", x)


def _talker_attention(w: Weights, name: str, x: Tensor, memory: Tensor, heads: Heads, bias: Tensor) -> Tensor:
    parts = zip(w[name + ".in_proj_weight"].chunk(3), w[name + ".in_proj_bias"].chunk(3), strict=True)
    q, k, v = (functional.linear(y, *part) for y, part in zip((x, memory, memory), parts, strict=True))
    scale = (x.shape[-1] / heads.talker) ** -0.5
    return _linear(w, name + ".out_proj", _attention(q, k, v, heads.talker, scale, bias))


def predict(
    prior: Weights, talker: Weights, memory: Tensor, style: Tensor, heads: Heads, frames: int
) -> tuple[Tensor, Tensor]:
    """Vertex offsets (T, N) and codes (T, G), frame by frame, from mapped audio tokens (L, D)."""
    dim, positions = len(style), talker["PPE.pe"][0]
    embedding = style[None]
    bias, audible = (mask.to(memory.device) for mask in masks(frames, len(memory), heads))
    for time in range(frames):
        x = embedding + positions[torch.arange(time + 1) % heads.period]
        past = slice(0, time + 1)
        latent_guess = decoder(talker, x, memory, heads, bias[:, past, past], audible[past])
        latents, codes = quantise(prior, latent_guess)
        # InstanceNorm needs two frames: the first is decoded twice over.
        offsets = decode(prior, latents.expand(2, dim) if time == 0 else latents, heads)[: time + 1]
        if time + 1 < frames:
            shifted = _linear(talker, "vertice_map", offsets[-1:]) + style
            embedding = torch.cat([embedding, shifted])
    return offsets, codes


def teacher_forced(
    prior: Weights, talker: Weights, memory: Tensor, style: Tensor, offsets: Tensor, heads: Heads
) -> tuple[Tensor, Tensor]:
    """Losses of a clip with offsets (T, N): mean squared error of vertices and of latents."""
    shifted = torch.cat([torch.zeros_like(offsets[:1]), offsets[:-1]])
    x = (
        _linear(talker, "vertice_map", shifted)
        + style
        + talker["PPE.pe"][0][torch.arange(len(shifted)) % heads.period]
    )
    latents = decoder(talker, x, memory, heads, *masks(len(x), len(memory), heads))
    decoded = decode(prior, quantise(prior, latents)[0], heads)
    target = quantise(prior, encode(prior, offsets, heads))[0]
    return (decoded - offsets).square().mean(), (latents - target).square().mean()

"""From a checkpoint's tensors to encoder and decoder: sizes read off them, every name accounted for.

Understood are the names of the original checkpoint (`encoder.w2v_model.*`) and those of its export on the
Hugging Face hub (`model.encoder.*`, with the names that transformers gives to the same layers).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from multitalk.eval.lip_reading.network.av_hubert import AvHubertEncoder, EncoderShape
from multitalk.eval.lip_reading.network.speech_decoder import DecoderShape, SpeechDecoder

ENCODER_PREFIXES = ("encoder.w2v_model.", "model.encoder.")

_HUB_NAMES = (
    (r"encoder\.pos_conv_embed\.conv\.", "encoder.pos_conv.0."),
    (r"(layers\.\d+)\.attention\.", r"\1.self_attn."),
    (r"(layers\.\d+)\.layer_norm\.", r"\1.self_attn_layer_norm."),
    (r"(layers\.\d+)\.feed_forward\.intermediate_dense\.", r"\1.fc1."),
    (r"(layers\.\d+)\.feed_forward\.output_dense\.", r"\1.fc2."),
    (r"\.parametrizations\.weight\.original0$", ".weight_g"),
    (r"\.parametrizations\.weight\.original1$", ".weight_v"),
)
# Only pre-training uses these.
_UNUSED = re.compile(r"mask_emb|label_embs_concat|final_proj\..*")


class WeightsError(ValueError):
    """A checkpoint's tensors are not those of the model: one is missing, left over, or of another shape."""


def take_prefix(tensors: Mapping[str, Tensor], prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """Return the tensors under the first of `prefixes` that occurs, without it.

    Raises
    ------
    WeightsError
        No tensor bears any of the prefixes.
    """
    for prefix in prefixes:
        chosen = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        if chosen:
            return chosen
    raise WeightsError(f"no tensor's name begins with {' or '.join(prefixes)}: not an AV-HuBERT checkpoint")


def rename(name: str, patterns: tuple[tuple[str, str], ...]) -> str:
    """Apply regular expressions in order."""
    for pattern, replacement in patterns:
        name = re.sub(pattern, replacement, name)
    return name


def load_strictly(module: torch.nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Make tensors a module's own, in float32, and put it in evaluation mode.

    Raises
    ------
    WeightsError
        A name is missing or left over, or a shape differs; the message lists the first few.
    """
    own = module.state_dict()
    missing, left_over = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    wrong = [
        f"{name} {tuple(tensors[name].shape)} is not {tuple(own[name].shape)}"
        for name in sorted(own.keys() & tensors.keys())
        if own[name].shape != tensors[name].shape
    ]
    found = [("missing", missing), ("not known", left_over), ("of another shape", wrong)]
    problems = [f"{len(names)} {kind} ({', '.join(names[:3])})" for kind, names in found if names]
    if problems:
        raise WeightsError(f"the tensors are not those of {what}: {'; '.join(problems)}")
    values = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    module.load_state_dict(values, assign=True)
    module.eval().requires_grad_(False)


def encoder_from_tensors(tensors: Mapping[str, Tensor], heads: int | None = None) -> AvHubertEncoder:
    """Build the encoder that a checkpoint holds.

    Parameters
    ----------
    tensors
        All tensors of the checkpoint; those of the decoder are passed over.
    heads
        Attention heads; none of the tensors tells. AV-HuBERT's base and large models have 64 dimensions a
        head.

    Raises
    ------
    WeightsError
        A tensor is missing, left over or of another shape.
    """
    own = {rename(name, _HUB_NAMES): t for name, t in take_prefix(tensors, ENCODER_PREFIXES).items()}
    own = {name: tensor for name, tensor in own.items() if not _UNUSED.fullmatch(name)}
    _fold_weight_norm(own, "encoder.pos_conv.0")
    with torch.device("meta"):  # no random weights for hundreds of millions of parameters
        encoder = AvHubertEncoder(_shape(own, heads))
    load_strictly(encoder, own, "AV-HuBERT's encoder")
    return encoder


def _fold_weight_norm(tensors: dict[str, Tensor], layer: str) -> None:
    """Replace `weight_g` (1, 1, K) and `weight_v` (D, D / groups, K) by the weight that they make.

    Each position of the kernel is scaled to the norm that `weight_g` gives it.
    """
    if f"{layer}.weight" in tensors:
        return
    try:
        gain, direction = tensors.pop(f"{layer}.weight_g"), tensors.pop(f"{layer}.weight_v")
    except KeyError as error:
        raise WeightsError(f"tensor {error} is missing") from error
    norm = direction.double().pow(2).sum(dim=(0, 1), keepdim=True).sqrt()
    tensors[f"{layer}.weight"] = (gain.double() * direction.double() / norm).to(direction.dtype)


def _shape(tensors: Mapping[str, Tensor], heads: int | None) -> EncoderShape:
    layers = {int(m[1]) for name in tensors if (m := re.match(r"encoder\.layers\.(\d+)\.", name))}
    try:
        width = tensors["post_extract_proj.weight"].shape[0]
        positions = tensors["encoder.pos_conv.0.weight"].shape
        return EncoderShape(
            width=width,
            layers=len(layers),
            heads=heads or max(1, width // 64),
            feed_forward=tensors["encoder.layers.0.fc1.weight"].shape[0],
            audio_features=tensors["feature_extractor_audio.proj.weight"].shape[1],
            position_kernel=positions[2],
            position_groups=width // positions[1],
        )
    except (KeyError, IndexError, ZeroDivisionError, ValueError) as error:
        raise WeightsError(
            f"the sizes of AV-HuBERT's encoder can not be read off its tensors ({error})"
        ) from error


DECODER_PREFIXES = ("decoder.", "model.decoder.")
# MuAViC's two sizes; attention heads are the one thing that tensors do not tell.
_DECODER_HEADS = {768: 4, 1024: 8}
_DECODER_UNUSED = re.compile(r"version|embed_positions\..*")


def decoder_from_tensors(
    tensors: Mapping[str, Tensor], heads: int | None = None, *, scale_embedding: bool = False
) -> SpeechDecoder:
    """Build the decoder that a checkpoint holds.

    Parameters
    ----------
    tensors
        All tensors of the checkpoint; those of the encoder are passed over.
    heads
        Attention heads; None for those of MuAViC's models of this width.
    scale_embedding
        Whether embeddings are multiplied by the root of the width.

    Raises
    ------
    WeightsError
        A tensor is missing, left over or of another shape, or the heads of this width are not known.
    """
    own = take_prefix(tensors, DECODER_PREFIXES)
    own = {name: tensor for name, tensor in own.items() if not _DECODER_UNUSED.fullmatch(name)}
    with torch.device("meta"):
        decoder = SpeechDecoder(_decoder_shape(own, heads, scale_embedding))
    load_strictly(decoder, own, "the speech decoder")
    return decoder


def _decoder_shape(tensors: Mapping[str, Tensor], heads: int | None, scale_embedding: bool) -> DecoderShape:
    layers = {int(m[1]) for name in tensors if (m := re.match(r"layers\.(\d+)\.", name))}
    try:
        vocabulary, width = tensors["embed_tokens.weight"].shape
        if heads is None and width not in _DECODER_HEADS:
            raise WeightsError(f"a decoder of width {width} is not MuAViC's: say how many heads it has")
        return DecoderShape(
            vocabulary=vocabulary,
            width=width,
            layers=len(layers),
            heads=heads or _DECODER_HEADS[width],
            feed_forward=tensors["layers.0.fc1.weight"].shape[0],
            memory_width=tensors["layers.0.encoder_attn.k_proj.weight"].shape[1],
            scale_embedding=scale_embedding,
            tied="embed_out" not in tensors,
        )
    except WeightsError:
        raise
    except (KeyError, IndexError, ValueError) as error:
        raise WeightsError(f"the decoder's sizes can not be read off its tensors ({error})") from error

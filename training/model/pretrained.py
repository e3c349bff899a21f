"""Published weights of wav2vec 2.0, in a folder as the Hugging Face hub has it: the encoder alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from multitalk.ground.untrusted.checkpoint_file import read_safetensors
from multitalk.training.layers.wav2vec2 import Wav2Vec2
from multitalk.training.model.checkpoints import load_strictly, read_state_dict
from multitalk.training.settings import AudioEncoderError, Wav2Vec2Settings

PAGE = "https://huggingface.co/facebook/wav2vec2-large-xlsr-53"
_NORM_NAMES = {
    "encoder.pos_conv_embed.conv.weight_g": "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
    "encoder.pos_conv_embed.conv.weight_v": "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
}
_HEADS = ("quantizer.", "project_q.", "project_hid.", "lm_head.", "dropout_features.")
"""Parts of pretrained or fine-tuned models that are no part of the encoder."""


def load_wav2vec2(directory: Path) -> Wav2Vec2:
    """Open a model such as XLSR-53. No tokenizer is needed or looked for.

    Raises
    ------
    AudioEncoderError
        When the folder lacks the configuration or the weights, or they do not fit this encoder.
    """
    try:
        config = json.loads((directory / "config.json").read_text("utf-8"))
        if not config["do_stable_layer_norm"] or config["feat_extract_norm"] != "layer":
            raise AudioEncoderError(
                f"{directory}: only wav2vec 2.0 with layer norm throughout, as XLSR-53 has it"
            )
        model = Wav2Vec2(settings_of(config))
        state = _weights(directory)
        load_strictly(model, state, directory)
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{directory}: not a wav2vec 2.0 model ({error}). XLSR-53 is at {PAGE}"
        raise AudioEncoderError(message) from error
    return model


def settings_of(config: Mapping[str, object]) -> Wav2Vec2Settings:
    """Sizes, and rates of training where they are given, out of the hub's `config.json`.

    Raises
    ------
    KeyError, TypeError, ValueError
        A size is missing or is none.
    """
    names = {
        "dropout": "hidden_dropout",
        "layer_drop": "layerdrop",
        "mask_probability": "mask_time_prob",
        "mask_length": "mask_time_length",
        "hidden": "hidden_size",
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "feed_forward": "intermediate_size",
        "position_kernel": "num_conv_pos_embeddings",
        "position_groups": "num_conv_pos_embedding_groups",
    }
    channels = config["conv_dim"]
    if not isinstance(channels, list) or not channels:
        raise TypeError(f"conv_dim is {channels!r}, no list of channels")
    optional = ("dropout", "layer_drop", "mask_probability", "mask_length")
    sizes = {
        ours: config[theirs] for ours, theirs in names.items() if ours not in optional or theirs in config
    }
    return Wav2Vec2Settings.model_validate({"conv_dim": channels[0], **sizes})


def _weights(directory: Path) -> dict[str, Tensor]:
    tensors = directory / "model.safetensors"
    pickled = directory / "pytorch_model.bin"
    state = read_safetensors(tensors) if tensors.exists() else read_state_dict(pickled)
    plain = {name.removeprefix("wav2vec2."): tensor for name, tensor in state.items()}
    return {_NORM_NAMES.get(n, n): tensor for n, tensor in plain.items() if not n.startswith(_HEADS)}

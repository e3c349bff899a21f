"""An audio encoder that is trained along with a talker, in part.

wav2vec 2.0 is cut in two. The lower part stays frozen and is an audio encoder like any other
(`Wav2Vec2Encoder.below`), so its features are cached; the upper part, `TunedEncoder`, belongs to the talker. The cut
lies above the convolutions (`lora`, `full`) or below the last layers (`top_layers`).

The LoRA library for transformers brings three more libraries along; what is needed of it are the lines of
`LoraLinear`.

Shapes: B clips, T frames, A width of the lower part's features, D hidden.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from multitalk.training.layers.wav2vec2 import Wav2Vec2, masked, run_layers
from multitalk.training.model.audio_encoder import Wav2Vec2Encoder
from multitalk.training.settings import AudioEncoderError, TuningSettings

_ADAPTED = ("q_proj", "k_proj", "v_proj", "out_proj")


class LoraLinear(nn.Module):
    """A frozen linear map and a trained addition of low rank, zero at first (Hu et al. 2022, equation 3).

    Parameters
    ----------
    linear : nn.Linear
        The map.
    rank : int
        Of the addition.
    """

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        super().__init__()
        self.linear = linear
        self.down = nn.Linear(linear.in_features, rank, bias=False)
        self.up = nn.Linear(rank, linear.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        out: Tensor = self.linear(x) + self.up(self.down(x))
        return out

    def merged(self) -> nn.Linear:
        """Make one linear map of both."""
        linear = copy.deepcopy(self.linear)
        linear.weight.data += self.up.weight.data @ self.down.weight.data
        return linear


class TunedEncoder(nn.Module):
    """The upper part of a wav2vec 2.0. Its state dict holds what is trained and nothing else.

    Parameters
    ----------
    model : Wav2Vec2
        Copied; the copy is trained.
    tuning : TuningSettings
        Which part, not `frozen`.

    Raises
    ------
    AudioEncoderError
        When more layers are to be trained than the model has.
    """

    def __init__(self, model: Wav2Vec2, tuning: TuningSettings) -> None:
        super().__init__()
        self.settings, self.tuning = model.settings, tuning
        first = frozen_layers(model, tuning)
        self.layers = copy.deepcopy(model.encoder.layers[first:])
        self.layer_norm = copy.deepcopy(model.encoder.layer_norm)
        self.entry = InputLayers(model) if first == 0 else None
        self.requires_grad_(tuning.kind != "lora")
        if tuning.kind == "lora":
            _add_lora(self.layers, tuning.rank)
        self.train()  # the model that it was copied from was not
        self.frozen = frozenset(name for name, p in self.named_parameters() if not p.requires_grad)
        self.register_state_dict_post_hook(_leave_out_frozen)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_keep_frozen)  # type: ignore[no-untyped-call]

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, 2 T, A) of the lower part -> (B, 2 T, D)."""
        x = features if self.entry is None else self.entry(features, self.tuning.kind == "full")
        x = run_layers(self.layers, x, None, self.settings.layer_drop if self.training else 0.0)
        out: Tensor = self.layer_norm(x)
        return out


class InputLayers(nn.Module):
    """What lies between the convolutions and the layers: projection, masked spans, positions.

    Parameters
    ----------
    model : Wav2Vec2
        Copied.
    """

    def __init__(self, model: Wav2Vec2) -> None:
        super().__init__()
        self.settings = model.settings
        self.masked_spec_embed = copy.deepcopy(model.masked_spec_embed)
        self.feature_projection = copy.deepcopy(model.feature_projection)
        self.pos_conv_embed = copy.deepcopy(model.encoder.pos_conv_embed)
        self.dropout = nn.Dropout(model.settings.dropout)

    def forward(self, tokens: Tensor, mask: bool) -> Tensor:
        """(B, 2 T, conv_dim) -> (B, 2 T, D); spans are masked in training if `mask`."""
        x = self.feature_projection(tokens)
        if mask and self.training:
            x = masked(x, self.masked_spec_embed, self.settings)
        out: Tensor = self.dropout(x + self.pos_conv_embed(x))
        return out


def lower_part(encoder: Wav2Vec2Encoder, tuning: TuningSettings) -> Wav2Vec2Encoder:
    """Give the part of an audio encoder that stays frozen and feeds `TunedEncoder`."""
    return encoder.below(frozen_layers(encoder.model, tuning))


def frozen_layers(model: Wav2Vec2, tuning: TuningSettings) -> int:
    """Count the transformer layers of the lower part.

    Raises
    ------
    AudioEncoderError
        When more are to be trained than there are.
    """
    if tuning.kind != "top_layers":
        return 0
    layers = model.settings.layers
    if tuning.layers >= layers:
        raise AudioEncoderError(
            f"this wav2vec 2.0 has {layers} layers: train {layers - 1} or fewer of them, or `full`"
        )
    return layers - tuning.layers


def merged_encoder(model: Wav2Vec2, tuned_encoder: TunedEncoder) -> Wav2Vec2:
    """Make a plain wav2vec 2.0 of the model that `tuned_encoder` was cut from and what it has learned."""
    whole = copy.deepcopy(model)
    first = frozen_layers(model, tuned_encoder.tuning)
    whole.encoder.layers = whole.encoder.layers[:first] + copy.deepcopy(tuned_encoder.layers)
    for module in list(whole.encoder.layers.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, LoraLinear):
                setattr(module, name, child.merged())
    whole.encoder.layer_norm = copy.deepcopy(tuned_encoder.layer_norm)
    if tuned_encoder.entry is not None:
        entry = copy.deepcopy(tuned_encoder.entry)
        whole.masked_spec_embed, whole.feature_projection = entry.masked_spec_embed, entry.feature_projection
        whole.encoder.pos_conv_embed = entry.pos_conv_embed
    return whole.eval().requires_grad_(False)


def _add_lora(layers: nn.Module, rank: int) -> None:
    for module in list(layers.modules()):
        for name in _ADAPTED:
            if isinstance(linear := getattr(module, name, None), nn.Linear):
                setattr(module, name, LoraLinear(linear, rank))


def _leave_out_frozen(tuned_encoder: nn.Module, state: dict[str, Any], prefix: str, _: object) -> None:
    """Drop from a state dict what comes from the encoder's own file."""
    assert isinstance(tuned_encoder, TunedEncoder)
    for name in tuned_encoder.frozen:
        del state[prefix + name]


def _keep_frozen(tuned_encoder: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Fill a state dict that is being loaded with what it leaves out."""
    assert isinstance(tuned_encoder, TunedEncoder)
    for name, parameter in tuned_encoder.named_parameters():
        if name in tuned_encoder.frozen:
            state[prefix + name] = parameter.data

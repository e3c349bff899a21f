"""Sizes of the models as pydantic models. Nothing heavy is imported: flows and the command line show them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

REFERENCE_LANGUAGES = (
    "arabic", "english", "french", "german", "greek", "italian",
    "portuguese", "russian", "spanish", "korean", "mandarin", "japanese",
)  # fmt: skip
"""Rows of the published talker's language table. Korean has a row and no clips; nine languages have none."""

LANGUAGES = (
    "arabic", "catalan", "croatian", "czech", "dutch", "english", "french", "german", "greek", "hindi",
    "italian", "japanese", "mandarin", "polish", "portuguese", "russian", "spanish", "thai", "turkish",
    "ukrainian",
)  # fmt: skip
"""MultiTalk's twenty languages."""


class AudioEncoderError(ValueError):
    """An audio encoder's files are missing or are not what they should be."""


class ModelSettings(BaseModel):
    """Base of all settings here: immutable, and an unknown name is an error rather than ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Wav2Vec2Settings(ModelSettings):
    """Sizes of a wav2vec 2.0 encoder; the defaults are XLSR-53's."""

    conv_dim: PositiveInt = Field(default=512, description="channels of the seven convolutions")
    hidden: PositiveInt = Field(default=1024, description="width of the transformer")
    layers: PositiveInt = Field(default=24, description="transformer layers")
    heads: PositiveInt = Field(default=16, description="attention heads")
    feed_forward: PositiveInt = Field(default=4096, description="width of the feed-forward blocks")
    position_kernel: PositiveInt = Field(
        default=128, description="kernel of the positional convolution, in tokens"
    )
    position_groups: PositiveInt = Field(default=16, description="groups of the positional convolution")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="dropout in the transformer, in training")
    layer_drop: float = Field(default=0.1, ge=0, lt=1, description="probability to skip a layer, in training")
    mask_probability: float = Field(
        default=0.075, ge=0, lt=1, description="share of tokens that begin a masked span"
    )
    mask_length: PositiveInt = Field(default=10, description="length of a masked span, in tokens")


class TuningSettings(ModelSettings):
    """How much of a wav2vec 2.0 is trained with a default talker; its convolutions never are."""

    kind: Literal["frozen", "lora", "top_layers", "full"] = Field(
        default="frozen",
        description="nothing, small additions to its attention, its last layers, or all of its transformer",
    )
    rank: PositiveInt = Field(default=16, description="of the additions, for `lora`")
    layers: PositiveInt = Field(default=4, description="trained layers, for `top_layers`")


class ReferencePriorSettings(ModelSettings):
    """Sizes of the reference's motion prior; the defaults are the published checkpoint's."""

    architecture: Literal["reference"] = Field(default="reference", description="which architecture")
    vertex_values: PositiveInt = Field(default=15069, description="three times the number of vertices")
    hidden: PositiveInt = Field(default=1024, description="width of the transformers")
    layers: PositiveInt = Field(default=6, description="transformer layers, in encoder and decoder each")
    heads: PositiveInt = Field(default=8, description="attention heads")
    feed_forward: PositiveInt = Field(default=1536, description="width of the feed-forward blocks")
    codes_per_frame: PositiveInt = Field(default=16, description="codes that a frame is cut into")
    codebook_size: PositiveInt = Field(default=256, description="entries of the codebook")
    code_dim: PositiveInt = Field(
        default=64, description="width of an entry; times codes_per_frame it is `hidden`"
    )
    dropout: float = Field(default=0.1, ge=0, lt=1, description="dropout on the positions, in training")


class ReferenceTalkerSettings(ModelSettings):
    """Sizes of the reference's talker; the defaults are the published checkpoint's."""

    architecture: Literal["reference"] = Field(default="reference", description="which architecture")
    vertex_values: PositiveInt = Field(default=15069, description="three times the number of vertices")
    latent: PositiveInt = Field(default=1024, description="width of the prior's latents: its `hidden`")
    hidden: PositiveInt = Field(default=1024, description="width of the decoder")
    layers: PositiveInt = Field(default=6, description="decoder layers")
    heads: PositiveInt = Field(default=4, description="attention heads")
    period: PositiveInt = Field(default=25, description="frames after which the positions repeat")
    languages: tuple[str, ...] = Field(
        default=REFERENCE_LANGUAGES, description="rows of the language table, in order"
    )
    dropout: float = Field(default=0.1, ge=0, lt=1, description="dropout in the decoder, in training")
    audio: Wav2Vec2Settings = Field(default=Wav2Vec2Settings(), description="the audio encoder")


class MotionPriorSettings(ModelSettings):
    """Sizes of the default motion prior; the defaults are those of preset `multitalk`."""

    architecture: Literal["multitalk"] = Field(default="multitalk", description="which architecture")
    hidden: PositiveInt = Field(default=512, description="channels of the convolutions")
    blocks: PositiveInt = Field(default=4, description="residual blocks, in encoder and decoder each")
    codes_per_frame: PositiveInt = Field(default=8, description="codes that a frame is cut into")
    codebook_size: PositiveInt = Field(default=512, description="entries of the codebook")
    code_dim: PositiveInt = Field(default=32, description="width of an entry")

    @property
    def latent(self) -> int:
        """Width of a frame's latent."""
        return self.codes_per_frame * self.code_dim


class TalkerSettings(ModelSettings):
    """Sizes of the default talker; the defaults are those of preset `multitalk`."""

    architecture: Literal["multitalk"] = Field(default="multitalk", description="which architecture")
    hidden: PositiveInt = Field(default=512, description="width of the transformer")
    layers: PositiveInt = Field(default=8, description="transformer layers")
    heads: PositiveInt = Field(default=8, description="attention heads")
    feed_forward: PositiveInt = Field(default=2048, description="width of the feed-forward blocks")
    window: PositiveInt = Field(default=250, description="frames of the past that a frame attends to")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="dropout, in training")
    own_feedback: float = Field(
        default=0.5, ge=0, le=1, description="share of frames that are told what was predicted, in training"
    )
    languages: tuple[str, ...] = Field(default=LANGUAGES, description="rows of the language table, in order")

    @model_validator(mode="after")
    def _even_heads(self) -> Self:
        # Rotary positions turn the values of a head in pairs.
        if self.hidden % (2 * self.heads):
            raise ValueError(f"hidden is {self.hidden}, no multiple of twice the heads ({self.heads})")
        return self

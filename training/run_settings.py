"""Settings of training runs, as pydantic models that import nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from multitalk.training.settings import (
    ModelSettings,
    MotionPriorSettings,
    ReferencePriorSettings,
    ReferenceTalkerSettings,
    TalkerSettings,
    TuningSettings,
)


class AudioSettings(ModelSettings):
    """The audio encoder of a default talker."""

    encoder: Literal["whisper", "wav2vec2"] = Field(default="whisper", description="which encoder")
    directory: Path | None = Field(
        default=None, description="folder of its model; none takes the one that the project's assets hold"
    )
    tuning: TuningSettings = Field(
        default=TuningSettings(), description="how much of a wav2vec 2.0 is trained along"
    )

    @model_validator(mode="after")
    def _trainable(self) -> Self:
        if self.encoder == "whisper" and self.tuning.kind != "frozen":
            raise ValueError(
                "Whisper's encoder can only be frozen: give the folder of a wav2vec 2.0 with --audio-encoder to tune it"
            )
        return self


class DataSettings(ModelSettings):
    """Which clips, and how they become batches."""

    release: str | None = Field(default=None, description="a release; none: all accepted clips")
    cache: Path | None = Field(default=None, description="folder of packed data; none: `cache` in the root")
    batch_size: PositiveInt = Field(default=32, description="clips of an optimiser step, over all processes")
    max_frames: PositiveInt = Field(
        default=250, description="longer clips are cut to a window of this length"
    )
    cut_leftovers: bool = Field(
        default=True,
        description="clips that fill no batch of their length are cut to the shortest of their neighbours; "
        "otherwise they come in smaller batches, uncut",
    )
    language_balance: float = Field(
        default=0.5, ge=0, le=1, description="0 draws languages by their clips, 1 all alike, between: a power"
    )
    workers: int = Field(default=0, ge=0, description="processes that read ahead")


class OptimiserSettings(ModelSettings):
    """How weights are changed."""

    kind: Literal["adamw", "adam"] = Field(
        default="adamw", description="Adam with or without decoupled decay"
    )
    learning_rate: PositiveFloat = Field(default=3e-4, description="highest learning rate")
    audio_share: PositiveFloat = Field(
        default=0.1, description="learning rate of a tuned audio encoder, as a share of the talker's"
    )
    weight_decay: float = Field(default=0.01, ge=0, description="AdamW's weight decay")
    warmup_steps: int = Field(default=500, ge=0, description="steps of linear rise at the start")
    schedule: Literal["constant", "cosine", "halving"] = Field(
        default="cosine", description="after the rise: constant, cosine to zero, or halved every few epochs"
    )
    halving_epochs: PositiveInt = Field(default=20, description="epochs between halvings")
    clip_norm: float = Field(default=1.0, ge=0, description="gradients are clipped to this norm; 0 does not")
    ema_decay: float = Field(default=0.999, ge=0, lt=1, description="decay of averaged weights; 0 keeps none")


class TrainingSettings(ModelSettings):
    """A training run, whatever it trains."""

    data: DataSettings = Field(default=DataSettings(), description="clips and batches")
    optimiser: OptimiserSettings = Field(default=OptimiserSettings(), description="optimiser")
    epochs: PositiveFloat = Field(default=100, description="passes over the data")
    steps: PositiveInt | None = Field(default=None, description="optimiser steps, instead of epochs")
    round_steps: PositiveInt = Field(
        default=1000, description="steps between checkpoints, each with a validation"
    )
    accumulate: PositiveInt = Field(default=1, description="batches whose gradients make one step")
    validation_clips: PositiveInt = Field(default=64, description="clips of each validation, at most")
    revive_steps: int = Field(
        default=200, ge=0, description="steps between revivals of unused codes; 0: never"
    )
    precision: Literal["32-true", "bf16-mixed"] = Field(default="32-true", description="arithmetic")
    seed: int = Field(default=0, ge=0, description="of weights, order and dropout")
    accelerator: Literal["auto", "cpu", "gpu"] = Field(default="auto", description="kind of device")
    devices: PositiveInt | None = Field(
        default=None, description="processes on this node; none: all GPUs, or one"
    )
    nodes: PositiveInt = Field(default=1, description="nodes; start one run on each with torchrun")
    logger: Literal["tensorboard", "wandb", "none"] = Field(
        default="tensorboard", description="where curves go"
    )


class PriorRun(ModelSettings):
    """Everything that `multitalk train prior` needs to know beside the dataset."""

    model: MotionPriorSettings | ReferencePriorSettings = Field(
        default=MotionPriorSettings(), discriminator="architecture", description="the motion prior"
    )
    training: TrainingSettings = Field(default=TrainingSettings(), description="the run")

    @model_validator(mode="after")
    def _reviving(self) -> Self:
        if self.model.architecture == "reference" and self.training.revive_steps:
            raise ValueError("the reference's prior never revives codes: set training.revive_steps to 0")
        return self


class TalkerRun(ModelSettings):
    """Everything that `multitalk train talker` needs to know beside the dataset and the prior."""

    model: TalkerSettings | ReferenceTalkerSettings = Field(
        default=TalkerSettings(), discriminator="architecture", description="the talker"
    )
    audio: AudioSettings = Field(default=AudioSettings(), description="its audio encoder")
    training: TrainingSettings = Field(default=TrainingSettings(), description="the run")

"""Settings of the commands and flows about models; light to import, so that the command line can show them."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from multitalk.eval.settings import MotionEvaluationSettings
from multitalk.training.talk import TalkSettings


class Settings(BaseModel):
    """Frozen, and no name but those it knows."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class EvaluateSettings(Settings):
    """Which predictions are measured against which truth."""

    predictions: dict[str, Path] = Field(
        default_factory=dict, description="folder of .npy or .npz files by model"
    )
    ground_truth: Path | None = Field(None, description="folder of true .npy or .npz files")
    root: Path | None = Field(None, description="folder of the dataset, with `release`")
    release: str | None = Field(None, description="release whose clips are the truth, instead of a folder")
    split: Literal["train", "val", "test"] = Field("test", description="part of the release")
    head_model: str | None = Field(None, description="name or file of the clips' head model, if not known")
    sounds: Path | None = Field(None, description="folder of <clip>.wav beside `ground_truth`, for SLCC")
    baselines: bool = Field(False, description="add what knows nothing of the speech: still, mean, shuffled")
    measures: MotionEvaluationSettings = Field(
        MotionEvaluationSettings(), description="metrics, regions, units and intervals"
    )

    @model_validator(mode="after")
    def _one_truth(self) -> Self:
        if (self.ground_truth is None) == (self.release is None):
            raise ValueError("give either a folder of ground truth or a release")
        if self.release is not None and self.root is None:
            raise ValueError("a release needs the dataset's root")
        if not self.predictions and not self.baselines:
            raise ValueError("there are no predictions to measure")
        return self


class EvaluateTalkerSettings(Settings):
    """Which talker speaks which clips."""

    root: Path = Field(description="folder of the dataset")
    release: str = Field(description="release whose clips are spoken")
    split: Literal["train", "val", "test"] = Field("test", description="part of the release")
    prior: Path = Field(description="file of the motion prior")
    talker: Path = Field(description="file of the talker")
    audio_encoder: Path | None = Field(
        None, description="folder of the talker's audio encoder; none: Whisper base"
    )
    head_model: str | None = Field(None, description="name or file, where the release does not tell")
    device: str = Field("cpu", description="where torch runs, such as cuda")


class TrainSettings(Settings):
    """Which model is trained on which dataset."""

    root: Path = Field(description="folder of the dataset")
    out: Path = Field(description="folder of the experiment: gets prior/ and talker/")
    preset: str = Field("multitalk", description="multitalk-reference, multitalk or tiny")
    release: str | None = Field(None, description="release to train on; none: all accepted clips")
    steps: int | None = Field(None, ge=1, description="optimiser steps, instead of the preset's")
    resume: bool = Field(False, description="go on from the experiment's last checkpoint")
    audio_encoder: Path | None = Field(
        None, description="folder of the talker's audio encoder; none: Whisper base"
    )
    audio_tuning: Literal["frozen", "lora", "top_layers", "full"] = Field(
        "frozen", description="how much of a wav2vec 2.0 in `audio_encoder` is trained along"
    )
    changes: dict[str, Any] = Field(
        default_factory=dict,
        description="any setting of the preset that is to be another, e.g. {training: {logger: wandb}}; "
        "`run.json` of an experiment shows them all",
    )


class TalkFilesSettings(TalkSettings):
    """Which sounds are spoken, by which models, and where the motion goes."""

    audio: tuple[Path, ...] = Field(min_length=1, description="sound or video files of any length")
    prior: Path = Field(description="file of the motion prior")
    talker: Path = Field(description="file of the talker")
    out: Path = Field(
        description="vertices and motion (.npz), vertices (.npy), a video with the sound (.mp4), or ARKit's weights "
        "for engines (.glb, .usd, .csv of Live Link, .json of Audio2Face); with several sounds a folder"
    )
    format: Literal["npz", "npy", "mp4", "glb", "usd", "csv", "json"] = Field(
        "npz", description="of files in a folder"
    )
    head_model: str | None = Field(None, description="name or file; none: the one that the prior names")
    audio_encoder: Path | None = Field(
        None, description="folder of the talker's audio encoder; none: Whisper base"
    )

    @property
    def style(self) -> TalkSettings:
        """How the talker speaks."""
        return TalkSettings(**self.model_dump(include=set(TalkSettings.model_fields)))

"""Settings of both evaluations; light to import, so that the command line can show them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

PAPER_SNRS = (-7.5, -10.0)


class MotionEvaluationSettings(BaseModel):
    """How predicted motion is measured against the truth."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metrics: tuple[str, ...] = Field((), description="Names of metrics; empty: all that can be measured.")
    masks: Path | None = Field(
        None, description="FLAME_masks.pkl: gives FLAME's upper face, which FDD needs."
    )
    regions: Path | None = Field(
        None,
        description="JSON with lips, upper_face and inner_lips of a mesh that is neither FLAME nor MediaPipe's.",
    )
    template: Path | None = Field(
        None, description="Neutral face: .npy (V, 3), or MultiTalk's templates.pkl."
    )
    closures: Path | None = Field(
        None,
        description="When p, b and m close the lips: a folder of <clip_id>.TextGrid from a forced aligner, or JSON "
        "of [start, end] seconds by clip; none: gaps of the true lips.",
    )
    metres_per_unit: float = Field(1.0, gt=0, description="0.001 where the files are in millimetres.")
    length_tolerance: int = Field(
        2, ge=0, description="Frames by which a prediction may be shorter or longer; the longer one is cut."
    )
    bootstrap_draws: int = Field(1000, ge=100, description="Draws of source videos behind each interval.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Probability that an interval is made for.")
    seed: int = Field(0, ge=0, description="Seed of the draws.")


class LipReadingSettings(BaseModel):
    """How rendered or real videos are lip-read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: Literal["fair", "multitalk"] = Field(
        "fair",
        description="fair: all clips, annotated transcripts, micro-averaged; "
        "multitalk: the paper's, with recognised references, greedy, means over clips.",
    )
    snrs_db: tuple[float, ...] = Field(PAPER_SNRS, min_length=1, description="Signal-to-noise ratios, dB.")
    noises: Path | None = Field(
        None, description="Folder of noises; none: babble made of the dataset's own speech."
    )
    babble_speakers: int = Field(8, ge=2, description="Voices in a babble that is made.")
    beam: int = Field(1, ge=1, description="Hypotheses kept while decoding; 1 is greedy, as in the paper.")
    max_length: int = Field(200, ge=1, description="Most tokens of a transcript.")
    audio_only: bool = Field(True, description="Add the floor: the noisy sound without any picture.")
    valid_clips: Path | None = Field(
        None,
        description="JSON of true or false by clip, like the paper's list; clips that are false are left out.",
    )
    device: str = Field("cpu", description="torch device of the recogniser.")
    bootstrap_draws: int = Field(1000, ge=100, description="Draws of source videos behind each interval.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Probability that an interval is made for.")
    seed: int = Field(0, ge=0, description="Seed of the draws and of the babble.")

    @model_validator(mode="after")
    def _paper_is_greedy(self) -> LipReadingSettings:
        if self.protocol == "multitalk" and (self.beam != 1 or self.noises is None):
            raise ValueError("the paper's protocol decodes greedily (beam 1) and needs its three noises")
        return self

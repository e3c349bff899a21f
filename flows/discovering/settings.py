"""Configuration of a discovery: the Prefect flow's parameter and the ``--config`` YAML file."""

import os
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from multitalk.extract.faces.candidates import CandidateSettings
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.building.stages import stage_fingerprints
from multitalk.ground.outcome import OUTCOME, RUNTIME, digest, outcome

# Raised whenever the same settings would find other clips, so that finished videos are looked at anew.
_VERSION = 5


class DiscoverSettings(BaseModel):
    """Everything that ``discover-clips`` can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    videos: Annotated[tuple[str, ...], RUNTIME] = Field(
        min_length=1, description="Video files, and addresses of videos, playlists or channels."
    )
    language: Annotated[str, RUNTIME] = Field(
        pattern="^[A-Za-z0-9_-]{1,128}$", description="Language spoken in them, by MultiTalk's name."
    )
    out: Annotated[Path, RUNTIME] = Field(
        Path("annotations.json"), description="Annotation file to be written."
    )
    root: Annotated[Path | None, RUNTIME] = Field(
        None, description="Folder for what is found, video by video; none: beside `out`, ending in .discover."
    )
    workers: Annotated[int, RUNTIME] = Field(
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        description="Videos at work at the same time; none given: one a core.",
    )
    keep_raw: Annotated[bool, RUNTIME] = Field(
        False, description="Keep downloaded videos, for the build that follows."
    )
    min_language_probability: Annotated[float, OUTCOME] = Field(
        0.1,
        ge=0,
        le=1,
        description="A video is not looked at in whose speech the language is nowhere as probable as this.",
    )
    min_speaking_score: Annotated[float, OUTCOME] = Field(
        0.0, description="Least `speaking_score` of a clip, where LR-ASD's weights are here to measure it."
    )
    min_av_correlation: Annotated[float, OUTCOME] = Field(
        0.15, ge=-1, le=1, description="Least `av_correlation`: below it the voice belongs to somebody else."
    )
    min_av_confidence: Annotated[float, OUTCOME] = Field(
        0.4, ge=0, le=1, description="Confidence in `av_correlation` from which it can rule a clip out."
    )
    candidates: CandidateSettings = Field(default_factory=CandidateSettings)
    build: BuildSettings = Field(
        default_factory=BuildSettings,
        description="How candidates are fetched, cut, tracked, measured and judged: as the build would.",
    )

    @field_validator("out")
    @classmethod
    def _can_be_written(cls, value: Path) -> Path:
        if not value.name or value.is_dir():
            raise ValueError(f"{value} is a folder; name a file, such as annotations.json")
        return value

    @property
    def folder(self) -> Path:
        """Where results are kept, so that a later run goes on from them."""
        return (self.root or self.out.with_suffix(".discover")) / self.language.lower()

    @property
    def policy(self) -> str:
        """What candidates are judged by."""
        return self.build.policy or "default"

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what decides which clips are found."""
        stages = {str(stage): value for stage, value in stage_fingerprints(self.build).items()}
        own = {k: v for k, v in outcome(self).items() if k != "build"}
        return digest([_VERSION, own, stages, self.policy])

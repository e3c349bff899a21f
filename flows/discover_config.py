"""Configuration of a discovery: the Prefect flow's parameter and the ``--config`` YAML file."""

import hashlib
import json
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from extract.discover import CandidateSettings
from flows.config import BuildSettings

# Raised whenever the same settings would find other clips, so that finished videos are looked at anew.
_VERSION = 3


class DiscoverSettings(BaseModel):
    """Everything that ``discover-clips`` can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    videos: tuple[str, ...] = Field(
        min_length=1, description="Video files, and addresses of videos, playlists or channels."
    )
    language: str = Field(
        pattern="^[A-Za-z0-9_-]{1,128}$", description="Language spoken in them, by MultiTalk's name."
    )
    out: Path = Field(Path("annotations.json"), description="Annotation file to be written.")
    root: Path | None = Field(
        None, description="Folder for what is found, video by video; none: beside `out`, ending in .discover."
    )
    workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, description="Videos at work at the same time."
    )
    keep_raw: bool = Field(False, description="Keep downloaded videos, for the build that follows.")
    min_speaking_score: float = Field(
        0.0, description="Least `speaking_score` of a clip, where LR-ASD's weights are here to measure it."
    )
    min_av_correlation: float = Field(
        0.15, ge=-1, le=1, description="Least `av_correlation`: below it the voice belongs to somebody else."
    )
    min_av_confidence: float = Field(
        0.6, ge=0, le=1, description="Confidence in `av_correlation` from which it can rule a clip out."
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

    def fingerprint(self) -> str:
        """SHA-256 over the settings that decide which clips are found."""
        outcome = self.model_dump(
            mode="json",
            include={"candidates", "min_speaking_score", "min_av_correlation", "min_av_confidence"},
        )
        outcome |= {"build": self.build.fingerprint(), "policy": self.policy, "version": _VERSION}
        outcome["speaking_score"] = self.build.speaking_score
        return hashlib.sha256(json.dumps(outcome, sort_keys=True).encode()).hexdigest()

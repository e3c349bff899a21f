"""Settings of a build: the Prefect flow's parameter, the ``--config`` YAML file, and the UI's form.

The settings of a stage live beside the stage; this module only puts them together. Each field says whether it
changes what comes out (`ground.outcome`); `flows.building.stages` makes fingerprints of those that do.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from multitalk.extract.downloading.addresses import SCHEMES
from multitalk.extract.downloading.download import DownloadSettings
from multitalk.extract.errors import ErrorCode, Stage
from multitalk.extract.faces.landmarks import LandmarkSettings
from multitalk.extract.faces.tracks import TrackSettings
from multitalk.extract.trim import TrimSettings
from multitalk.filters.language import LanguageSettings
from multitalk.filters.speech import SpeechSettings
from multitalk.fit_flame.fit import FitSettings
from multitalk.fit_flame.regressors.settings import RegressorSettings
from multitalk.ground.outcome import OUTCOME, RUNTIME
from multitalk.ground.settings import validated

YOUTUBE = "https://www.youtube.com/watch?v={video_id}"


class BuildSettings(BaseModel):
    """Everything that ``build-dataset`` can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    annotations: Annotated[tuple[str, ...], RUNTIME] = Field(
        ("annotations/*.json",), min_length=1, description="MultiTalk annotation files; globs are expanded."
    )
    root: Annotated[Path, RUNTIME] = Field(
        Path("dataset"), description="Folder of the dataset; made if it is not there."
    )
    source_url: Annotated[str, RUNTIME] = Field(
        YOUTUBE, description="Where a source video is, with {video_id} in it; any URL that yt-dlp takes."
    )
    languages: Annotated[tuple[str, ...], RUNTIME] = Field(
        (), description="Build only these languages; empty: all."
    )
    limit: Annotated[int | None, RUNTIME] = Field(
        None, ge=1, description="Build only the first N source videos of each language."
    )
    workers: Annotated[int, RUNTIME] = Field(
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        description="Batches at work at the same time; none given: one a core.",
    )
    threads: Annotated[int, RUNTIME] = Field(
        1,
        ge=1,
        description="CPU threads of one worker; more wait for each other more than they help, except for a single one.",
    )
    batch_size: Annotated[int, RUNTIME] = Field(
        64, ge=1, description="Source videos of one task run at most."
    )
    prefetch: Annotated[int, RUNTIME] = Field(
        2, ge=1, description="Downloads under way beside the video at work, per worker."
    )
    video_timeout_sec: Annotated[float, RUNTIME] = Field(
        3600.0, gt=0, description="A source video that shows no progress for so long is given up."
    )
    crash_retries: Annotated[int, RUNTIME] = Field(
        2, ge=0, description="New tries for a source video whose worker process died under it."
    )
    task_runner: Annotated[Literal["local", "dask", "ray"], RUNTIME] = Field(
        "local", description="Where batches run: threads that watch worker processes here, or a cluster."
    )
    task_runner_address: Annotated[str | None, RUNTIME] = Field(
        None, description="Address of the Dask scheduler or Ray head; none: a cluster on this machine."
    )
    head_model: Annotated[str, OUTCOME] = Field(
        "anny", description="`anny`, `canonical`, a FLAME asset's name, or a model file."
    )
    speaking_score: Annotated[bool, OUTCOME] = Field(
        True, description="Measure `speaking_score` with LR-ASD, where its weights (asset `lr_asd`) are."
    )
    persons: Annotated[bool, OUTCOME] = Field(
        True,
        description="Describe faces and voices, so that persons are told apart. Biometric: never exported.",
    )
    screen_text: Annotated[bool, OUTCOME] = Field(
        True,
        description="Measure `text_near_face` with PP-OCR, where its detector (asset `text_detector`) is.",
    )
    keep_raw: Annotated[bool, RUNTIME] = Field(
        False, description="Keep the downloaded source videos after trimming."
    )
    keep_landmarks: Annotated[bool, RUNTIME] = Field(
        True, description="Keep landmarks, so that a refit needs no decoding."
    )
    retry: Annotated[tuple[ErrorCode, ...], RUNTIME] = Field(
        tuple(code for code in ErrorCode if code.transient),
        description="Failures of an earlier run that this run tries again.",
    )
    redo: Annotated[tuple[Stage, ...], RUNTIME] = Field(
        (), description="Stages that are done again for every clip, also where nothing has changed."
    )
    policy: Annotated[str | None, RUNTIME] = Field(
        None,
        description="Policy applied at the end, a shipped one's name or a file; none: the dataset's own, or `default`",
    )

    download: DownloadSettings = Field(default_factory=DownloadSettings)
    trim: TrimSettings = Field(default_factory=TrimSettings)
    landmarks: LandmarkSettings = Field(default_factory=LandmarkSettings)
    tracks: TrackSettings = Field(default_factory=TrackSettings)
    fit: FitSettings = Field(default_factory=FitSettings)
    regressor: RegressorSettings | None = Field(
        None,
        description="A learned regressor of FLAME 2020 that starts the fit, or stands in for it; none: neither.",
    )
    speech: SpeechSettings = Field(default_factory=SpeechSettings)
    language: LanguageSettings = Field(default_factory=LanguageSettings)

    @field_validator("source_url")
    @classmethod
    def _is_an_address(cls, template: str) -> str:
        parts = urlsplit(template)
        if parts.scheme not in SCHEMES or not (parts.netloc or parts.scheme == "file"):
            raise ValueError(f"{template[:200]!r} is no address of http://, https:// or file://")
        return template

    @field_validator("source_url")
    @classmethod
    def _names_the_video(cls, value: str) -> str:
        if "{video_id}" not in value:
            raise ValueError("needs {video_id} where the video's id goes, e.g. " + YOUTUBE)
        return value

    @field_validator("languages")
    @classmethod
    def _as_annotations_write_them(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(language.lower() for language in value)

    @field_validator("redo")
    @classmethod
    def _can_be_done(cls, value: tuple[Stage, ...]) -> tuple[Stage, ...]:
        if odd := [stage for stage in value if stage in (Stage.ANNOTATION, Stage.WORKER)]:
            raise ValueError(f"{odd[0]} is no stage that can be done again")
        return value

    @model_validator(mode="after")
    def _regressors_crop_by_mediapipe(self) -> Self:
        if self.regressor is not None and self.landmarks.backend != "mediapipe":
            raise ValueError("regressor: crops by MediaPipe's landmarks; leave it out, or landmarks.backend")
        return self


def build_settings(**values: Any) -> BuildSettings:
    """Validate `values`, with errors that name the field.

    Raises
    ------
    SettingsError
        One line a wrong field.
    """
    return validated(BuildSettings, values)

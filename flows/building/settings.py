"""Settings of a build: the Prefect flow's parameter, the ``--config`` YAML file, and the UI's form.

The settings of a stage live beside the stage; this module only puts them together. Each field says whether it
changes what comes out (`multitalk.ground.outcome`); `multitalk.flows.building.stages` makes fingerprints of those that do.
"""

import math
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

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
from multitalk.nearest import did_you_mean, nearest

Settings = TypeVar("Settings", bound=BaseModel)

YOUTUBE = "https://www.youtube.com/watch?v={video_id}"


class ConfigError(ValueError):
    """A configuration that can not be used; the message names the field and what is wrong with it."""


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
        default_factory=lambda: os.cpu_count() or 1, ge=1, description="Batches at work at the same time."
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
        "canonical", description="`canonical`, a FLAME asset's name, or a model file."
    )
    speaking_score: Annotated[bool, OUTCOME] = Field(
        True, description="Measure `speaking_score` with LR-ASD, where its weights (asset `lr_asd`) are."
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


def read_config(path: Path) -> dict[str, Any]:
    """Read a YAML configuration file into the keyword arguments of :class:`BuildSettings`.

    Raises
    ------
    ConfigError
        If the file is missing, not YAML, or not a mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from error
    # ValueError: bytes that are no text, a date that is none.
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if isinstance(content, dict) and (odd := [name for name in content if not isinstance(name, str)]):
        raise ConfigError(f"{path}: {odd[0]!r} is no name of a setting (YAML reads `on` and `yes` as true)")
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: the top level must be a mapping such as `workers: 4`")
    return content


def build_settings(**values: Any) -> BuildSettings:
    """Validate `values`, with errors that name the field.

    Raises
    ------
    ConfigError
        One line a wrong field.
    """
    return validated(BuildSettings, values)


def validated(model: type[Settings], values: dict[str, Any]) -> Settings:
    """Validate `values` as settings of a kind; raises ConfigError with one line a wrong field."""
    try:
        settings = model(**values)
    except ValidationError as error:
        raise ConfigError(fault_lines(error, model)) from error
    if odd := _not_finite(settings.model_dump()):
        raise ConfigError(f"{odd}: must be a finite number")
    return settings


def fault_lines(error: ValidationError, model: type[BaseModel]) -> str:
    """Say what is wrong with values for a model's settings, a line each, with the nearest right names."""
    return "\n".join(_line(fault, model) for fault in error.errors())


def _not_finite(values: Any, place: str = "") -> str:
    """Name the first number that is infinite or none: JSON, in which workers get their settings, has no such."""
    if isinstance(values, dict | list | tuple):
        named = values.items() if isinstance(values, dict) else enumerate(values)
        return next(filter(None, (_not_finite(v, f"{place}.{k}" if place else str(k)) for k, v in named)), "")
    return place if isinstance(values, float) and not math.isfinite(values) else ""


def _line(fault: Any, model: type[BaseModel]) -> str:
    place = ".".join(map(str, fault["loc"]))
    if fault["type"] == "missing" and len(fault["loc"]) == 1:
        return f"{place} is needed: --{place.replace('_', '-')}, or `{place}` in a --config file"
    if fault["type"] == "extra_forbidden":
        near = nearest_setting(place, setting_names(model))
        return f"no setting `{place}`" + (f"; did you mean `{near}`?" if near else "")
    message: str = fault["msg"].removeprefix("Value error, ")
    if fault["type"] in ("literal_error", "enum"):
        message += did_you_mean(str(fault["input"]), re.findall(r"'([^']*)'", fault["ctx"]["expected"]))
    # What concerns several fields has no place of its own.
    return f"{place}: {message}" if place else message


def setting_names(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of a model's settings, and of those within them."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from setting_names(kind, f"{prefix}{name}.")


def nearest_setting(name: str, names: Iterable[str]) -> str | None:
    """Return the setting that was probably meant: of the same name elsewhere, or of one much like it."""
    known, last = list(names), name.rpartition(".")[2]
    elsewhere = [other for other in known if other.rpartition(".")[2] == last]
    if elsewhere:
        return min(elsewhere, key=len)
    beside = [other for other in known if other.rpartition(".")[0] == name.rpartition(".")[0]]
    by_last = {other.rpartition(".")[2]: other for other in reversed(known)}
    return nearest(name, beside) or nearest(name, known) or by_last.get(nearest(last, by_last) or "")

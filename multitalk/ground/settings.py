"""Settings out of YAML files and options, with complaints that name the field and what is wrong with it."""

import math
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

Settings = TypeVar("Settings", bound=BaseModel)


class ConfigError(ValueError):
    """A configuration that can not be used; the message names the field and what is wrong with it."""


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


def validated(model: type[Settings], values: dict[str, Any]) -> Settings:
    """Validate `values` as settings of a kind; raises ConfigError with one line a wrong field."""
    try:
        settings = model(**values)
    except ValidationError as error:
        raise ConfigError("\n".join(map(_line, error.errors()))) from error
    if odd := _not_finite(settings.model_dump()):
        raise ConfigError(f"{odd}: must be a finite number")
    return settings


def _not_finite(values: Any, place: str = "") -> str:
    """Name the first number that is infinite or none: JSON, in which workers get their settings, has no such."""
    if isinstance(values, dict | list | tuple):
        named = values.items() if isinstance(values, dict) else enumerate(values)
        return next(filter(None, (_not_finite(v, f"{place}.{k}" if place else str(k)) for k, v in named)), "")
    return place if isinstance(values, float) and not math.isfinite(values) else ""


def _line(fault: Any) -> str:
    place = ".".join(map(str, fault["loc"]))
    if fault["type"] == "missing" and len(fault["loc"]) == 1:
        return f"{place} is needed: --{place.replace('_', '-')}, or `{place}` in a --config file"
    message: str = fault["msg"].removeprefix("Value error, ")
    # What concerns several fields has no place of its own.
    return f"{place}: {message}" if place else message

"""Settings out of YAML files and options, with complaints that name the field and what is wrong with it."""

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from multitalk.ground.nearest import did_you_mean, nearest_name
from multitalk.ground.untrusted.safe_yaml import parse_yaml, read_yaml_text

Settings = TypeVar("Settings", bound=BaseModel)


class SettingsError(ValueError):
    """A configuration that can not be used; the message names the field and what is wrong with it."""


def read_settings(path: Path) -> dict[str, Any]:
    """Read a YAML configuration file into the keyword arguments of :class:`BuildSettings`.

    Raises
    ------
    SettingsError
        If the file is missing, not YAML, or not a mapping.
    """
    try:
        content = parse_yaml(read_yaml_text(path)).content
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:  # also bytes that are no text
        raise SettingsError(f"{path}: not valid YAML: {error}") from error
    if isinstance(content, dict) and (odd := [name for name in content if not isinstance(name, str)]):
        raise SettingsError(f"{path}: {odd[0]!r} is no name of a setting (YAML reads `on` and `yes` as true)")
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: the top level must be a mapping such as `workers: 4`")
    return content


def validated(model: type[Settings], values: dict[str, Any]) -> Settings:
    """Validate `values` as settings of a kind; raises SettingsError with one line a wrong field."""
    try:
        settings = model(**values)
    except ValidationError as error:
        raise SettingsError(fault_lines(error, model)) from error
    if odd := _not_finite(settings.model_dump()):
        raise SettingsError(f"{odd}: must be a finite number")
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
    return (
        nearest_name(name, beside)
        or nearest_name(name, known)
        or by_last.get(nearest_name(last, by_last) or "")
    )

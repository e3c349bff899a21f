"""Settings as text: every one with its meaning and its value, in YAML that a configuration file may hold."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

_WIDTH = 110


def settings_yaml(settings: type[BaseModel], values: Mapping[str, Any]) -> str:
    """Write all settings as YAML, each below its dotted name and description.

    Parameters
    ----------
    settings
        The model of the settings.
    values
        What was given; everything else has its default.

    Raises
    ------
    SettingsError
        A value is none of its setting, or there is no such setting. What is still missing is only marked.
    """
    return "\n".join(_lines(settings, _in_effect(settings, values), "")) + "\n"


def model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the one model that a field may hold, alone or as `Model | None`."""
    models = [
        kind
        for kind in (get_args(annotation) or (annotation,))
        if isinstance(kind, type) and issubclass(kind, BaseModel)
    ]
    return models[0] if len(models) == 1 else None


def _in_effect(settings: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of all settings, as JSON has them; without those that are needed and missing."""
    from multitalk.ground.settings import SettingsError, fault_lines

    try:
        return settings(**values).model_dump(mode="json")
    except ValidationError as error:
        # What is still missing, or does not go together, matters to a run alone.
        if any(fault["loc"][1:] or (fault["loc"] and fault["type"] != "missing") for fault in error.errors()):
            raise SettingsError(fault_lines(error, settings)) from error
    found = {}
    for name, field in settings.model_fields.items():
        if name in values:
            kind: Any = Annotated[(field.annotation, *field.metadata, None)]
            adapter = TypeAdapter[Any](kind)
            found[name] = adapter.dump_python(adapter.validate_python(values[name]), mode="json")
        elif not field.is_required():
            found[name] = to_jsonable_python(field.get_default(call_default_factory=True))
    return found


def _lines(settings: type[BaseModel], values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    indent = "  " * prefix.count(".")
    for name, field in settings.model_fields.items():
        meaning = f"{prefix}{name}: {field.description or model_meaning(field.annotation)}"
        yield from textwrap.wrap(
            meaning, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   "
        )
        inner = model_in(field.annotation)
        if name not in values:
            yield f"{indent}# {name}:   (needed)"
        elif inner is not None and isinstance(values[name], dict):
            yield f"{indent}{name}:"
            yield from _lines(inner, values[name], f"{prefix}{name}.")
        else:
            # Within a list a value is written on one line, without YAML's marks of a document.
            text = yaml.safe_dump(
                [values[name]], default_flow_style=True, allow_unicode=True, sort_keys=False, width=10**6
            )
            yield f"{indent}{name}: {text.strip()[1:-1]}"


def model_meaning(annotation: Any) -> str:
    """First line of the docstring of the settings that a field holds."""
    inner = model_in(annotation)
    return (inner.__doc__ or "").strip().partition("\n")[0] if inner else ""

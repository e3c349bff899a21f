"""Which settings change what comes out: said beside each field, once, and fingerprints derived from it.

A field of a settings model is marked in its annotation::

    crf: Annotated[int, OUTCOME] = Field(23, ...)      # another value makes other clips
    threads: Annotated[int, RUNTIME] = Field(1, ...)   # only where, how fast, or how much is done

A field that holds another settings model needs no mark: that model's fields have theirs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from enum import Enum
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo


class Effect(Enum):
    """What another value of a setting changes."""

    OUTCOME = "outcome"
    """What comes out: files, or what rows say."""
    RUNTIME = "runtime"
    """How it comes about: devices, threads, workers, caches, paths, limits of time, what is selected."""


OUTCOME: Final = Effect.OUTCOME
RUNTIME: Final = Effect.RUNTIME


def outcome(settings: BaseModel) -> dict[str, Any]:
    """Return the settings that change the outcome, with their values as JSON has them; nested models within."""
    found: dict[str, Any] = {}
    dumped = settings.model_dump(mode="json")
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            found[name] = outcome(value)
        elif OUTCOME in field.metadata:
            found[name] = dumped[name]
    return found


def unmarked(model: type[BaseModel], place: str = "") -> Iterator[str]:
    """Yield the fields of a settings model, and of models within, that are not marked exactly once."""
    for name, field in model.model_fields.items():
        nested = _models_in(field)
        marks = sum(isinstance(mark, Effect) for mark in field.metadata)
        if marks != (0 if nested else 1):
            yield f"{place}{name}"
        for inner in nested:
            yield from unmarked(inner, f"{place}{name}.")


def digest(value: object) -> str:
    """Return 32 hexadecimal digits of the SHA-256 of a value's JSON: the same for equal values, on every machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _models_in(field: FieldInfo) -> list[type[BaseModel]]:
    kinds = [field.annotation, *get_args(field.annotation)]
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]

"""Head models of stored motion, by the key that it carries."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import pyarrow as pa

from fit_flame.head_model import HeadModel
from fit_flame.motion import Motion, MotionError
from flows.head_models import load_head_model


def to_motion(row: Mapping[str, Any]) -> Motion:
    """Return a stored motion row, arrays by column, as a motion."""
    return Motion(**{column.name: row[column.name] for column in fields(Motion)})


def only_model(keys: pa.ChunkedArray) -> HeadModel:
    """Load the one head model that all clips were fitted with.

    Parameters
    ----------
    keys
        The clips' column `head_model`.

    Raises
    ------
    MotionError
        When they belong to several, or to one that is not here in the same version.
    """
    names = sorted(filter(None, keys.unique().to_pylist()))
    if len(names) != 1:
        raise MotionError(
            f"vertices of one head model are asked for; the clips have {', '.join(names) or 'none'}"
        )
    model = load_head_model(names[0].partition(":")[0])
    if model.key != names[0]:
        raise MotionError(
            f"the clips were fitted with {names[0]}; the model of that name here is {model.key}"
        )
    return model


def models_here(keys: Iterable[str | None]) -> tuple[dict[str, HeadModel], list[str]]:
    """Load the head models that are here; returns them by key, and a line for each that is not."""
    models, notes = {}, []
    for key in sorted({key for key in keys if key}):
        try:
            model = load_head_model(key.partition(":")[0])
        except (ValueError, OSError) as error:
            notes.append(f"no mesh for clips fitted with {key}: {error}")
            continue
        if model.key == key:
            models[key] = model
        else:
            notes.append(f"no mesh for clips fitted with {key}: the model of that name here is {model.key}")
    return models, notes

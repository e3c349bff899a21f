"""Head models of stored motion, by the key that it carries."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import pyarrow as pa

from multitalk.assets.errors import AssetError
from multitalk.fit_flame.heads.head_model import HeadModel, HeadModelError
from multitalk.fit_flame.parameters.motion import Motion, MotionError
from multitalk.flows.modelling.head_models import load_head_model


def to_motion(row: Mapping[str, Any]) -> Motion:
    """Return a stored motion row, arrays by column, as a motion."""
    return Motion(**{column.name: row[column.name] for column in fields(Motion)})


def only_model(keys: pa.ChunkedArray, named: str | None = None) -> HeadModel:
    """Load the one head model that all clips were fitted with.

    Parameters
    ----------
    keys
        The clips' column `head_model`.
    named
        Its name or file, where the key does not tell: FLAME of a file that is in no release we know.

    Raises
    ------
    MotionError
        When the clips belong to several, or to one that is not here in the same version.
    AssetError, HeadModelError
        When the model's file is not here, or damaged.
    """
    wanted = sorted(filter(None, keys.unique().to_pylist()))
    if len(wanted) != 1:
        found = ", ".join(wanted) or "none"
        raise MotionError(f"the clips must belong to one head model; theirs: {found}")
    return _model(wanted[0], named)


def head_models_here(
    keys: Iterable[str | None], named: str | None = None
) -> tuple[dict[str, HeadModel], list[str]]:
    """Load the head models that are here; returns them by key, and a line for each that is not."""
    models, notes = {}, []
    for key in sorted({key for key in keys if key}):
        try:
            models[key] = _model(key, named)
        except (AssetError, HeadModelError, MotionError, OSError) as error:
            notes.append(f"no mesh over clips fitted with {key}: {error}")
    return models, notes


def _model(key: str, named: str | None) -> HeadModel:
    model = load_head_model(named or key.partition(":")[0])
    if model.key != key:
        raise MotionError(
            f"the clips were fitted with {key}, which is not {model.key}: name its file (--head-model)"
        )
    return model

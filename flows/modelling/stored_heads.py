"""Head models of stored motion, by the key that it carries."""

import re
from collections.abc import Iterable

import pyarrow as pa

from multitalk.assets.errors import AssetError
from multitalk.fit_flame.heads.head_model import HeadModel, HeadModelError
from multitalk.fit_flame.parameters.motion import Motion, MotionError
from multitalk.flows.modelling.head_models import head_model_names, load_head_model
from multitalk.manifests.clip_row import MotionRow

_KEY = re.compile(r"[A-Za-z0-9_]{1,64}:[0-9a-f]{1,64}")


def to_motion(row: MotionRow) -> Motion:
    """Return a stored motion row, arrays by column, as a motion."""
    return Motion(
        head_model=row["head_model"],
        fps=row["fps"],
        shape=row["shape"],
        expression=row["expression"],
        jaw=row["jaw"],
        eyes=row["eyes"],
        rotation=row["rotation"],
        translation=row["translation"],
        camera=row["camera"],
        valid=row["valid"],
        residual=row["residual"],
        correction=row.get("correction"),
    )


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
    return model_of(wanted[0], named)


def head_models_here(
    keys: Iterable[str | None], named: str | None = None
) -> tuple[dict[str, HeadModel], list[str]]:
    """Load the head models that are here; returns them by key, and a line for each that is not."""
    models, notes = {}, []
    for key in sorted({key for key in keys if key}):
        try:
            models[key] = model_of(key, named)
        except (AssetError, HeadModelError, MotionError, OSError) as error:
            notes.append(f"no mesh over clips fitted with {key}: {error}")
    return models, notes


def model_of(key: str, named: str | None = None) -> HeadModel:
    """Load the head model that stored motion or a trained model belongs to.

    The key comes with the file, maybe from a stranger: it is never taken for a path. Files are opened where the user
    names them.

    Parameters
    ----------
    key
        Name and hash, as `HeadModel.key` has it.
    named
        Name or file that the user gives.

    Raises
    ------
    MotionError
        When the key is none, or that of another model.
    AssetError, HeadModelError
        When the model's file is not here, or damaged.
    """
    if not _KEY.fullmatch(key):
        raise MotionError(
            f"head_model is {key[:80]!r}, which names no head model: the dataset or file is damaged or forged"
        )
    name = key.partition(":")[0]
    if named is None and name not in head_model_names():
        raise MotionError(
            f"the clips were fitted with {key}, a file that only you can name: give it (--head-model)"
        )
    model = load_head_model(named or name)
    if model.key != key:
        raise MotionError(
            f"the clips were fitted with {key}, which is not {model.key}: name its file (--head-model)"
        )
    return model

"""Motion on another head model: clips of a dataset, and files such as `talk` writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multitalk.fit_flame.converting.convert_motion import convert_motion
from multitalk.fit_flame.parameters.decode import decode
from multitalk.fit_flame.parameters.motion import Motion, MotionError
from multitalk.flows.modelling.head_models import load_head_model
from multitalk.flows.modelling.stored_heads import model_of, only_model, to_motion
from multitalk.ground.files import atomic
from multitalk.ground.untrusted.array_files import read_npz
from multitalk.manifests import open_dataset

if TYPE_CHECKING:
    import pyarrow as pa


def convert_clips(root: Path, clips: pa.Table, out: Path, to: str, named: str | None = None) -> int:
    """Write clips' motion on another head model, each as `<language>/<clip_id>.npz`.

    Parameters
    ----------
    root
        The dataset.
    clips
        Manifest rows of the clips.
    out
        Folder to write.
    to
        Name or file of the head model to convert to.
    named
        The clips' own one, where their key does not tell.

    Returns
    -------
    int
        Clips written.

    Raises
    ------
    MotionError, HeadModelError, AssetError
        A head model is not here, or the clips belong to several.
    OSError
        A file cannot be written.
    """
    dataset, source, target = open_dataset(root), only_model(clips["head_model"], named), load_head_model(to)
    for clip_id, language in zip(clips["clip_id"].to_pylist(), clips["language"].to_pylist(), strict=True):
        motion = convert_motion(to_motion(dataset.motion(clip_id)), source, target)
        _write(motion.to_arrays(), out / language / f"{clip_id}.npz")
    return len(clips)


def convert_files(files: Sequence[Path], places: Sequence[Path], to: str, named: str | None = None) -> None:
    """Write files of motion on another head model, with vertices as `talk` writes them; as `convert_clips`."""
    target = load_head_model(to)
    for file, place in zip(files, places, strict=True):
        motion = read_motion(file)
        converted = convert_motion(motion, model_of(motion.head_model, named), target)
        _write({"vertices": decode(converted, target, head_pose=False), **converted.to_arrays()}, place)


def read_motion(path: Path) -> Motion:
    """Read a file of motion.

    Raises
    ------
    MotionError
        It holds none.
    OSError
        It cannot be opened.
    """
    try:
        arrays = read_npz(path)
        values: dict[str, Any] = {
            field.name: arrays[field.name] for field in fields(Motion) if field.name in arrays
        }
        values["head_model"], values["fps"] = str(values["head_model"]), float(values["fps"])
        motion = Motion(**values)
    except (ValueError, KeyError, TypeError) as error:
        raise MotionError(f"{path} holds no motion as `talk` and `convert` write it: {error}") from error
    known = (motion.shape, motion.expression, motion.jaw, motion.eyes, motion.rotation, motion.translation)
    if not all(np.issubdtype(part.dtype, np.floating) and np.isfinite(part).all() for part in known):
        raise MotionError(f"{path}: its motion is not finite")
    return motion


def _write(arrays: dict[str, Any], place: Path) -> None:
    with atomic(place) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)

"""Vertex sequences from anybody's model: folders of `.npy` and `.npz` files, one a clip or one a sample.

Understood without being told are arrays (T, V, 3), (T, 3 V) and both with a leading 1, alone in a `.npy`,
or in a `.npz` under `verts` (MultiTalk's data), `vertices`, or as its only array. The clip's name is the
file's, without the `_condition_...` that CodeTalker's scripts add; `NAME__sample3.npy` is one of several
samples of a clip. The language is the folder the file lies in, or the first word of MultiTalk's names
(`Italian_...`).
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from multitalk.ground.untrusted.array_files import LARGEST_ARRAYS, read_npy, read_npz
from multitalk.ground.untrusted.files import open_untrusted
from multitalk.training.settings import LANGUAGES as MULTITALK_LANGUAGES
from multitalk.training.settings import REFERENCE_LANGUAGES

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float32


ARRAY_NAMES = ("verts", "vertices", "prediction")
LANGUAGES = frozenset((*MULTITALK_LANGUAGES, *REFERENCE_LANGUAGES))
"""Of MultiTalk, as the first word of its file names, in lower case."""
_SAMPLE = re.compile(r"(.+)__sample\d+")
_NUMBERED = re.compile(r"(?<=.)_\d+$")


class VertexFileError(ValueError):
    """A file does not hold a vertex sequence of the mesh; the message names it."""


@dataclass(frozen=True, slots=True)
class VertexFile:
    """Where a clip's vertices lie."""

    clip_id: str
    language: str
    """Lower case; empty where neither folder nor name tells."""
    paths: tuple[Path, ...]
    """One file, or one a sample."""


def find_vertex_files(folder: Path) -> dict[str, VertexFile]:
    """List the vertex files below a folder by clip.

    Raises
    ------
    VertexFileError
        The folder is not there or holds no such file, or two folders in it hold the same clip.
    """
    if not folder.is_dir():
        raise VertexFileError(f"{folder}: no such folder")
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".npy", ".npz") and path.is_file())
    if not paths:
        raise VertexFileError(f"{folder}: holds no .npy or .npz file")
    found: dict[str, VertexFile] = {}
    for path in paths:
        stem = path.stem.partition("_condition_")[0]
        sample = _SAMPLE.fullmatch(stem)
        clip_id = sample[1] if sample else stem
        before = found.get(clip_id)
        if before is not None and (sample is None or before.paths[0].parent != path.parent):
            raise VertexFileError(
                f"{path} and {before.paths[0]} are the same clip: give a folder with one of them"
            )
        earlier = before.paths if before is not None else ()
        found[clip_id] = VertexFile(clip_id, _language(path, folder), (*earlier, path))
    return found


def sources_of(clip_ids: Iterable[str]) -> dict[str, str]:
    """Source video of clips that are called `<video_id>_<n>`, as the datasets' are.

    Each is its own source where not every clip is called so, or that would leave a single source for all: names
    such as `clip_001` tell nothing.
    """
    named = {clip_id: _NUMBERED.sub("", clip_id) for clip_id in clip_ids}
    by_name = all(named[clip_id] != clip_id for clip_id in named) and len(set(named.values())) > 1
    return named if by_name else {clip_id: clip_id for clip_id in named}


def read_vertices(path: Path, metres_per_unit: float = 1.0) -> Float32[Array, "frames vertices 3"]:
    """Read one vertex sequence.

    Parameters
    ----------
    path
        `.npy` or `.npz`; never unpickled.
    metres_per_unit
        0.001 where the file is in millimetres.

    Returns
    -------
    array
        (T, V, 3) metres.

    Raises
    ------
    VertexFileError
        It can not be read, or its array is not a sequence of finite vertices.
    """
    try:
        with open_untrusted(path, LARGEST_ARRAYS) as file:
            packed = zipfile.is_zipfile(file)
        if packed:
            arrays = read_npz(path)
            content = arrays[_array_name(path, arrays)]
        else:
            content = read_npy(path)
    except VertexFileError:
        raise
    except (OSError, ValueError) as error:
        raise VertexFileError(f"{path}: can not be read ({error})") from error
    vertices = _sequence(path, content)
    if metres_per_unit != 1.0:
        vertices = vertices * np.float32(metres_per_unit)
    if not np.isfinite(vertices).all():
        raise VertexFileError(f"{path}: holds numbers that are not finite")
    return vertices


def _array_name(path: Path, names: Iterable[str]) -> str:
    present = list(names)
    chosen = [name for name in ARRAY_NAMES if name in present] or (present if len(present) == 1 else [])
    if not chosen:
        raise VertexFileError(f"{path}: has arrays {present}; one must be called {' or '.join(ARRAY_NAMES)}")
    return chosen[0]


def _sequence(path: Path, array: npt.NDArray[np.generic]) -> Float32[Array, "frames vertices 3"]:
    if not np.issubdtype(array.dtype, np.floating):
        raise VertexFileError(f"{path}: holds {array.dtype}, not vertices")
    shape = (
        array.shape[1:] if array.ndim > 2 and array.shape[0] == 1 and array.shape[-1] != 3 else array.shape
    )
    if array.ndim == 4 and array.shape[0] == 1:
        shape = array.shape[1:]
    if len(shape) == 2 and shape[1] % 3 == 0:
        shape = (shape[0], shape[1] // 3, 3)
    if len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise VertexFileError(f"{path}: {array.shape} is neither (T, V, 3) nor (T, 3 V)")
    return np.ascontiguousarray(array.reshape(shape), dtype=np.float32)


def _language(path: Path, folder: Path) -> str:
    named = path.stem.partition("_")[0].lower()
    below = (
        path.relative_to(folder).parts[0].removeprefix("language=").lower() if path.parent != folder else ""
    )
    # A folder may be called anything, such as the `npy` of MultiTalk's data.
    return below if below in LANGUAGES or named not in LANGUAGES else named

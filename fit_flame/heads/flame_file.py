"""FLAME's files: 2017, 2019, 2020, 2023 (with and without jaw) and 2023 Open.

All releases share the keys and shapes below. A file is read once (`multitalk.ground.untrusted.pickles`), checked, and
kept as a plain `.npz` in the cache under the SHA-256 of the original.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.heads.head_model import PARENTS, HeadModel, HeadModelError, LandmarkEmbedding
from multitalk.ground.untrusted.array_files import read_npy, read_npz
from multitalk.ground.untrusted.files import UntrustedFileError, read_untrusted
from multitalk.ground.untrusted.pickles import LARGEST_PICKLE, array_of, unpickled

VERTICES, TRIANGLES, IDENTITIES, EXPRESSIONS = 5023, 9976, 300, 100
_SHAPES = {
    "v_template": (VERTICES, 3),
    "f": (TRIANGLES, 3),
    "shapedirs": (VERTICES, 3, IDENTITIES + EXPRESSIONS),
    "posedirs": (VERTICES, 3, 36),
    "J_regressor": (5, VERTICES),
    "weights": (VERTICES, 5),
}

RELEASES = {
    "e75a0990728ba038c7da2a420ae4396f7ddd7781366c13026066c5b24f127623": "flame_2023_open",
    "8fb1af0db1abb51053ead8fd1f2624a63d01c9602f4a4fb4ea23bd2c82017fa0": "flame_2023",
    "efcd14cc4a69f3a3d9af8ded80146b5b6b50df3bd74cf69108213b144eba725b": "flame_2020",
}
"""Names, as the asset registry has them, of files known by their SHA-256; others take the caller's name."""


@dataclass(frozen=True, slots=True)
class FlameArrays:
    """What a FLAME file holds, float64."""

    v_template: npt.NDArray[np.float64]
    """(5023, 3) metres."""
    faces: npt.NDArray[np.int64]
    """(9976, 3)."""
    shapedirs: npt.NDArray[np.float64]
    """(5023, 3, 400): 300 of identity, 100 of expression."""
    posedirs: npt.NDArray[np.float64]
    """(5023, 3, 36)."""
    joint_regressor: npt.NDArray[np.float64]
    """(5, 5023)."""
    weights: npt.NDArray[np.float64]
    """(5023, 5)."""
    sha256: str
    """Of the original file."""


def read_flame(path: Path, cache: Path | None = None) -> FlameArrays:
    """Read a FLAME file.

    Parameters
    ----------
    path
        The `.pkl` as downloaded.
    cache
        Folder for the converted `.npz`; nothing is kept if None.

    Raises
    ------
    HeadModelError
        When the file cannot be read, is refused, lacks a key, or has one of another shape.
    """
    try:
        data = read_untrusted(path, LARGEST_PICKLE)
    except UntrustedFileError as error:
        raise HeadModelError(str(error)) from error
    except OSError as error:
        raise HeadModelError(f"cannot read {path}: {error.strerror}") from error
    digest = hashlib.sha256(data).hexdigest()
    kept = cache / f"flame_{digest}.npz" if cache else None
    if kept and kept.exists():
        try:
            return _checked(read_npz(kept), path, digest)
        except (OSError, KeyError, ValueError):
            kept.unlink(missing_ok=True)  # a damaged copy is made again
    try:
        loaded = unpickled(data, path)
    except UntrustedFileError as error:
        raise HeadModelError(str(error)) from error
    if not isinstance(loaded, dict):
        raise HeadModelError(f"{path} holds a {type(loaded).__name__} instead of FLAME's dictionary")
    arrays = {}
    for name in (*_SHAPES, "kintree_table"):
        try:
            arrays[name] = array_of(loaded[name])
        except KeyError:
            raise HeadModelError(f"{path} lacks {name!r}: it is no FLAME model file") from None
        except ValueError as error:
            raise HeadModelError(f"{path}: {name!r} cannot be read: {error}") from error
    flame = _checked(arrays, path, digest)
    if kept:
        write_npz(kept, arrays)
    return flame


def _checked(arrays: dict[str, npt.NDArray[np.generic]], path: Path, digest: str) -> FlameArrays:
    for name, shape in _SHAPES.items():
        if arrays[name].shape != shape or arrays[name].dtype.kind not in "fiu":
            found = f"{arrays[name].dtype} {arrays[name].shape}"
            raise HeadModelError(f"{path}: {name!r} is {found}, FLAME's is {shape}")
        if not np.isfinite(arrays[name]).all():
            raise HeadModelError(f"{path}: {name!r} holds values that are not finite")
    if arrays["kintree_table"].ndim != 2 or arrays["kintree_table"].dtype.kind not in "iuf":
        raise HeadModelError(f"{path}: 'kintree_table' is no table of joints")
    parents = arrays["kintree_table"][0].astype(np.int64)[1:].tolist()
    if parents != list(PARENTS[1:]):
        raise HeadModelError(f"{path}: joints hang on {parents}, FLAME's on {list(PARENTS[1:])}")
    if not np.allclose(arrays["weights"].astype(np.float64).sum(axis=1), 1, atol=1e-3):
        raise HeadModelError(f"{path}: skinning weights do not sum to 1")
    faces = arrays["f"].astype(np.int64)
    if faces.min() < 0 or faces.max() >= VERTICES:
        raise HeadModelError(f"{path}: triangles name vertices that are not there")

    def floats(name: str) -> npt.NDArray[np.float64]:
        return arrays[name].astype(np.float64)

    return FlameArrays(
        floats("v_template"), faces, floats("shapedirs"), floats("posedirs"), floats("J_regressor"),
        floats("weights"), digest,
    )  # fmt: skip


def write_npz(target: Path, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Write arrays by name into an npz file that appears only when it is whole; its folder is made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".npz", delete=False) as file:
        temporary = Path(file.name)
    try:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())  # else a power cut could leave the name and lose the content
        temporary.chmod(0o644)  # temporary files are their maker's alone; the cache may be shared
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def eyelid_paths(folder: Path) -> list[Path]:
    """Return where the left and the right eyelid's shape lie: beside a FLAME file."""
    return [folder / f"{side}_eyelid.npy" for side in "lr"]


def read_eyelids(folder: Path) -> npt.NDArray[np.float64] | None:
    """Read the shapes that close the eyes, `l_eyelid.npy` and `r_eyelid.npy`, from a FLAME file's folder.

    Returns
    -------
    ndarray or None
        (5023, 3, 2) left, right, metres; None where they are not.

    Raises
    ------
    HeadModelError
        When a file is damaged, or no such shape.
    """
    places = eyelid_paths(folder)
    if not all(place.exists() for place in places):
        return None
    lids = []
    for place in places:
        try:
            lid = read_npy(place)
        except (OSError, ValueError) as error:
            raise HeadModelError(f"{place} cannot be read: {error}") from error
        if lid.shape != (VERTICES, 3) or lid.dtype.kind != "f" or not np.isfinite(lid).all():
            raise HeadModelError(f"{place} is {lid.dtype} {lid.shape}, an eyelid's shape is ({VERTICES}, 3)")
        lids.append(lid.astype(np.float64))
    return np.stack(lids, axis=2)


def flame_head_model(
    flame: FlameArrays,
    embedding: LandmarkEmbedding,
    name: str = "flame",
    *,
    shape_size: int = 100,
    expression_size: int = 50,
    eyelids: npt.NDArray[np.float64] | None = None,
) -> HeadModel:
    """Make a head model of a FLAME file.

    Parameters
    ----------
    flame
        The file's arrays.
    embedding
        Where the detected landmarks lie on its surface.
    name
        The release, e.g. `flame_2023_open`, as the asset registry calls it.
    shape_size, expression_size
        How many of the 300 identity and 100 expression directions to use.
    eyelids
        (5023, 3, 2) shapes that close the left and the right eye; they follow the expression directions.
    """
    if not 0 < shape_size <= IDENTITIES or not 0 < expression_size <= EXPRESSIONS:
        raise HeadModelError(
            f"FLAME has 300 identity and 100 expression directions, not {shape_size} and {expression_size}"
        )
    expression = flame.shapedirs[:, :, IDENTITIES : IDENTITIES + expression_size]
    if eyelids is not None:
        expression = np.concatenate([expression, eyelids], axis=2)
    made_of = f"{flame.sha256}:{shape_size}:{expression_size}:{eyelids is not None}"
    if eyelids is not None:
        made_of += hashlib.sha256(eyelids.tobytes()).hexdigest()
    return HeadModel(
        name=RELEASES.get(flame.sha256, name),
        hash=hashlib.sha256(made_of.encode()).hexdigest()[:16],
        v_template=flame.v_template.astype(np.float32),
        faces=flame.faces,
        shapedirs=flame.shapedirs[:, :, :shape_size].astype(np.float32),
        expressiondirs=expression.astype(np.float32),
        posedirs=flame.posedirs.astype(np.float32),
        joint_regressor=flame.joint_regressor.astype(np.float32),
        skinning_weights=flame.weights.astype(np.float32),
        embedding=embedding,
    )

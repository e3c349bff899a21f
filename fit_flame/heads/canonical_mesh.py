"""MediaPipe's canonical face mesh, read out of `face_landmarker.task`.

The file is a zip archive; the mesh lies in one of its members as a protocol buffer. Field 1 of the message is
the mesh; in it field 3 repeats the vertices' floats (x, y, z in cm, u, v), field 4 the triangles' indices.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.heads.head_model import HeadModelError
from multitalk.ground import landmark_layout as layout

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_METADATA = "geometry_pipeline_metadata_landmarks.binarypb"
_VERTEX_FLOATS = 5  # x, y, z, u, v


@dataclass(frozen=True, slots=True)
class CanonicalMesh:
    """MediaPipe's canonical face mesh."""

    vertices: Array
    """(468, 3) metres, x right in the picture, y up, z out of the face."""
    faces: IntArray
    """(898, 3) triangles; mouth and eyes are filled."""
    sha256: str
    """Of the metadata file inside the archive."""


def read_canonical_mesh(task_file: Path) -> CanonicalMesh:
    """Read the canonical mesh out of `face_landmarker.task`.

    Parameters
    ----------
    task_file
        MediaPipe's Face Landmarker bundle, a zip archive.

    Raises
    ------
    HeadModelError
        When the file is not such a bundle, or its mesh is not the known one.
    """
    try:
        with zipfile.ZipFile(task_file) as bundle:
            data = bundle.read(_METADATA)
        mesh = next(v for field, v in _fields(memoryview(data)) if field == 1 and not isinstance(v, int))
        vertices = _repeated_floats(mesh, 3).reshape(-1, _VERTEX_FLOATS)
        faces = np.array(_repeated_varints(mesh, 4), np.int64).reshape(-1, 3)
    except (OSError, zipfile.BadZipFile, KeyError, StopIteration, ValueError, IndexError) as error:
        raise HeadModelError(
            f"cannot read the canonical face mesh from {task_file}: {error}; "
            "fetch it again with `multitalk assets fetch face_landmarker`"
        ) from error
    if vertices.shape[0] != layout.MESH_COUNT or faces.size == 0 or faces.max() >= layout.MESH_COUNT:
        raise HeadModelError(f"{task_file} holds a mesh of {len(vertices)} vertices instead of 468")
    return CanonicalMesh(vertices[:, :3] * 0.01, faces, hashlib.sha256(data).hexdigest())


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Fields of a protobuf message: number, and an integer (varint) or bytes (all other wire types)."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        match tag & 7:
            case 0:
                value, at = _varint(message, at)
                yield tag >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, at = _varint(message, at)
            case 5:
                size = 4
            case wire_type:
                raise ValueError(f"unknown protobuf wire type {wire_type}")
        if at + size > len(message):
            raise ValueError("protobuf message ends inside a field")
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _repeated_floats(message: memoryview, field: int) -> Array:
    """Read a repeated float field, packed or not."""
    parts = [
        bytes(value) for number, value in _fields(message) if number == field and not isinstance(value, int)
    ]
    return np.frombuffer(b"".join(parts), "<f4").astype(np.float64)


def _repeated_varints(message: memoryview, field: int) -> list[int]:
    """Read a repeated varint field, packed or not."""
    values: list[int] = []
    for number, value in _fields(message):
        if number != field:
            continue
        if isinstance(value, int):
            values.append(value)
            continue
        at = 0
        while at < len(value):
            item, at = _varint(value, at)
            values.append(item)
    return values

"""A clip's head as glTF 2.0, binary: mesh, 52 named morph targets, joints of neck and eyes, and its motion.

The person's face at rest is baked into the mesh; expressions are morph targets by ARKit's names, whose weights are
animated; root, neck and eyes are joints. Metres, y up, the camera at the origin looking along -z, as everywhere here.
What `Motion.correction` holds beyond the weights is left out.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.heads.head_model import LEFT_EYE, NECK, RIGHT_EYE, ROOT, HeadModel, HeadModelError
from multitalk.fit_flame.heads.surface import vertex_normals
from multitalk.fit_flame.parameters.motion import Motion

Array = npt.NDArray[np.generic]
FloatArray = npt.NDArray[np.float32]

_JOINTS = {ROOT: "root", NECK: "neck", LEFT_EYE: "eye_left", RIGHT_EYE: "eye_right"}
_FLOAT, _UINT, _UBYTE = 5126, 5125, 5121
_ARRAY_BUFFER, _INDEX_BUFFER = 34962, 34963
_KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


class _Buffer:
    """Binary data, and the accessors that say what lies where in it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(
        self, array: Array, component: int, *, target: int | None = None, limits: bool = False, **more: Any
    ) -> int:
        """Append an array (N,) or (N, k) and return its accessor's number."""
        self.data += b"\0" * (-len(self.data) % 4)
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": array.nbytes}
        if target is not None:
            view["target"] = target
        self.views.append(view)
        self.data += np.ascontiguousarray(array).tobytes()
        width = 1 if array.ndim == 1 else int(array.shape[1])
        accessor: dict[str, Any] = {
            "bufferView": len(self.views) - 1,
            "componentType": component,
            "count": len(array),
            "type": _KINDS[width],
            **more,
        }
        if limits:
            flat = array.reshape(len(array), width).astype(np.float64)
            accessor |= {"min": flat.min(axis=0).tolist(), "max": flat.max(axis=0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def write_glb(motion: Motion, model: HeadModel, place: Path) -> int:
    """Write a motion as `.glb`.

    Parameters
    ----------
    motion
        The motion.
    model
        Its head model, with named expressions.
    place
        The file.

    Returns
    -------
    int
        Bytes written.

    Raises
    ------
    MotionError
        The motion belongs to another head model.
    HeadModelError
        The head model's expressions have no names.
    OSError
        The file cannot be written.
    """
    motion.require_model(model.key)
    if model.rules is None or model.has_jaw:
        raise HeadModelError(f"{model.name} has no named expressions to write as morph targets: use `anny`")
    buffer = _Buffer()
    shaped = (model.v_template + model.shapedirs @ motion.shape).astype(np.float32)
    joints = (model.joint_regressor @ shaped).astype(np.float32)
    content = {
        "asset": {"version": "2.0", "generator": "multitalk"},
        "scene": 0,
        "scenes": [{"nodes": [0, len(_JOINTS)]}],
        "nodes": [*_joint_nodes(joints, motion), {"name": "head", "mesh": 0, "skin": 0}],
        "meshes": [_mesh(buffer, model, shaped)],
        "materials": [
            {
                "name": "skin",
                "doubleSided": True,
                "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.75},
            }
        ],
        "skins": [_skin(buffer, joints)],
        "animations": [_animation(buffer, motion, joints)],
    }
    content["accessors"], content["bufferViews"] = buffer.accessors, buffer.views
    content["buffers"] = [{"byteLength": len(buffer.data)}]
    return _write(place, content, bytes(buffer.data))


def _mesh(buffer: _Buffer, model: HeadModel, shaped: FloatArray) -> dict[str, Any]:
    """Vertices are doubled where the texture's seams run through them."""
    assert model.rules is not None
    corners = model.faces.ravel()
    texture = np.zeros_like(corners) if model.uv_faces is None else model.uv_faces.ravel()
    pairs, indices = np.unique(np.stack([corners, texture], axis=1), axis=0, return_inverse=True)
    ids = pairs[:, 0]
    normals = vertex_normals(shaped.astype(np.float64), model.faces).astype(np.float32)[ids]
    normals[np.linalg.norm(normals, axis=1) < 0.5] = (0, 0, 1)  # of triangles without area
    joints = list(_JOINTS)
    weights = model.skinning_weights[ids][:, joints]
    attributes = {
        "POSITION": buffer.add(shaped[ids], _FLOAT, target=_ARRAY_BUFFER, limits=True),
        "NORMAL": buffer.add(normals, _FLOAT, target=_ARRAY_BUFFER),
        "JOINTS_0": buffer.add(_bound(weights), _UBYTE, target=_ARRAY_BUFFER),
        "WEIGHTS_0": buffer.add(weights / weights.sum(axis=1, keepdims=True), _FLOAT, target=_ARRAY_BUFFER),
    }
    if model.uv is not None:
        flipped = (model.uv[pairs[:, 1]] * [1, -1] + [0, 1]).astype(np.float32)  # glTF counts v from above
        attributes["TEXCOORD_0"] = buffer.add(flipped, _FLOAT, target=_ARRAY_BUFFER)
    if model.colours is not None:
        linear = ((model.colours[ids] / 255.0) ** 2.2 * 255).round().astype(np.uint8)
        opaque = np.concatenate([linear, np.full((len(ids), 1), 255, np.uint8)], axis=1)
        attributes["COLOR_0"] = buffer.add(opaque, _UBYTE, target=_ARRAY_BUFFER, normalized=True)
    targets = [
        {"POSITION": buffer.add(direction[ids], _FLOAT, target=_ARRAY_BUFFER, limits=True)}
        for direction in np.moveaxis(model.expressiondirs, 2, 0)
    ]
    primitive = {
        "attributes": attributes,
        "indices": buffer.add(indices.ravel().astype(np.uint32), _UINT, target=_INDEX_BUFFER),
        "material": 0,
        "targets": targets,
    }
    return {
        "name": model.name,
        "primitives": [primitive],
        "weights": [0.0] * len(targets),
        "extras": {"targetNames": list(model.rules.names)},
    }


def _bound(weights: FloatArray) -> npt.NDArray[np.uint8]:
    """(N, 4) numbers of the joints; 0 where one has no weight, as glTF asks."""
    numbers = np.tile(np.arange(4, dtype=np.uint8), (len(weights), 1))
    return np.where(weights > 0, numbers, 0).astype(np.uint8)


def _joint_nodes(joints: FloatArray, motion: Motion) -> list[dict[str, Any]]:
    root = joints[ROOT] + motion.translation[0]
    return [
        {"name": "root", "translation": root.tolist(), "children": [1]},
        {"name": "neck", "translation": (joints[NECK] - joints[ROOT]).tolist(), "children": [2, 3]},
        {"name": "eye_left", "translation": (joints[LEFT_EYE] - joints[NECK]).tolist()},
        {"name": "eye_right", "translation": (joints[RIGHT_EYE] - joints[NECK]).tolist()},
    ]


def _skin(buffer: _Buffer, joints: FloatArray) -> dict[str, Any]:
    bind = np.tile(np.eye(4, dtype=np.float32), (len(_JOINTS), 1, 1))
    bind[:, :3, 3] = -joints[list(_JOINTS)]
    columns = bind.transpose(0, 2, 1).reshape(len(_JOINTS), 16)
    return {
        "inverseBindMatrices": buffer.add(columns, _FLOAT),
        "joints": list(range(len(_JOINTS))),
        "skeleton": 0,
    }


def _animation(buffer: _Buffer, motion: Motion, joints: FloatArray) -> dict[str, Any]:
    times = (np.arange(motion.frame_count) / motion.fps).astype(np.float32)
    clock = buffer.add(times, _FLOAT, limits=True)
    courses = (
        (0, "translation", joints[ROOT] + motion.translation),
        (0, "rotation", quaternions(motion.rotation)),
        (2, "rotation", quaternions(motion.eyes[:, :3])),
        (3, "rotation", quaternions(motion.eyes[:, 3:])),
        (len(_JOINTS), "weights", motion.expression.ravel()),
    )
    samplers, channels = [], []
    for node, path, values in courses:
        output = buffer.add(values.astype(np.float32), _FLOAT)
        samplers.append({"input": clock, "output": output, "interpolation": "LINEAR"})
        channels.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": path}})
    return {"name": "clip", "samplers": samplers, "channels": channels}


def quaternions(axis_angle: FloatArray) -> FloatArray:
    """(T, 4) x, y, z, w of turns (T, 3), each in the half space of the one before it."""
    angle = np.linalg.norm(axis_angle.astype(np.float64), axis=1, keepdims=True)
    axis = axis_angle / np.maximum(angle, 1e-12)
    found = np.concatenate([axis * np.sin(angle / 2), np.cos(angle / 2)], axis=1)
    flips = np.cumprod(np.where((found[1:] * found[:-1]).sum(axis=1) < 0, -1, 1))
    found[1:] *= flips[:, None]
    return found.astype(np.float32)


def _write(place: Path, content: dict[str, Any], data: bytes) -> int:
    text = json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    data += b"\0" * (-len(data) % 4)
    size = 12 + 8 + len(text) + 8 + len(data)
    temporary = place.with_name(f".{place.name}.part")
    try:
        with temporary.open("wb") as file:
            file.write(struct.pack("<4sII", b"glTF", 2, size))
            file.write(struct.pack("<I4s", len(text), b"JSON") + text)
            file.write(struct.pack("<I4s", len(data), b"BIN\0") + data)
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)
    return size

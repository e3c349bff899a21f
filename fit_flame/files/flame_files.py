"""FLAME's motion as trackers write it and avatar trainers read it; docs/formats.md has keys, shapes and conventions.

FLAME's coefficients and joints are the same everywhere; what differs is where head and camera stand. VHAP and ours keep
the camera still before a head that moves; the metrical tracker keeps the head still before a camera that moves.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.heads.head_model import HeadModel, HeadModelError
from multitalk.fit_flame.parameters.motion import Motion
from multitalk.ground.files import atomic

FloatArray = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

SHAPES, EXPRESSIONS = 300, 100
_SMIRK_EXPRESSIONS = 50
VHAP_VERTICES = 5143
"""FLAME's 5,023, and 120 of teeth that VHAP adds."""
_CANONICAL_JAW = 0.3  # radians; VHAP's canonical pose has an open mouth
FLAME_VERTICES = 5023


def require_flame(model: HeadModel) -> None:
    """Raise HeadModelError for a head model that is not FLAME's."""
    if len(model.v_template) != FLAME_VERTICES or not model.has_jaw:
        raise HeadModelError(
            f"{model.name} is not FLAME: convert the clips to it first (multitalk convert --to flame_2023_open)"
        )


def write_vhap(motion: Motion, model: HeadModel, folder: Path, size: int = 512) -> int:
    """Write a folder as VHAP exports it and GaussianAvatars reads it, without pictures.

    Parameters
    ----------
    motion
        The motion.
    model
        Its head model, FLAME's.
    folder
        Gets `flame_param/<frame>.npz`, `canonical_flame_param.npz` and `transforms.json`.
    size
        Side of the clip's pictures, pixels.

    Returns
    -------
    int
        Frames written.

    Raises
    ------
    MotionError, HeadModelError
        The motion is of another head model, or that is not FLAME.
    OSError
        A file cannot be written.
    """
    motion.require_model(model.key)
    require_flame(model)
    shape, expression = _cut(motion.shape, SHAPES), _cut(motion.expression, EXPRESSIONS)
    still: dict[str, Any] = {"shape": shape, "static_offset": np.zeros((1, VHAP_VERTICES, 3), np.float32)}
    nothing = np.zeros((1, 3), np.float32)
    for t in range(motion.frame_count):
        one = slice(t, t + 1)
        _savez(
            folder / "flame_param" / f"{t:05d}.npz",
            translation=motion.translation[one],
            rotation=motion.rotation[one],
            neck_pose=nothing,
            jaw_pose=motion.jaw[one],
            eyes_pose=motion.eyes[one],
            expr=expression[one],
            **still,
        )
    canonical = dict.fromkeys(("translation", "rotation", "neck_pose"), nothing)
    jaw = np.array([[_CANONICAL_JAW, 0, 0]], np.float32)
    _savez(
        folder / "canonical_flame_param.npz",
        jaw_pose=jaw,
        eyes_pose=np.zeros((1, 6), np.float32),
        expr=np.zeros((1, EXPRESSIONS), np.float32),
        **canonical,
        **still,
    )
    with atomic(folder / "transforms.json") as temporary:
        temporary.write_text(json.dumps(_transforms(motion, size)), "utf-8")
    return motion.frame_count


def _transforms(motion: Motion, size: int) -> dict[str, Any]:
    """NeRF's description of a camera that stands still at the origin and looks along -z."""
    focal, x, y = map(float, motion.camera)
    camera = {
        "fl_x": focal,
        "fl_y": focal,
        "cx": x,
        "cy": y,
        "w": size,
        "h": size,
        "camera_angle_x": float(2 * np.arctan(size / 2 / focal)),
        "transform_matrix": np.eye(4).tolist(),
    }
    frames = [
        {
            "timestep_index": t,
            "timestep_index_original": t,
            "timestep_id": f"frame_{t:05d}",
            "camera_index": 0,
            "camera_id": "0",
            "file_path": f"images/{t:05d}_00.png",
            "fg_mask_path": f"fg_masks/{t:05d}_00.png",
            "flame_param_path": f"flame_param/{t:05d}.npz",
            **camera,
        }
        for t in range(motion.frame_count)
    ]
    count = motion.frame_count
    return {**camera, "frames": frames, "timestep_indices": list(range(count)), "camera_indices": [0]}


def write_tracker_frames(motion: Motion, model: HeadModel, folder: Path, size: int = 512) -> int:
    """Write `<frame>.frame` files of torch as the metrical tracker does and FlashAvatar reads; as `write_vhap`."""
    import torch

    motion.require_model(model.key)
    require_flame(model)
    turn, place = _cameras(motion, model)
    focal, x, y = map(float, motion.camera)
    flip, mirrored = np.diag([1.0, -1, -1]), np.diag([-1.0, 1, -1])
    lens = np.array([[focal, 0, x], [0, focal, y], [0, 0, 1]])
    shape, expression = _cut(motion.shape, SHAPES)[None], _cut(motion.expression, EXPRESSIONS)
    eyes = np.concatenate([_six(motion.eyes[:, :3]), _six(motion.eyes[:, 3:])], axis=1)
    jaw = _six(motion.jaw)
    for t in range(motion.frame_count):
        content: dict[str, Any] = {
            "flame": {
                "exp": expression[t : t + 1],
                "shape": shape,
                "tex": np.zeros((1, 140), np.float32),
                "sh": np.zeros((1, 9, 3), np.float32),
                "eyes": eyes[t : t + 1],
                "eyelids": np.zeros((1, 2), np.float32),
                "jaw": jaw[t : t + 1],
            },
            "camera": {
                "R": (mirrored @ turn[t]).T[None],
                "t": (mirrored @ place[t])[None],
                "fl": np.array([[2 * focal / size]]),
                "pp": np.array([[(size / 2 - x) * 2 / size, (size / 2 - y) * 2 / size]]),
            },
            "opencv": {"R": (flip @ turn[t])[None], "t": (flip @ place[t])[None], "K": lens[None]},
            "img_size": np.array([size, size], np.int32),
            "frame_id": f"{t:05d}",
            "global_step": t,
        }
        for part in ("camera", "opencv"):
            content[part] = {name: value.astype(np.float32) for name, value in content[part].items()}
        with atomic(folder / f"{t:05d}.frame") as temporary:
            torch.save(content, temporary)
    return motion.frame_count


def write_smirk(motion: Motion, model: HeadModel, place: Path) -> int:
    """Write an `.npz` with the names that SMIRK's encoder gives, all frames together; as `write_vhap`."""
    motion.require_model(model.key)
    require_flame(model)
    frames = motion.frame_count
    _savez(
        place,
        pose_params=motion.rotation,
        jaw_params=motion.jaw,
        expression_params=_cut(motion.expression, _SMIRK_EXPRESSIONS),
        shape_params=np.tile(_cut(motion.shape, SHAPES), (frames, 1)),
        eyelid_params=np.zeros((frames, 2), np.float32),
    )
    return frames


def write_artalk(motion: Motion, model: HeadModel, place: Path) -> int:
    """Write `.npy` (T, 106) as ARTalk's talkers have motion: 100 expressions, head and jaw; as `write_vhap`."""
    motion.require_model(model.key)
    require_flame(model)
    values = np.concatenate([_cut(motion.expression, EXPRESSIONS), motion.rotation, motion.jaw], axis=1)
    with atomic(place) as temporary, temporary.open("wb") as file:
        np.save(file, values.astype(np.float32))
    return len(values)


def _cameras(motion: Motion, model: HeadModel) -> tuple[Array, Array]:
    """Give turns (T, 3, 3) and places (T, 3): a point X of the still head lies at turn X + place before our camera."""
    import torch

    from multitalk.fit_flame.parameters.decode import root_joint

    turn = _matrices(motion.rotation)
    joint = root_joint(model, torch.tensor(motion.shape), torch.tensor(motion.expression)).numpy()
    return turn, joint - (turn @ joint[..., None])[..., 0] + motion.translation


def _matrices(axis_angle: FloatArray) -> Array:
    import torch

    from multitalk.fit_flame.parameters.rotation import to_matrix

    return np.asarray(to_matrix(torch.tensor(axis_angle.astype(np.float64))).numpy())


def _six(axis_angle: FloatArray) -> FloatArray:
    """(T, 6) the first two rows of the rotation matrices."""
    return _matrices(axis_angle)[:, :2].reshape(-1, 6).astype(np.float32)


def _cut(values: FloatArray, size: int) -> FloatArray:
    """As many coefficients (..., size) as a format has; those that the model has not are zero."""
    kept = values[..., :size]
    return np.pad(kept, [(0, 0)] * (kept.ndim - 1) + [(0, size - kept.shape[-1])]).astype(np.float32)


def _savez(place: Path, **arrays: Any) -> None:
    with atomic(place) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)

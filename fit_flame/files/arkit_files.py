"""ARKit's weights as files: a plain CSV, Live Link Face's CSV, and Audio2Face's JSON.

All carry the 52 weights by name. Live Link's CSV has, as Epic's app writes it, a timecode, the count of what
follows, the weights (JawRight before JawLeft, MouthRight before MouthLeft), and the turns of head and eyes in radians:
yaw about the head's y axis (up), pitch about x (to its left), roll about z (out of the face), each right-handed,
R = yaw pitch roll. No specification of these signs is published; a program that turns heads the other way wants them
negated.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.parameters.motion import Motion, MotionError
from multitalk.ground.arkit_names import ARKIT

FloatArray = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

_TURNS = tuple(
    f"{part}{turn}" for part in ("Head", "LeftEye", "RightEye") for turn in ("Yaw", "Pitch", "Roll")
)
_SWAPPED = {
    "jawLeft": "jawRight",
    "jawRight": "jawLeft",
    "mouthLeft": "mouthRight",
    "mouthRight": "mouthLeft",
}
_ORDER = tuple(_SWAPPED.get(name, name) for name in ARKIT)
LIVE_LINK_HEADER = ("Timecode", "BlendShapeCount", *(name[0].upper() + name[1:] for name in _ORDER), *_TURNS)
"""Columns of Live Link Face's CSV, 63 in all."""


def write_live_link(motion: Motion, place: Path, fps: float | None = None) -> int:
    """Write a motion of ARKit's weights as Live Link Face's CSV.

    Parameters
    ----------
    motion
        Of a head model whose expression are ARKit's 52 weights.
    place
        The `.csv` file.
    fps
        Frames a second of the file, between which values are interpolated; the motion's own if None.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    MotionError
        The motion has no such weights, or `fps` is no rate.
    OSError
        The file cannot be written.
    """
    rate = _rate(motion, fps)
    weights = motion.expression[:, [ARKIT.index(name) for name in _ORDER]]
    turns = np.concatenate(
        [euler_angles(part) for part in (motion.rotation, motion.eyes[:, :3], motion.eyes[:, 3:])], axis=1
    )
    values = resampled(np.concatenate([weights, np.unwrap(turns, axis=0)], axis=1), motion.fps, rate)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(LIVE_LINK_HEADER)
    for index, row in enumerate(values):
        rows.writerow([timecode(index, rate), len(row), *(f"{value:.6f}" for value in row)])
    _write(place, text.getvalue())
    return len(values)


def write_arkit(motion: Motion, place: Path, fps: float | None = None) -> int:
    """Write a plain CSV, `time` in seconds and the 52 weights by Apple's names; else as `write_live_link`."""
    rate = _rate(motion, fps)
    values = resampled(motion.expression.astype(np.float64), motion.fps, rate)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("time", *ARKIT))
    for index, row in enumerate(values):
        rows.writerow([f"{index / rate:.4f}", *(f"{value:.6f}" for value in row)])
    _write(place, text.getvalue())
    return len(values)


def write_audio2face(motion: Motion, place: Path, fps: float | None = None) -> int:
    """Write a motion of ARKit's weights as Audio2Face's JSON; parameters, result and errors as `write_live_link`."""
    rate = _rate(motion, fps)
    values = resampled(motion.expression.astype(np.float64), motion.fps, rate)
    content = {
        "exportFps": float(rate),
        "trackPath": "",
        "numPoses": len(ARKIT),
        "numFrames": len(values),
        "facsNames": list(ARKIT),
        "weightMat": np.round(values, 6).tolist(),
    }
    _write(place, json.dumps(content))
    return len(values)


def _rate(motion: Motion, fps: float | None) -> float:
    """Return the frames a second to write a motion of ARKit's weights with."""
    _require_arkit(motion)
    rate = motion.fps if fps is None else fps
    if not (np.isfinite(rate) and 1 <= rate <= 1000):
        raise MotionError(f"{rate} frames a second: a rate between 1 and 1000 is wanted")
    return rate


def _require_arkit(motion: Motion) -> None:
    weights = motion.expression
    named = motion.head_model.partition(":")[0] == "anny"
    if not named or weights.shape[1] != len(ARKIT):
        raise MotionError(
            f"motion of {motion.head_model} has no ARKit weights: fit the clip with the head model `anny`"
        )
    if not np.isfinite(weights).all() or weights.min(initial=0) < 0 or weights.max(initial=0) > 1:
        raise MotionError("ARKit's weights lie between 0 and 1; these do not")


def resampled(values: Array, fps: float, rate: float) -> Array:
    """Interpolate values (T, n) of `fps` frames a second linearly at `rate` frames a second."""
    if rate == fps or len(values) < 2:
        return values.astype(np.float64)
    last = (len(values) - 1) / fps
    times = np.arange(int(np.floor(last * rate + 1e-6)) + 1) / rate
    known = np.arange(len(values)) / fps
    return np.stack([np.interp(times, known, column) for column in values.T], axis=1)


def euler_angles(axis_angle: FloatArray) -> Array:
    """(T, 3) yaw, pitch, roll in radians of turns (T, 3), R = Ry(yaw) Rx(pitch) Rz(roll)."""
    import torch

    from multitalk.fit_flame.parameters.rotation import to_matrix

    matrix = to_matrix(torch.from_numpy(axis_angle.astype(np.float64))).numpy()
    pitch = np.arcsin(np.clip(-matrix[:, 1, 2], -1, 1))
    yaw = np.arctan2(matrix[:, 0, 2], matrix[:, 2, 2])
    roll = np.arctan2(matrix[:, 1, 0], matrix[:, 1, 1])
    angles: Array = np.stack([yaw, pitch, roll], axis=1)
    return angles


def timecode(index: int, fps: float) -> str:
    """Return a frame's time as hours:minutes:seconds:frames.thousandths."""
    seconds, rest = divmod(round(1000 * index / fps), 1000)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    frame = rest / 1000 * fps
    return f"{hours:02d}:{minute:02d}:{second:02d}:{int(frame):02d}.{round(1000 * (frame % 1)) % 1000:03d}"


def _write(place: Path, text: str) -> None:
    """Write beside the place, then rename: nothing half-written ever bears the final name."""
    temporary = place.with_name(f".{place.name}.part")
    try:
        temporary.write_text(text, encoding="utf-8", newline="")
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)

"""Heads with sound, video and curves as one HTML page that opens anywhere, without a network.

A head's frames are packed as few directions of its vertices, and how far each goes in each frame: that shows any head
model exactly enough (`FAITHFUL`), an unknown model's vertices, too, and the page needs no model. Pictures of the video
lie in the page one by one, so that every browser shows the frame that belongs to the sound's time.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multitalk.eval.drawing.render import SKIN
from multitalk.ground.files import atomic

FloatArray = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

FAITHFUL = 1e-4
"""Metres by which a vertex may be off in the page."""
_MOST_MODES = 160
_PAGE = Path(__file__).with_name("viewer_page")
_MOST_CURVES = 6
_MARGIN = 1.15  # of the head's size in its picture
_DISTANCE = 1.0  # metres to the camera


@dataclass(frozen=True, slots=True)
class ShownHead:
    """A moving head of T frames and V vertices, and what is shown beside it."""

    title: str
    fps: float
    vertices: FloatArray
    """(T, V, 3) metres, without the head's pose."""
    faces: npt.NDArray[np.integer[Any]]
    """(F, 3) triangles."""
    colours: npt.NDArray[np.uint8] | None = None
    """(V, 3) RGB."""
    pose: FloatArray | None = None
    """(T, 3, 4) turns and places a vertex as in the video, metres about where the head mostly is; None: at rest."""
    values: Mapping[str, FloatArray] = field(default_factory=dict)
    """Numbers of each frame, (T,) by name, 0 and more: weights from 0 to 1, or lengths."""
    pictures: Sequence[bytes] = ()
    """A JPEG a frame."""
    sound: bytes | None = None
    """A WAV file."""


def write_page(heads: Sequence[ShownHead], place: Path) -> int:
    """Write the page.

    Parameters
    ----------
    heads
        Side by side, in step; the longest one's sound is heard that has any.
    place
        The `.html` file.

    Returns
    -------
    int
        Bytes written.

    Raises
    ------
    ValueError
        There is no head, or one without frames.
    OSError
        The file cannot be written.
    """
    if not heads or any(not len(head.vertices) for head in heads):
        raise ValueError("there is no frame to show")
    data = json.dumps([_packed(head) for head in heads]).replace("<", "\\u003c")
    page = (_PAGE / "page.html").read_text("utf-8")
    title = html.escape(", ".join(head.title for head in heads))
    page = page.replace("<title>multitalk view</title>", f"<title>{title}</title>")
    for mark, text in (
        ("/*STYLE*/", (_PAGE / "page.css").read_text("utf-8")),
        ("/*SCRIPT*/", (_PAGE / "page.js").read_text("utf-8")),
        ("/*DATA*/", data),
    ):
        before, _, after = page.partition(mark)
        page = before + text + after
    content = page.encode()
    with atomic(place) as temporary:
        temporary.write_bytes(content)
    return len(content)


def _packed(head: ShownHead) -> dict[str, Any]:
    frames, count = head.vertices.shape[:2]
    mean, directions, course = pack(head.vertices)
    drawn = mean[np.unique(head.faces)]
    low, high = drawn.min(axis=0), drawn.max(axis=0)
    grey = np.tile(np.round(255 * np.array(SKIN)).astype(np.uint8), (count, 1))
    pose = np.tile(np.eye(3, 4, dtype=np.float32), (frames, 1, 1)) if head.pose is None else head.pose
    largest = {name: float(max(1.0, values.max(initial=0))) for name, values in head.values.items()}
    return {
        "title": head.title,
        "fps": float(head.fps),
        "frames": frames,
        "vertices": count,
        "modes": len(directions),
        "mean": _text(mean, np.float32),
        "directions": _text(directions, np.int16),
        "course": _text(course, np.float32),
        "pose": _text(pose, np.float32),
        "faces": _text(head.faces, np.uint32),
        "colours": _text(grey if head.colours is None else head.colours, np.uint8),
        "middle": ((low + high) / 2).tolist(),
        "across": _MARGIN * float(max(high - low)),
        "distance": _DISTANCE,
        "values": {name: _text(values, np.float32) for name, values in head.values.items()},
        "largest": largest,
        "curves": _telling(head.values),
        "pictures": [base64.b64encode(picture).decode() for picture in head.pictures],
        "sound": base64.b64encode(head.sound).decode() if head.sound is not None else None,
    }


def _telling(values: Mapping[str, FloatArray]) -> list[str]:
    """Names of what moves most."""
    order = sorted(values, key=lambda name: -float(values[name].std()))
    return [name for name in order if values[name].std() > 0][:_MOST_CURVES]


def pack(vertices: FloatArray) -> tuple[Array, npt.NDArray[np.int16], Array]:
    """Find few directions that hold a motion.

    Parameters
    ----------
    vertices
        (T, V, 3) metres.

    Returns
    -------
    tuple
        Mean (V, 3), directions (K, V, 3) in whole steps, and what a step is in each frame (T, K), metres: vertices are
        `mean + course @ directions` within `FAITHFUL`, or as near as 160 directions come.
    """
    frames, count = vertices.shape[:2]
    flat = vertices.reshape(frames, -1).astype(np.float64)
    mean = flat.mean(axis=0)
    off = flat - mean
    values, turns = np.linalg.eigh(off @ off.T)
    order = values.argsort()[::-1][: min(frames, _MOST_MODES)]
    order = order[values[order] > 1e-14]
    kept = 0
    while kept < len(order):
        kept = min(len(order), max(4, 2 * kept))
        found, course = turns[:, order[:kept]].T @ off, turns[:, order[:kept]]
        steps = np.abs(found).max(axis=1, keepdims=True) / 32767
        whole = np.round(found / steps)
        course = course * steps.T
        if np.abs(course @ whole - off).max() < FAITHFUL:
            break
    else:
        if not len(order):
            whole, course = np.zeros((0, 3 * count)), np.zeros((frames, 0))
    return mean.reshape(-1, 3), whole.reshape(-1, count, 3).astype(np.int16), course


def _text(array: npt.NDArray[Any], kind: type[np.generic]) -> str:
    little = np.ascontiguousarray(array, np.dtype(kind).newbyteorder("<"))
    return base64.b64encode(little.tobytes()).decode()

"""Pictures of clips with the fitted mesh over them, for the report page."""

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from multitalk.eval.drawing.camera import Camera
from multitalk.eval.drawing.render import MeshRenderer, RenderError
from multitalk.fit_flame.heads.anny import NAME as ANNY
from multitalk.fit_flame.heads.head_model import HeadModel
from multitalk.fit_flame.parameters.decode import decode, project
from multitalk.fit_flame.parameters.motion import Motion
from multitalk.flows.modelling.stored_heads import to_motion
from multitalk.ground.arkit_names import ARKIT
from multitalk.manifests import open_dataset, paths
from multitalk.manifests.media import MediaError, Picture, read_frames

Models = Mapping[str, HeadModel]
"""Head models by their key, as the motion names them."""

_SIDE = 320
_QUALITY = 82
_FIRST_FRAMES = 50  # decoding starts at a clip's first frame: a later one costs more and shows no more


def clip_picture(root: Path, models: Models) -> Callable[[Mapping[str, Any]], bytes | None]:
    """Return a function that draws a clip, given its manifest row with `clip_id` and `language`.

    It shows the frame of the clip's first two seconds in which the mouth is widest, its right half under the
    fitted head where `models` has the head model. It gives a JPEG, or None where there is no video.
    """
    dataset = open_dataset(root)

    def picture(row: Mapping[str, Any]) -> bytes | None:
        # From checked ids, not from `clip_path`: a manifest may come from anyone.
        place = paths.clip_path(root, row["language"], row["clip_id"])
        if not place.is_file():
            return None
        try:
            stored = dataset.motion(row["clip_id"])
        except KeyError:
            motion, chosen = None, 0
        else:
            motion = to_motion(stored)
            chosen = _widest(motion)
        frame = _read_frame(place, chosen)
        if frame is None:
            return None
        if motion is not None and motion.head_model in models:
            frame = _with_mesh(frame, motion, models[motion.head_model], chosen)
        return _jpeg(frame)

    return picture


def _widest(motion: Motion) -> int:
    """Frame of the first two seconds in which the jaw is open widest, of those that landmarks supported."""
    named = motion.head_model.partition(":")[0] == ANNY
    jaw = motion.expression[:, ARKIT.index("jawOpen")] if named else motion.jaw[:, 0]
    opening = np.where(motion.valid, jaw, -np.inf)[:_FIRST_FRAMES]
    return int(opening.argmax())


def _read_frame(place: Path, index: int) -> Picture | None:
    try:
        return next(itertools.islice(read_frames(place), index, None), None)
    except MediaError:  # a damaged file, or one without a picture: `verify` tells of it
        return None


def _with_mesh(frame: Picture, motion: Motion, model: HeadModel, index: int) -> Picture:
    """Lay the head over the right half of the picture, so that one sees what it covers by the other half."""
    vertices = decode(motion, model, frames=np.array([index]))[0]
    focal, x, y = map(float, motion.camera)
    camera, (height, width) = Camera(focal, x, y), frame.shape[:2]
    try:
        renderer = MeshRenderer(model.faces, len(vertices), camera, width, height, colours=model.colours)
        drawn = renderer.render_over(vertices, frame, 0.95)
    except RenderError:  # a page without heads is better than none; `doctor` tells what is missing
        return frame
    middle = int(np.clip(np.median(project(vertices, motion.camera)[:, 0]), 1, width - 1))
    drawn[:, :middle] = frame[:, :middle]
    return drawn


def _jpeg(frame: Picture) -> bytes:
    import cv2

    small = cv2.resize(frame, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    _, content = cv2.imencode(
        ".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    return content.tobytes()

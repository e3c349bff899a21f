"""One motion as a file of an engine or viewer, made of ARKit's weights; docs/formats.md tells what is in it."""

from __future__ import annotations

from pathlib import Path

from multitalk.fit_flame.converting.convert_motion import convert_motion
from multitalk.fit_flame.files.arkit_files import write_arkit, write_audio2face, write_live_link
from multitalk.fit_flame.files.gltf import write_glb
from multitalk.fit_flame.files.usd import USD_ENDINGS, write_usd
from multitalk.fit_flame.heads.head_model import HeadModel
from multitalk.fit_flame.parameters.motion import Motion, MotionError

FILE_LAYOUTS = {"gltf": ".glb", "usd": ".usdc", "arkit": ".csv", "livelink": ".csv", "audio2face": ".json"}
"""Endings of the layouts that give a file a clip."""
LAYOUT_OF = {".glb": "gltf", ".csv": "livelink", ".json": "audio2face"} | dict.fromkeys(USD_ENDINGS, "usd")
"""What a file is by its ending, where nothing else tells."""


def write_motion(
    motion: Motion, model: HeadModel, place: Path, layout: str, fps: float | None = None
) -> None:
    """Write one motion.

    Parameters
    ----------
    motion
        The motion.
    model
        Its head model.
    place
        The file.
    layout
        One of `FILE_LAYOUTS`.
    fps
        Frames a second of files of weights; the motion's own if None.

    Raises
    ------
    MotionError, HeadModelError
        The head model has no ARKit weights, or the layout no other rate than the motion's.
    UsdMissingError
        USD is asked for, and its library is not installed.
    OSError
        The file cannot be written.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    if layout in ("gltf", "usd"):
        if fps not in (None, motion.fps):
            raise MotionError(
                f"{layout} has the motion's own {motion.fps:g} frames a second: leave out --fps"
            )
        (write_glb if layout == "gltf" else write_usd)(motion, model, place)
        return
    writers = {"arkit": write_arkit, "livelink": write_live_link, "audio2face": write_audio2face}
    writers[layout](motion, place, fps)


def with_weights(motion: Motion, model: HeadModel, arkit: HeadModel | None) -> tuple[Motion, HeadModel]:
    """Give a motion without ARKit weights to the head model that has them; the motion as it is where it has."""
    if model.rules is not None or arkit is None:
        return motion, model
    return convert_motion(motion, model, arkit), arkit

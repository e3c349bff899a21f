"""Clips as files of other programs, docs/formats.md: for engines and viewers, and FLAME's motion for avatar trainers.

The former are made of ARKit's weights: clips of another head model are converted to `anny` on the way.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from multitalk.fit_flame.files.flame_files import (
    write_artalk,
    write_smirk,
    write_tracker_frames,
    write_vhap,
)
from multitalk.fit_flame.heads.anny import NAME as ANNY
from multitalk.fit_flame.heads.head_model import HeadModel
from multitalk.fit_flame.parameters.motion import Motion
from multitalk.flows.modelling.head_models import load_head_model
from multitalk.flows.modelling.motion_files import FILE_LAYOUTS, with_weights, write_motion
from multitalk.flows.modelling.stored_heads import only_model, to_motion
from multitalk.manifests import open_dataset
from multitalk.manifests.paths import audio_path

if TYPE_CHECKING:
    import pyarrow as pa

FLAME_LAYOUTS = {"vhap": "", "metrical-tracker": "", "smirk": ".npz", "artalk": ".npy"}
"""Those of FLAME's motion; without an ending a clip is a folder."""


def _write_flame(motion: Motion, model: HeadModel, place: Path, layout: str) -> None:
    writers: dict[str, Callable[[Motion, HeadModel, Path], int]] = {
        "vhap": write_vhap,
        "metrical-tracker": write_tracker_frames,
        "smirk": write_smirk,
        "artalk": write_artalk,
    }
    writers[layout](motion, model, place)


def export_files(
    root: Path,
    clips: pa.Table,
    out: Path,
    layout: str,
    *,
    sound: bool,
    named: str | None = None,
    fps: float | None = None,
) -> int:
    """Write the motion of clips, each as `<language>/<clip_id>` with the layout's ending.

    Parameters
    ----------
    root
        The dataset.
    clips
        Manifest rows of the clips.
    out
        Folder to write.
    layout
        One of `multitalk.flows.modelling.motion_files.FILE_LAYOUTS` or `FLAME_LAYOUTS`.
    sound
        Whether each clip's sound is put beside it.
    named
        The head model's name or file, where the clips' key does not tell.
    fps
        As `multitalk.flows.modelling.motion_files.write_motion`.

    Returns
    -------
    int
        Clips written.

    Raises
    ------
    MotionError, HeadModelError
        The clips were fitted with several head models, or one that is not here.
    OSError
        A file cannot be written.
    """
    dataset = open_dataset(root)
    model = only_model(clips["head_model"], named)
    arkit = load_head_model(ANNY) if model.rules is None and layout in FILE_LAYOUTS else None
    for clip_id, language in zip(clips["clip_id"].to_pylist(), clips["language"].to_pylist(), strict=True):
        motion, shown = with_weights(to_motion(dataset.motion(clip_id)), model, arkit)
        place = out / language / f"{clip_id}{(FILE_LAYOUTS | FLAME_LAYOUTS)[layout]}"
        if layout in FLAME_LAYOUTS:
            _write_flame(motion, model, place, layout)
        else:
            write_motion(motion, shown, place, layout, fps)
        if sound:
            shutil.copyfile(audio_path(root, language, clip_id), out / language / f"{clip_id}.wav")
    return len(clips)

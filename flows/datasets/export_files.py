"""Clips as files of engines and viewers, one file a clip: glTF, Live Link Face's CSV, Audio2Face's JSON."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from multitalk.fit_flame.files.arkit_files import write_audio2face, write_live_link
from multitalk.fit_flame.files.gltf import write_glb
from multitalk.flows.modelling.stored_heads import only_model, to_motion
from multitalk.manifests import open_dataset
from multitalk.manifests.paths import audio_path

if TYPE_CHECKING:
    import pyarrow as pa

FILE_LAYOUTS = {"gltf": ".glb", "livelink": ".csv", "audio2face": ".json"}
"""Endings of the layouts that give a file a clip."""


def export_files(
    root: Path, clips: pa.Table, out: Path, layout: str, *, sound: bool, named: str | None = None
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
        One of `FILE_LAYOUTS`.
    sound
        Whether each clip's sound is put beside it.
    named
        The head model's name or file, where the clips' key does not tell.

    Returns
    -------
    int
        Clips written.

    Raises
    ------
    MotionError, HeadModelError
        The clips were fitted with a head model that has no ARKit weights, or one that is not here.
    OSError
        A file cannot be written.
    """
    dataset = open_dataset(root)
    model = only_model(clips["head_model"], named)
    for clip_id, language in zip(clips["clip_id"].to_pylist(), clips["language"].to_pylist(), strict=True):
        motion = to_motion(dataset.motion(clip_id))
        place = out / language / f"{clip_id}{FILE_LAYOUTS[layout]}"
        place.parent.mkdir(parents=True, exist_ok=True)
        if layout == "gltf":
            write_glb(motion, model, place)
        elif layout == "livelink":
            write_live_link(motion, place)
        else:
            write_audio2face(motion, place)
        if sound:
            shutil.copyfile(audio_path(root, language, clip_id), place.with_suffix(".wav"))
    return len(clips)

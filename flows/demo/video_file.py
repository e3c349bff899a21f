"""Writing a demo video: RGB frames and speech into an MP4 file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multitalk.eval.drawing.video import write_video
from multitalk.flows.demo.speech import SAMPLE_RATE


def write_demo_video(
    path: Path,
    frames: Iterable[npt.NDArray[np.uint8]],
    fps: int,
    speech: npt.NDArray[np.float32] | None,
) -> None:
    """Write a video as a camera would: quickly, and with the index at the end of the file.

    Parameters
    ----------
    path : Path
        Written beside its place and renamed when complete.
    frames : iterable of ndarray, uint8 (H, W, 3)
        RGB.
    fps : int
        Frames a second.
    speech : ndarray, float32 (samples,), optional
        At `speech.SAMPLE_RATE`, in -1..1; None for a video without an audio stream.
    """
    sound = None if speech is None else np.rint(np.clip(speech, -1, 1) * 32767).astype(np.int16)
    write_video(
        path, frames, fps, sound, sound_rate=SAMPLE_RATE, crf=22, preset="ultrafast", index_first=False
    )

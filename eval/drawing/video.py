"""Frames and sound into video files, with PyAV."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from multitalk.ground.files import atomic
from multitalk.ground.units import AUDIO_RATE
from multitalk.manifests.media import Picture, Samples

_AAC_FRAME = 1024


def write_video(
    path: Path, frames: Iterable[Picture], fps: float = 25.0, sound: Samples | None = None, crf: int = 18
) -> int:
    """Write an H.264 video with AAC sound; the file appears under its name only when it is whole.

    Parameters
    ----------
    path
        `.mp4` file to write; its folder is made.
    frames
        (H, W, 3) RGB pictures of one size, both sides even; taken one by one.
    fps
        Frames a second.
    sound
        (N,) 16-bit mono at 16 kHz, or None.
    crf
        H.264 quality: 0 lossless, 18 looks the same, 28 small.

    Returns
    -------
    int
        Frames written.

    Raises
    ------
    ValueError
        There is no frame, or its sides are odd.
    """
    import av

    with (
        atomic(path) as unfinished,
        av.open(str(unfinished), "w", format="mp4", options={"movflags": "+faststart"}) as container,
    ):
        return _write_streams(container, frames, fps, sound, crf)


def _write_streams(
    container: Any, frames: Iterable[Picture], fps: float, sound: Samples | None, crf: int
) -> int:
    import av

    rate = Fraction(fps).limit_denominator(1001)
    video = container.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "veryfast"})
    audio = container.add_stream("aac", rate=AUDIO_RATE, layout="mono") if sound is not None else None
    count = 0
    for picture in frames:
        if count == 0:
            video.height, video.width = picture.shape[:2]
            video.pix_fmt = "yuv420p"
            if video.height % 2 or video.width % 2:
                raise ValueError(
                    f"pictures of {video.width} x {video.height} can not be H.264: sides must be even"
                )
        container.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        count += 1
    if count == 0:
        raise ValueError("there is no frame to write")
    container.mux(video.encode())
    if audio is not None and sound is not None:
        _write_sound(container, audio, sound)
    return count


def _write_sound(container: Any, stream: Any, sound: Samples) -> None:
    import av

    for start in range(0, len(sound), _AAC_FRAME):
        frame = av.AudioFrame.from_ndarray(
            sound[None, start : start + _AAC_FRAME], format="s16", layout="mono"
        )
        frame.sample_rate, frame.pts = AUDIO_RATE, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))

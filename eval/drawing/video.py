"""Frames and sound into video files, with PyAV."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multitalk.ground.files import atomic
from multitalk.ground.units import AUDIO_RATE
from multitalk.manifests.media import Picture, Samples

if TYPE_CHECKING:
    from av import AudioFrame

_AAC_FRAME = 1024


def write_video(
    path: Path,
    frames: Iterable[Picture],
    fps: float = 25.0,
    sound: Samples | None = None,
    *,
    sound_rate: int = AUDIO_RATE,
    crf: int = 18,
    preset: str = "veryfast",
    index_first: bool = True,
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
        (N,) 16-bit mono, or None.
    sound_rate
        Samples a second.
    crf
        H.264 quality: 0 lossless, 18 looks the same, 28 small.
    preset
        x264's: how long it may look for a smaller file.
    index_first
        Whether the file's index comes before its pictures, so that a browser plays it while it loads.

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

    layout = {"movflags": "+faststart"} if index_first else {}
    with atomic(path) as unfinished, av.open(str(unfinished), "w", format="mp4", options=layout) as container:
        # One number of threads everywhere: x264's output depends on it.
        options = {"crf": str(crf), "preset": preset, "threads": "2"}
        rate = Fraction(fps).limit_denominator(1001)
        video = container.add_stream("libx264", rate=rate, options=options)
        audio = container.add_stream("aac", rate=sound_rate, layout="mono") if sound is not None else None
        blocks = _blocks(sound, sound_rate) if sound is not None else iter(())
        # Sound keeps pace with the pictures, so that a player finds both at one place of the file.
        blocks_a_frame = math.ceil(sound_rate / fps / _AAC_FRAME)
        count = 0
        for picture in frames:
            container.mux(video.encode(_video_frame(video, picture, is_first=count == 0)))
            if audio is not None:
                for block in itertools.islice(blocks, blocks_a_frame):
                    container.mux(audio.encode(block))
            count += 1
        if count == 0:
            raise ValueError("there is no frame to write")
        container.mux(video.encode(None))
        if audio is not None:
            for block in blocks:
                container.mux(audio.encode(block))
            container.mux(audio.encode(None))
    return count


def _video_frame(video: Any, picture: Picture, *, is_first: bool) -> Any:
    import av
    import cv2

    if is_first:
        video.height, video.width = picture.shape[:2]
        video.pix_fmt = "yuv420p"
        if video.height % 2 or video.width % 2:
            raise ValueError(
                f"pictures of {video.width} x {video.height} can not be H.264: sides must be even"
            )
    # OpenCV converts colours in a fraction of the time that av's own conversion takes.
    planes = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2YUV_I420)
    return av.VideoFrame.from_ndarray(np.asarray(planes, np.uint8), format="yuv420p")


def _blocks(sound: Samples, rate: int) -> Iterator[AudioFrame]:
    import av

    for start in range(0, len(sound), _AAC_FRAME):
        block = np.ascontiguousarray(sound[None, start : start + _AAC_FRAME])
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        yield frame

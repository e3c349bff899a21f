"""Writing a demo video: RGB frames and speech into an MP4 file."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from multitalk.flows.demo.speech import SAMPLE_RATE

if TYPE_CHECKING:
    from av import AudioFrame

_AUDIO_FRAME = 1_024  # samples, as AAC packs them


def write_video(
    path: Path,
    frames: Iterable[npt.NDArray[np.uint8]],
    fps: int,
    speech: npt.NDArray[np.float32] | None,
) -> None:
    """Encode H.264 and AAC.

    Parameters
    ----------
    path : Path
        Written beside its place and renamed when complete.
    frames : iterable of ndarray, uint8 (720, 1280, 3)
        RGB.
    fps : int
        Frames a second.
    speech : ndarray, float32 (samples,), optional
        At `demo_speech.SAMPLE_RATE`, in -1..1; None for a video without an audio stream.
    """
    import av
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    with av.open(str(unfinished), "w", format="mp4") as container:
        # One number of threads everywhere: x264's output depends on it.
        options = {"preset": "ultrafast", "crf": "22", "threads": "2"}
        video = container.add_stream("libx264", rate=fps, options=options)
        video.width, video.height, video.pix_fmt = 1280, 720, "yuv420p"
        audio = None if speech is None else container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        sound = _audio_frames(speech) if speech is not None else iter(())
        # Sound keeps pace with the pictures, so that a player finds both at one place of the file.
        blocks_a_frame = math.ceil(SAMPLE_RATE / fps / _AUDIO_FRAME)
        for pixels in frames:
            # OpenCV converts colours in a fraction of the time that av's own conversion takes.
            planes = np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2YUV_I420), np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
            if audio is not None:
                for block in itertools.islice(sound, blocks_a_frame):
                    container.mux(audio.encode(block))
        container.mux(video.encode(None))
        if audio is not None:
            for block in sound:
                container.mux(audio.encode(block))
            container.mux(audio.encode(None))
    unfinished.replace(path)


def _audio_frames(speech: npt.NDArray[np.float32]) -> Iterator[AudioFrame]:
    import av

    for start in range(0, len(speech), _AUDIO_FRAME):
        block = np.clip(speech[None, start : start + _AUDIO_FRAME], -1, 1).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        frame.pts, frame.time_base = start, Fraction(1, SAMPLE_RATE)
        yield frame

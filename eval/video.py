"""Video and sound files: frames in, frames and sound out, with PyAV."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from av.container import InputContainer

Picture = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.int16]

SAMPLE_RATE = 16000
_AAC_FRAME = 1024


class MediaError(ValueError):
    """A video or sound file can not be read; the message names it."""


def read_sound(path: Path) -> Samples:
    """Decode a file's sound to (N,) 16-bit mono at 16 kHz.

    Raises
    ------
    MediaError
        It can not be read, or has no sound.
    """
    import av

    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    with closing(_open(path)) as container:
        if not container.streams.audio:
            raise MediaError(f"{path}: has no sound")
        try:
            frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
            frames += resampler.resample(None)
        except av.FFmpegError as error:
            raise MediaError(f"{path}: its sound can not be decoded ({error})") from error
    parts = [frame.to_ndarray().reshape(-1) for frame in frames]
    return np.concatenate(parts).astype(np.int16) if parts else np.zeros(0, np.int16)


def read_frames(path: Path, size: tuple[int, int] | None = None) -> Iterator[Picture]:
    """Decode a video's frames one by one.

    Parameters
    ----------
    path
        Video file.
    size
        (width, height) to scale to; None keeps the video's.

    Yields
    ------
    array
        (H, W, 3) RGB.

    Raises
    ------
    MediaError
        It can not be read, or has no pictures.
    """
    import av

    width, height = size or (None, None)
    with closing(_open(path)) as container:
        if not container.streams.video:
            raise MediaError(f"{path}: has no video")
        try:
            for frame in container.decode(video=0):
                yield np.asarray(frame.to_ndarray(format="rgb24", width=width, height=height), dtype=np.uint8)
        except av.FFmpegError as error:
            raise MediaError(f"{path}: its video can not be decoded ({error})") from error


def frame_rate(path: Path) -> float:
    """Return a video's frames a second.

    Raises
    ------
    MediaError
        It can not be read, or has no pictures.
    """
    with closing(_open(path)) as container:
        if not container.streams.video:
            raise MediaError(f"{path}: has no video")
        return float(container.streams.video[0].average_rate or 0)


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

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with av.open(str(unfinished), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            count = _write_streams(container, frames, fps, sound, crf)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def _write_streams(
    container: Any, frames: Iterable[Picture], fps: float, sound: Samples | None, crf: int
) -> int:
    import av

    rate = Fraction(fps).limit_denominator(1001)
    video = container.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "veryfast"})
    audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono") if sound is not None else None
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
        frame.sample_rate, frame.pts = SAMPLE_RATE, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _open(path: Path) -> InputContainer:
    import av

    try:
        return av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise MediaError(f"{path}: can not be opened ({error})") from error

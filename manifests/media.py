"""Frames and sound out of media files: a dataset's own clips, and any file that FFmpeg's libraries read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from multitalk.ground.units import AUDIO_RATE

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

Picture = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.int16]


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

    with closing(_open(path)) as container:
        if not container.streams.audio:
            raise MediaError(f"{path}: has no sound")
        try:
            frames = list(_resampled(container.decode(audio=0)))
        except av.FFmpegError as error:
            raise MediaError(f"{path}: its sound can not be decoded ({error})") from error
    parts = [frame.to_ndarray().reshape(-1) for frame in frames]
    return np.concatenate(parts).astype(np.int16) if parts else np.zeros(0, np.int16)


def _resampled(frames: Iterable[av.AudioFrame]) -> Iterator[av.AudioFrame]:
    """Bring sound to one form, also where joined files of several forms follow each other."""
    import av

    resampler, form = None, None
    for frame in frames:
        if (now := (frame.format.name, frame.layout.name, frame.sample_rate)) != form:
            yield from resampler.resample(None) if resampler else ()
            resampler, form = av.AudioResampler(format="s16", layout="mono", rate=AUDIO_RATE), now
        assert resampler is not None
        yield from resampler.resample(frame)
    yield from resampler.resample(None) if resampler else ()


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


def _open(path: Path) -> InputContainer:
    import av

    try:
        # A title in another encoding than UTF-8 is no reason to refuse pictures and sound.
        return av.open(str(path), metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        raise MediaError(f"{path}: can not be opened ({error})") from error

"""A whole source video as the clips will see it: frames on the grid of 25 a second, and 16 kHz sound."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multitalk.extract.errors import ClipError, ErrorCode, Stage
from multitalk.extract.ffmpeg import FfmpegError, decoding, ffmpeg_exe, ffmpeg_failure, run_ffmpeg
from multitalk.extract.probe import OPEN_OPTIONS, SourceVideo, most_pixels
from multitalk.extract.tone_map import tone_map_filters
from multitalk.ground.units import AUDIO_RATE, FPS

Frame = npt.NDArray[np.uint8]

MAX_SHORT_SIDE = 1080
"""Larger pictures are made smaller: a face that is worth a clip shows in these as well."""

_SOUND_TIMEOUT_SEC = 1800.0
_FRAMES_TIMEOUT_SEC = 24 * 3600.0
_MEMORY_GIB = 4.0


def source_frames(source: Path, video: SourceVideo) -> Iterator[Frame]:
    """Yield every frame of a video at 25 frames a second, as a viewer sees it.

    The frame with index i is the one that a clip beginning at ``start_frame`` i begins with, to within a
    frame. Memory does not grow with the video.

    Parameters
    ----------
    source
        The video file.
    video
        What `multitalk.extract.probe.probe` tells of it.

    Yields
    ------
    ndarray
        (H, W, 3) uint8 RGB of the displayed shape, at most `MAX_SHORT_SIDE` on its shorter side; not to be
        written to.

    Raises
    ------
    ClipError
        ``corrupt_media``: the video can not be decoded to its end; ``internal``: ffmpeg was killed.
    """
    width, height = _frame_size(video)
    filters = f"fps={FPS}:start_time=0:round=near,scale={width}:{height}:flags=area"
    for name, options in tone_map_filters(video.transfer):
        filters += f",{name}=" + ":".join(f"{option}='{value}'" for option, value in options.items())
    if video.interlaced:
        filters = f"yadif=deint=interlaced,{filters}"
    command = [str(ffmpeg_exe()), "-nostdin", "-v", "error", "-threads", "1"]
    command += ["-max_pixels", str(most_pixels(video)), *_input(source)]
    command += ["-map", f"0:{video.video_stream}", "-vf", filters]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
    confinement = decoding(_MEMORY_GIB, _FRAMES_TIMEOUT_SEC)
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            confinement.command(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints
        )
        assert process.stdout is not None
        try:
            while len(buffer := process.stdout.read(width * height * 3)) == width * height * 3:
                yield np.frombuffer(buffer, np.uint8).reshape(height, width, 3)
            if process.wait() != 0:
                complaints.seek(0)
                raise _undecodable(source, ffmpeg_failure(process.returncode, complaints.read()))
        finally:
            process.kill()
            process.stdout.close()
            process.wait()


def source_sound(source: Path) -> npt.NDArray[np.int16]:
    """Return the whole sound of a video, (N,) int16 mono at 16 kHz; 640 samples to a frame of 25 a second.

    Raises
    ------
    ClipError
        ``corrupt_media``: it can not be decoded; ``internal``: ffmpeg was killed or took too long.
    """
    command = ["-nostdin", "-v", "error", "-threads", "1", *_input(source), "-map", "0:a:0"]
    command += ["-af", f"aresample={AUDIO_RATE}:async=1:first_pts=0", "-ac", "1", "-f", "s16le", "pipe:1"]
    try:
        confinement = decoding(_MEMORY_GIB, _SOUND_TIMEOUT_SEC)
        return np.frombuffer(run_ffmpeg(command, _SOUND_TIMEOUT_SEC, confinement), np.int16)
    except FfmpegError as error:
        raise _undecodable(source, error) from error


def _input(source: Path) -> list[str]:
    options = [part for name, value in OPEN_OPTIONS.items() for part in (f"-{name}", value)]
    return [*options, "-i", str(source.absolute())]


def frame_scale(video: SourceVideo) -> float:
    """Return how much smaller the frames are than the video's, 0..1."""
    return min(1.0, MAX_SHORT_SIDE / min(video.width, video.height))


def _frame_size(video: SourceVideo) -> tuple[int, int]:
    shrink = frame_scale(video)
    return max(2, round(video.width * shrink)), max(2, round(video.height * shrink))


def _undecodable(source: Path, error: FfmpegError) -> ClipError:
    code = ErrorCode.INTERNAL if error.from_outside else ErrorCode.CORRUPT_MEDIA
    code = ErrorCode.TOO_LARGE if error.too_large else code
    return ClipError(code, f"{source.name} can not be decoded: {error}", Stage.LANDMARKS)

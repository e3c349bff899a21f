"""A whole source video as the clips will see it: frames on the grid of 25 a second, and 16 kHz sound."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multitalk.extract.errors import ClipError, ErrorCode, Stage
from multitalk.extract.ffmpeg import FfmpegError, decoding, ffmpeg_exe, ffmpeg_failure, run_ffmpeg
from multitalk.extract.probe import OPEN_OPTIONS, SourceVideo, most_pixels
from multitalk.extract.tone_map import tone_map_filters
from multitalk.ground.units import AUDIO_RATE, FPS

Frame = npt.NDArray[np.uint8]

_SMALL = 256  # pixels of the shorter side
MAX_SHORT_SIDE = 1080
"""Larger pictures are made smaller: a face that is worth a clip shows in these as well."""

_SOUND_TIMEOUT_SEC = 1800.0
_FRAMES_TIMEOUT_SEC = 24 * 3600.0
_MEMORY_GIB = 4.0


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """A frame as decoders give it: most are only compared with their neighbours, and need no colours of their own."""

    planes: Frame
    """(3 H / 2, W) brightness, and below it both colours of every fourth pixel."""

    def rgb(self) -> Frame:
        """Return the picture (H, W, 3)."""
        import cv2

        return np.asarray(cv2.cvtColor(self.planes, cv2.COLOR_YUV2RGB_I420), np.uint8)

    def small(self) -> Frame:
        """Return the picture (H, W, 3) of every second, third ... pixel, of 256 or some more on its shorter side."""
        height, width = self.planes.shape[0] * 2 // 3, self.planes.shape[1]
        step = min(height, width) // _SMALL
        if step < 2:
            return self.rgb()
        colours = self.planes[height:].reshape(2, height // 2, width // 2)[:, ::step, ::step]
        bright = self.planes[:height:step, ::step]
        high, wide = (min(a, 2 * b) // 2 for a, b in zip(bright.shape, colours.shape[1:], strict=True))
        parts = bright[: 2 * high, : 2 * wide], colours[:, :high, :wide]
        return SourceFrame(np.concatenate([part.ravel() for part in parts]).reshape(3 * high, 2 * wide)).rgb()


def source_frames(source: Path, video: SourceVideo) -> Iterator[SourceFrame]:
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
    SourceFrame
        Of the displayed shape, at most `MAX_SHORT_SIDE` on its shorter side.

    Raises
    ------
    ClipError
        ``corrupt_media``: the video can not be decoded to its end; ``internal``: ffmpeg was killed.
    """
    width, height = _frame_size(video)
    filters = f"fps={FPS}:start_time=0:round=near,scale={width}:{height}:flags=area"
    for name, options in tone_map_filters(video.transfer):
        filters += f",{name}=" + ":".join(f"{option}='{value}'" for option, value in options.items())
    if tone_map_filters(video.transfer):
        # As OpenCV takes them. Of other videos BT.709's colours for BT.601's are off by 3% at most, and come cheaper.
        filters += ",scale=out_color_matrix=bt601:out_range=tv"
    if video.interlaced:
        filters = f"yadif=deint=interlaced,{filters}"
    command = [str(ffmpeg_exe()), "-nostdin", "-v", "error", "-threads", "1"]
    command += ["-max_pixels", str(most_pixels(video)), *_input(source)]
    command += ["-map", f"0:{video.video_stream}", "-vf", filters]
    command += ["-f", "rawvideo", "-pix_fmt", "yuv420p", "pipe:1"]
    confinement = decoding(_MEMORY_GIB, _FRAMES_TIMEOUT_SEC)
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            confinement.command(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints
        )
        assert process.stdout is not None
        try:
            size = width * height * 3 // 2
            while len(buffer := process.stdout.read(size)) == size:
                yield SourceFrame(np.frombuffer(buffer, np.uint8).reshape(height * 3 // 2, width))
            if process.wait() != 0:
                complaints.seek(0)
                raise _undecodable(source, ffmpeg_failure(process.returncode, complaints.read()))
        finally:
            process.kill()
            process.stdout.close()
            process.wait()


def source_sound(source: Path, place: Path) -> npt.NDArray[np.int16]:
    """Return the whole sound of a video, (N,) int16 mono at 16 kHz; 640 samples to a frame of 25 a second.

    It is written to the file `place` and read from there as it is needed.

    Raises
    ------
    ClipError
        ``corrupt_media``: it can not be decoded; ``internal``: ffmpeg was killed or took too long.
    """
    command = ["-nostdin", "-v", "error", "-threads", "1", *_input(source), "-map", "0:a:0"]
    command += [
        "-af",
        f"aresample={AUDIO_RATE}:async=1:first_pts=0",
        "-ac",
        "1",
        "-f",
        "s16le",
        "-y",
        str(place.absolute()),
    ]
    try:
        run_ffmpeg(command, _SOUND_TIMEOUT_SEC, decoding(_MEMORY_GIB, _SOUND_TIMEOUT_SEC, [place.parent]))
    except FfmpegError as error:
        raise _undecodable(source, error) from error
    if place.stat().st_size < 2:  # of nothing no map can be made
        return np.zeros(0, np.int16)
    return np.memmap(place, np.int16, "r")


def _input(source: Path) -> list[str]:
    options = [part for name, value in OPEN_OPTIONS.items() for part in (f"-{name}", value)]
    return [*options, "-i", str(source.absolute())]


def frame_scale(video: SourceVideo) -> float:
    """Return how much smaller the frames are than the video's, 0..1."""
    return min(1.0, MAX_SHORT_SIDE / min(video.width, video.height))


def _frame_size(video: SourceVideo) -> tuple[int, int]:
    shrink = frame_scale(video)
    return max(2, 2 * round(video.width * shrink / 2)), max(2, 2 * round(video.height * shrink / 2))


def _undecodable(source: Path, error: FfmpegError) -> ClipError:
    code = ErrorCode.INTERNAL if error.from_outside else ErrorCode.CORRUPT_MEDIA
    code = ErrorCode.TOO_LARGE if error.too_large else code
    return ClipError(code, f"{source.name} can not be decoded: {error}", Stage.LANDMARKS)

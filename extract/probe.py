"""What a video file is: its size as the viewer sees it, frame rate, times and sound."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from multitalk.extract.errors import ClipError, ErrorCode, Stage
from multitalk.extract.ffmpeg import decoding
from multitalk.extract.tone_map import TRANSFERS, Transfer
from multitalk.ground.child_processes import finding_us, how_it_ended

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

# Only real media containers are opened, and only as files: a playlist that bears a video's name
# could make ffmpeg read other files or addresses.
OPEN_OPTIONS = {
    "format_whitelist": "mov,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf",
    "protocol_whitelist": "file",
}

_MEMORY_GIB = 4.0
_TIMEOUT_SEC = 600.0  # files without an index are read to their end
_OUT_OF_MEMORY = 77

# MPEG streams, FLV and others are searched for a time, and what is found may be seconds late.
_INDEXED = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")


@dataclass(frozen=True, slots=True)
class SourceVideo:
    """A video file's properties. Times count from the beginning of the file, as a player shows it."""

    seekable: bool
    """Whether a seek arrives where it should; other files are read from their beginning."""
    video_stream: int
    """Which of the file's streams holds the pictures (a cover picture is a stream too)."""
    width: int
    """Pixels, after rotation, with square pixels: what a viewer sees."""
    height: int
    fps: float
    """Mean frame rate."""
    video_start_sec: float
    """When the first picture is due."""
    video_end_sec: float
    """When the last picture ends."""
    square_pixels: bool
    """False when pictures must be stretched to `width` x `height` before anything is measured."""
    interlaced: bool
    transfer: Transfer
    """How brightness is coded: high dynamic range must be tone mapped."""
    has_audio: bool
    audio_language: str | None
    """The language that the file names for its sound; most files name none."""


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """How large a source video may be; what is larger is refused before a picture of it is decoded."""

    max_pixels: int = 4096 * 4096
    max_streams: int = 64
    max_hours: float = 24.0


def most_pixels(video: SourceVideo) -> int:
    """Return how many pixels a decoder may take a picture to have: a stream can grow after its first one."""
    return max(4 * video.width * video.height, 2**22)


def probe_stranger(path: Path, limits: MediaLimits, stage: Stage = Stage.SOURCE) -> SourceVideo:
    """As `probe`, in a confined process: a file that crashes it, or takes all memory, is refused.

    Raises
    ------
    ClipError
        As `probe`.
    """
    job = json.dumps([str(path.absolute()), asdict(limits), str(stage)])
    program = [sys.executable, "-P", "-m", "multitalk.extract.probe", job]
    try:
        done = subprocess.run(
            decoding(_MEMORY_GIB, _TIMEOUT_SEC).command(program),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_SEC,
            check=False,
            env=finding_us(os.environ),
        )
    except subprocess.TimeoutExpired:
        raise _corrupt(path, f"looking at it did not end within {_TIMEOUT_SEC:.0f} s", stage) from None
    if done.returncode:
        ending = how_it_ended(done.returncode)
        if done.returncode == _OUT_OF_MEMORY:
            message = f"{path.name}: it takes more than {_MEMORY_GIB:g} GiB to decode its first picture"
            raise ClipError(ErrorCode.TOO_LARGE, message, stage)
        raise _corrupt(path, f"the process that looked at it {ending}", stage)
    answer = json.loads(done.stdout)
    if "code" in answer:
        raise ClipError(ErrorCode(answer["code"]), answer["message"], stage)
    return SourceVideo(**answer)


def main() -> None:
    """Probe the file that the command line names, for `probe_stranger`."""
    path, limits, stage = json.loads(sys.argv[1])
    try:
        answer = asdict(probe(Path(path), Stage(stage), MediaLimits(**limits)))
    except ClipError as error:
        answer = {"code": str(error.code), "message": error.message}
    except MemoryError:
        sys.exit(_OUT_OF_MEMORY)
    print(json.dumps(answer))  # noqa: T201 (read by the process that started this one)


def probe(path: Path, stage: Stage = Stage.SOURCE, limits: MediaLimits | None = None) -> SourceVideo:
    """Read a video file's headers and its first picture.

    Parameters
    ----------
    path
        A media file on this machine.
    stage
        The stage to name in an error.
    limits
        How large it may be; None: as it likes.

    Raises
    ------
    ClipError
        ``corrupt_media``: not a video, cut off, or its first picture can not be decoded; ``too_large``.
    """
    import av

    try:
        # Old files hold titles in other encodings than UTF-8.
        with av.open(str(path.absolute()), options=OPEN_OPTIONS, metadata_errors="replace") as container:
            if limits is not None:
                _refuse_large(container, path, stage, limits)
            return _read(container, path, stage)
    except (av.FFmpegError, StopIteration) as error:
        reason = getattr(error, "strerror", None) or "it has no pictures"
        raise _corrupt(path, reason, stage) from error


def _refuse_large(container: InputContainer, path: Path, stage: Stage, limits: MediaLimits) -> None:
    """Judge by the headers alone, and let no decoder make pictures larger than they say."""
    streams = container.streams.video
    found = [
        ("streams", len(container.streams), limits.max_streams, "max_streams"),
        ("pixels", max((s.width * s.height for s in streams), default=0), limits.max_pixels, "max_pixels"),
        ("hours", (container.duration or 0) / 3.6e9, limits.max_hours, "max_hours"),
    ]
    for what, count, most, setting in found:
        if count > most:
            message = f"{path.name}: it has {count:.9g} {what}, more than download.{setting} allows ({most})"
            raise ClipError(
                ErrorCode.TOO_LARGE, f"{message}; if it is right, raise that and --retry too_large", stage
            )
    for stream in streams:
        stream.codec_context.options = {"max_pixels": str(limits.max_pixels)}


def _read(container: InputContainer, path: Path, stage: Stage) -> SourceVideo:
    pictures = [s for s in container.streams.video if not _is_cover(s)]
    if not pictures:
        raise _corrupt(path, "it has no video stream", stage)
    stream = pictures[0]
    _refuse_truncated(stream, path, stage)
    sound = container.streams.audio
    frame = next(container.decode(stream))
    width, height, square = _display_size(stream, frame)
    rate = stream.average_rate or stream.guessed_rate
    if not rate or width < 2 or height < 2:
        raise _corrupt(path, "its frame rate or its size is unknown", stage)
    start_sec, end_sec = _times(container, stream)
    return SourceVideo(
        seekable=container.format.name in _INDEXED,
        video_stream=stream.index,
        width=width,
        height=height,
        fps=float(rate),
        video_start_sec=start_sec,
        video_end_sec=end_sec,
        square_pixels=square,
        interlaced=frame.interlaced_frame,
        transfer=TRANSFERS.get(int(stream.codec_context.color_trc), "sdr"),
        has_audio=bool(sound),
        audio_language=_language(sound[0].language) if sound else None,
    )


def _is_cover(stream: VideoStream) -> bool:
    # A cover picture comes as a video stream of one frame.
    return "attached_pic" in ((stream.disposition and stream.disposition.name) or "")


def _language(tag: str | None) -> str | None:
    return None if tag in (None, "", "und") else tag


def _display_size(stream: VideoStream, frame: VideoFrame) -> tuple[int, int, bool]:
    aspect = stream.sample_aspect_ratio or Fraction(1)
    width, height = round(frame.width * aspect), frame.height
    if frame.rotation % 180 != 0:
        width, height = height, width
    return width, height, aspect == 1


def _times(container: InputContainer, stream: VideoStream) -> tuple[float, float]:
    origin = (container.start_time or 0) / 1_000_000
    tick = stream.time_base or Fraction(0)
    start = origin if stream.start_time is None else float(stream.start_time * tick)
    if stream.duration is not None:
        end = start + float(stream.duration * tick)
    elif container.duration:  # Matroska and WebM tell the length of the whole file only
        end = origin + container.duration / 1_000_000
    else:  # what a browser records tells none
        ends = (p.pts + (p.duration or 0) for p in container.demux(stream) if p.pts is not None)
        end = float(max(ends, default=0) * tick)
    return start - origin, end - origin


def _refuse_truncated(stream: VideoStream, path: Path, stage: Stage) -> None:
    """Refuse a file whose index points beyond its end (MP4 with its index in front)."""
    size = path.stat().st_size
    needed = max((entry.pos + entry.size for entry in stream.index_entries), default=0)
    if needed > size:
        raise _corrupt(path, f"it is cut off: {size} bytes of at least {needed}", stage)


def _corrupt(path: Path, reason: str, stage: Stage) -> ClipError:
    message = f"{path.name}: no video that can be decoded: {reason}"
    return ClipError(ErrorCode.CORRUPT_MEDIA, message, stage)


if __name__ == "__main__":
    main()

"""Fetch only the parts of a video that its clips need, for disks that hold no whole videos.

The packets of each part are copied, with their own times, from the server into one MP4 file. What lies between
is not in it, yet every time means what it means in the whole video: the trimmer needs to know nothing. Parts
begin at the key frame before them. A player shows the frame before a gap until the gap is over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multitalk.extract.probe import OPEN_OPTIONS

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

Interval = tuple[float, float]

# Around a clip: what sound decoders need before it, and pictures that are stored out of order.
_MARGIN_SEC = 1.0
_GAP_SEC = 10.0  # shorter gaps are fetched, too: a key frame comes every few seconds only
_FIRST_SEC = 0.1  # always fetched, so that times count from the video's beginning
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Media:
    """One file on a server: pictures, sound or both."""

    url: str
    headers: Mapping[str, str]


def wanted_parts(clips: Sequence[Interval]) -> list[Interval]:
    """Return the parts of a video to fetch for clips: with margins, merged, in order; the first begins at 0.

    Parameters
    ----------
    clips
        Beginnings and ends in seconds.
    """
    parts = [(0.0, _FIRST_SEC)]
    for start, end in sorted((max(0.0, start - _MARGIN_SEC), end + _MARGIN_SEC) for start, end in clips):
        last_start, last_end = parts[-1]
        if start - last_end < _GAP_SEC:
            parts[-1] = last_start, max(last_end, end)
        else:
            parts.append((start, end))
    return parts


def copy_parts(
    sources: Sequence[Media], parts: Sequence[Interval], path: Path, *, timeout_sec: float, proxy: str | None
) -> float:
    """Copy parts of a video's files into one file, and return the pictures' mean rate in frames a second.

    Parameters
    ----------
    sources
        The files that make up the video: one, or pictures and sound apart.
    parts
        From `wanted_parts`.
    path
        The MP4 file to write.

    Raises
    ------
    av.FFmpegError
        A file can not be opened or read.
    EOFError
        A file ended before a part did, though it claims to be longer.
    """
    import av

    rate = 0.0
    with av.open(str(path), "w", format="mp4") as output:
        inputs = [_open(source, timeout_sec, proxy) for source in sources]
        try:
            copies = [_streams(container, output, alone=len(inputs) == 1) for container in inputs]
            for container in inputs:
                if container.streams.video:
                    rate = rate or _rate(container.streams.video[0])
            for part in parts:
                for container, streams in zip(inputs, copies, strict=True):
                    _copy(container, streams, output, part)
        finally:
            for container in inputs:
                container.close()
    return rate


def _rate(stream: VideoStream) -> float:
    """Mean rate; in files of pieces, whose mean comes from the first piece only, the one that is meant by it."""
    mean, guessed = float(stream.average_rate or 0), float(stream.guessed_rate or 0)
    return guessed if abs(guessed - mean) < 0.05 * guessed else mean or guessed


class _Copied:
    """A stream of the output and how far it is written."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.last: int | None = None


def _open(source: Media, timeout_sec: float, proxy: str | None) -> InputContainer:
    import av

    headers = {name: value for name, value in source.headers.items() if "\n" not in name + value}
    options = {
        "format_whitelist": OPEN_OPTIONS["format_whitelist"],
        "protocol_whitelist": "http,https,httpproxy,tls,tcp",
        "max_redirects": "0",  # they were followed before, and could lead anywhere
        "multiple_requests": "1",  # else FFmpeg loses a connection that the server keeps open, and gives up
        "headers": "".join(f"{name}: {value}\r\n" for name, value in headers.items()),
    }
    if proxy:
        options["http_proxy"] = proxy
    return av.open(source.url, options=options, timeout=timeout_sec, metadata_errors="replace")


def _streams(container: InputContainer, output: OutputContainer, *, alone: bool) -> dict[int, _Copied]:
    """Make the output's streams: pictures and sound of a file alone, the one kind of one of two."""
    chosen: list[Any] = [*container.streams.video[:1], *container.streams.audio[:1]]
    if not alone:
        chosen = chosen[:1]
    return {stream.index: _Copied(output.add_stream_from_template(stream)) for stream in chosen}


def _copy(
    container: InputContainer, streams: dict[int, _Copied], output: OutputContainer, part: Interval
) -> None:
    start, end = part
    origin = (container.start_time or 0) / _MICROSECONDS
    container.seek(int((origin + start) * _MICROSECONDS), backward=True)
    open_streams, reached = set(streams), 0.0
    for packet in container.demux([container.streams[index] for index in streams]):
        if packet.dts is None or packet.time_base is None:
            continue
        reached = max(reached, float((packet.dts + (packet.duration or 0)) * packet.time_base) - origin)
        if packet.dts * packet.time_base > origin + end:
            open_streams.discard(packet.stream_index)
            if not open_streams:
                return
        copied = streams[packet.stream_index]
        if packet.stream_index in open_streams and (copied.last is None or packet.dts > copied.last):
            copied.last = packet.dts
            packet.stream = copied.stream
            output.mux(packet)
    length = (container.duration or 0) / _MICROSECONDS
    if reached < min(end, length) - _MARGIN_SEC:
        raise EOFError(f"the file ended at {reached:.0f} s of {length:.0f} s: more expected")

"""The ffmpeg command that cuts several clips of one source video in one process.

ffmpeg-python is no longer maintained: it is used in this module only, and only to build the
list of arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multitalk.extract.crop import CropBox
from multitalk.extract.probe import OPEN_OPTIONS, SourceVideo, most_pixels
from multitalk.extract.tone_map import tone_map_filters
from multitalk.ground.units import AUDIO_RATE, CLIP_SIDE, FPS

if TYPE_CHECKING:
    from ffmpeg.nodes import FilterableStream, OutputStream


MISSING_FRAMES_FILLED = 2
"""So many frames that a source lacks at the clip's end are filled by repeating its last one."""

_AAC_RATE = 48_000
# A sound decoder needs a packet or two before what it gives is right (AAC: 21 ms each).
_LEAD_SEC = 0.2
_READ_AHEAD_SEC = 0.2
# More broken pictures than this share end ffmpeg with a failure instead of a frozen clip.
_BROKEN_SHARE = "0.1"


@dataclass(frozen=True, slots=True)
class Cut:
    """One clip to be cut: what of the source, and where the two files go."""

    start_frame: int
    frame_count: int
    crop: CropBox
    clip_path: Path
    audio_path: Path


@dataclass(frozen=True, slots=True)
class VideoEncoding:
    """How the clip is encoded; see `multitalk.extract.trim.TrimSettings`."""

    crf: int
    preset: str


def trim_command(source: Path, video: SourceVideo, cuts: Sequence[Cut], encoder: VideoEncoding) -> list[str]:
    """Return ffmpeg's arguments, without the program's name.

    Every cut has an input of its own that seeks to its beginning: the cost follows the clips and
    not the video's length, and clips may overlap. Threads are fixed at one an encoder and meta data are left
    out, so that the same cut gives the same bytes on every run.
    """
    import ffmpeg

    outputs = [stream for cut in cuts for stream in _outputs(source, video, cut, encoder)]
    merged = ffmpeg.merge_outputs(*outputs).global_args(
        "-nostdin", "-v", "error", "-max_error_rate", _BROKEN_SHARE, "-filter_complex_threads", "1"
    )
    arguments: list[str] = ffmpeg.compile(merged, overwrite_output=True)[1:]
    return arguments


def _outputs(source: Path, video: SourceVideo, cut: Cut, encoder: VideoEncoding) -> list[OutputStream]:
    import ffmpeg

    start_sec = cut.start_frame / FPS
    lead_sec = min(start_sec, _LEAD_SEC) if video.seekable else start_sec
    read_sec = lead_sec + cut.frame_count / FPS + _READ_AHEAD_SEC
    # A seek to 0 is left out: it would skip the packets before it that begin the sound.
    seek = {"ss": f"{start_sec - lead_sec:.2f}"} if start_sec > lead_sec else {}
    options = {**seek, **OPEN_OPTIONS, "max_pixels": most_pixels(video)}
    media = ffmpeg.input(str(source.absolute()), t=f"{read_sec:.2f}", threads=1, **options)
    picture = media[str(video.video_stream)].filter("trim", start=f"{lead_sec:.2f}")
    picture = _picture(picture.filter("setpts", f"PTS-{lead_sec:.2f}/TB"), video, cut)
    sound = media["a:0"].filter("atrim", start=f"{lead_sec:.2f}")
    sound = sound.filter("asetpts", f"PTS-{lead_sec:.2f}/TB").filter_multi_output("asplit")
    stereo = _sound(sound[0], cut, _AAC_RATE, "stereo", "fltp")
    mono = _sound(sound[1], cut, AUDIO_RATE, "mono", "s16")
    plain: dict[str, Any] = {"map_metadata": -1, "map_chapters": -1, "threads": 1, "fflags": "+bitexact"}
    clip = ffmpeg.output(
        picture,
        stereo,
        str(cut.clip_path.absolute()),
        format="mp4",
        movflags="+faststart",
        **{"c:v": "libx264", "crf": encoder.crf, "preset": encoder.preset, "flags:v": "+bitexact"},
        **{"c:a": "aac", "b:a": "128k", "flags:a": "+bitexact"},
        **plain,
    )
    wav = ffmpeg.output(
        mono,
        str(cut.audio_path.absolute()),
        format="wav",
        **{"c:a": "pcm_s16le", "flags:a": "+bitexact"},
        **plain,
    )
    return [clip, wav]


def _picture(stream: FilterableStream, video: SourceVideo, cut: Cut) -> FilterableStream:
    """Constant 25 frames a second, then the crop.

    What is before the clip's beginning was dropped, so its first frame is never early. A later
    frame is the last one that is due less than half a frame (20 ms) after its time.
    """
    if video.interlaced:
        stream = stream.filter("yadif", deint="interlaced")
    stream = (
        stream.filter("fps", fps=FPS, start_time=0, round="near")
        .filter("tpad", stop_mode="clone", stop=MISSING_FRAMES_FILLED)
        .filter("trim", end_frame=cut.frame_count)
    )
    if not video.square_pixels:
        stream = stream.filter("scale", video.width, video.height)
    stream = stream.filter("crop", cut.crop.width, cut.crop.height, cut.crop.x, cut.crop.y)
    stream = stream.filter("scale", CLIP_SIDE, CLIP_SIDE, flags="bicubic")
    for name, options in tone_map_filters(video.transfer):
        stream = stream.filter(name, **options)
    return stream.filter("setsar", 1).filter("format", "yuv420p")


def _sound(
    stream: FilterableStream, cut: Cut, rate: int, layout: str, sample_format: str
) -> FilterableStream:
    """Exactly the clip's frames in samples: gaps and a late or early end become silence."""
    samples = cut.frame_count * rate // FPS
    return (
        stream.filter("aresample", rate, **{"async": 1}, first_pts=0)
        .filter("aformat", sample_fmts=sample_format, channel_layouts=layout)
        .filter("apad", whole_len=samples)
        .filter("atrim", end_sample=samples)
    )

"""Videos that are made to cost more than they are: refused unseen, or in a process of small means."""

import subprocess
import sys

import pytest

from multitalk.extract import probe as probing
from multitalk.extract import trim as trimming
from multitalk.extract.errors import ClipError, ErrorCode
from multitalk.extract.ffmpeg import FfmpegError, decoding, run_ffmpeg
from multitalk.extract.probe import MediaLimits, most_pixels, probe, probe_stranger
from multitalk.extract.source_frames import source_frames
from multitalk.extract.trim import TrimSettings
from tests.extract.barcodes import annotation, make_source, regular, trim


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return make_source(tmp_path_factory.mktemp("small") / "small.mov", regular("25", 1))


def made(place, *arguments):
    run_ffmpeg(["-v", "error", "-f", "lavfi", "-i", *arguments, "-y", str(place)], 60)
    return place


def test_what_is_found_in_a_confined_process_is_what_is_found_here(small):
    assert probe_stranger(small, MediaLimits()) == probe(small)


def test_too_many_pixels_are_refused_before_one_is_decoded(tmp_path):
    huge = made(tmp_path / "huge.mp4", "color=s=4200x4200:r=25:d=0.04", "-preset", "ultrafast")
    with pytest.raises(ClipError, match=r"17640000 pixels, more than download\.max_pixels") as caught:
        probe_stranger(huge, MediaLimits())
    assert caught.value.code is ErrorCode.TOO_LARGE
    assert not caught.value.code.transient


@pytest.mark.parametrize(
    ("limits", "told"),
    [(MediaLimits(max_streams=1), "2 streams"), (MediaLimits(max_hours=1e-5), "hours"),
     (MediaLimits(max_pixels=100), "pixels")],
)  # fmt: skip
def test_each_limit_is_told_of_by_its_setting(small, limits, told):
    with pytest.raises(ClipError, match=told) as caught:
        probe_stranger(small, limits)
    assert caught.value.code is ErrorCode.TOO_LARGE


def test_pictures_that_grow_on_the_way_are_not_decoded(tmp_path):
    """The headers say 64x64; the stream goes on with 4096x4096."""
    ts = ("-c:v", "libx264", "-preset", "ultrafast", "-f", "mpegts")
    little = made(tmp_path / "little.ts", "color=s=64x64:r=25:d=1", *ts)
    large = made(tmp_path / "large.ts", "color=s=4096x4096:r=25:d=0.2", *ts)
    both = tmp_path / "both.ts"
    both.write_bytes(little.read_bytes() + large.read_bytes())
    video = probe(both)
    assert most_pixels(video) < 4096 * 4096
    frames = _decoded(both, video)
    assert {frame.rgb().shape for frame in frames} == {(64, 64, 3)}
    assert 24 <= len(frames) <= 27, "with the large ones there were 30"


def _decoded(path, video):
    frames = []
    try:
        frames.extend(source_frames(path, video))
    except ClipError as error:
        assert error.code in (ErrorCode.CORRUPT_MEDIA, ErrorCode.TOO_LARGE)
    return frames


@pytest.mark.parametrize("ending", ["import ctypes; ctypes.string_at(1)", "import os; os._exit(3)", "1/0"])
def test_a_file_that_crashes_the_decoder_is_refused(small, monkeypatch, ending):
    real = subprocess.run

    def crashing(command, **options):
        return real([*command[:-4], sys.executable, "-c", ending], **options)

    monkeypatch.setattr(probing.subprocess, "run", crashing)
    with pytest.raises(ClipError, match="the process that looked at it") as caught:
        probe_stranger(small, MediaLimits())
    assert caught.value.code is ErrorCode.CORRUPT_MEDIA


def test_more_memory_than_allowed_is_no_fault_of_the_machine(small, tmp_path):
    (error,) = trim(small, tmp_path, annotation(0, 20), settings=TrimSettings(memory_gib=0.05))
    assert error.code in (ErrorCode.TOO_LARGE, ErrorCode.CORRUPT_MEDIA)
    assert not list(tmp_path.iterdir())


def test_a_file_that_gives_sound_alone_is_no_fault_of_ours(small, tmp_path, monkeypatch):
    """As a damaged AVI did: ffmpeg ended well, and its clip had no picture."""
    real = trimming.run_ffmpeg

    def sound_alone(command, *more):
        real(command, *more)
        (clip,) = [word for word in command if word.endswith(".mp4.part")]
        made(clip, "sine=d=1", "-c:a", "aac", "-f", "mp4")
        return b""

    monkeypatch.setattr(trimming, "run_ffmpeg", sound_alone)
    (error,) = trim(small, tmp_path, annotation(0, 20))
    assert error.code is ErrorCode.CORRUPT_MEDIA
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")
def test_a_playlist_in_a_video_s_clothes_reaches_no_server():
    """Were ffmpeg's own lists of formats and protocols forgotten, there is no network."""
    with pytest.raises(FfmpegError, match="Permission denied"):
        run_ffmpeg(["-v", "error", "-i", "http://127.0.0.1:9/x", "-f", "null", "-"], 30, decoding(4, 30))

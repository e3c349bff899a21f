"""Sources that are turned, stretched, interlaced, or whose sound and pictures begin at different times."""

from collections.abc import Sequence
from pathlib import Path

import av
import pytest

from multitalk.extract.ffmpeg import run_ffmpeg
from multitalk.extract.probe import probe
from tests.extract.barcodes import (
    BITS,
    QUICK,
    annotation,
    clicks,
    make_source,
    read_barcodes,
    read_wav,
    regular,
    trim_one,
)


def reencoded(tmp_path: Path, *arguments: str, name: str = "odd.mp4", before: Sequence[str] = ()) -> Path:
    """Pass a barcode video of 4 s through ffmpeg with some arguments."""
    plain = make_source(tmp_path / "plain.mov", regular("25", 4))
    odd = tmp_path / name
    run_ffmpeg(["-v", "error", *before, "-i", str(plain), *arguments, str(odd)], 60)
    return odd


def test_rotation_is_undone_and_sizes_are_the_viewers(tmp_path):
    odd = reencoded(tmp_path, "-vf", "scale=320:240,transpose=2", "-c:a", "aac", name="turned.mp4")
    turned = tmp_path / "rotated.mp4"
    run_ffmpeg(["-v", "error", "-display_rotation", "-90", "-i", str(odd), "-c", "copy", str(turned)], 30)
    video = probe(turned)
    assert (video.width, video.height) == (320, 240)
    result = trim_one(turned, tmp_path, annotation(10, 20))
    assert result.crop.width == 240
    # The crop holds the middle three quarters of the barcode's width.
    with av.open(str(result.clip_path)) as container:
        grey = next(container.decode(video=0)).to_ndarray(format="gray")
    stripes = [int(grey[256, int((bit + 0.5) * 320 / BITS - 40) * 512 // 240] > 128) for bit in range(2, 10)]
    assert stripes == [10 >> bit & 1 for bit in range(2, 10)]


def test_pixels_that_are_not_square_are_made_so(tmp_path):
    odd = reencoded(tmp_path, "-vf", "scale=144:192,setsar=4/3", "-c:a", "aac")
    video = probe(odd)
    assert (video.width, video.height, video.square_pixels) == (192, 192, False)
    result = trim_one(odd, tmp_path, annotation(10, 20))
    assert result.crop.width == 192
    assert read_barcodes(result.clip_path) == list(range(10, 30))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["-vf", "scale=181:183", "-pix_fmt", "yuv444p", "-c:a", "aac"], "odd_size.mp4"),
        (["-pix_fmt", "yuv420p10le", "-color_trc", "smpte2084", "-colorspace", "bt2020nc"], "hdr.mp4"),
        (["-vf", "tinterlace=merge,fieldorder=tff,scale=192:192", "-flags", "+ildct+ilme"], "lace.mp4"),
        (["-c:v", "mpeg4", "-c:a", "aac"], "old.mp4"),
        (["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"], "web.webm"),
    ],
)  # fmt: skip
def test_odd_pictures_become_plain_ones(tmp_path, arguments, name):
    odd = reencoded(tmp_path, *arguments, name=name)
    result = trim_one(odd, tmp_path, annotation(10, 25), QUICK.model_copy(update={"min_fps": 10}))
    with av.open(str(result.clip_path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.frames) == (512, 512, 25)
        assert stream.codec_context.pix_fmt == "yuv420p"
    numbers = read_barcodes(result.clip_path)
    if name != "lace.mp4":  # two frames are woven into one there
        assert numbers == list(range(10, 35))
    else:
        assert probe(odd).interlaced


def test_sound_that_begins_late_or_ends_early_is_filled_with_silence(tmp_path):
    source = make_source(tmp_path / "source.mov", regular("25", 4), sound_sec=2.5)
    clip = annotation(25, 75)
    result = trim_one(source, tmp_path, clip)
    samples = read_wav(result.audio_path)
    assert len(samples) == 75 * 640
    assert clicks(samples) == pytest.approx([0], abs=0.001)
    assert not samples[int(1.51 * 16000) :].any()

    late = tmp_path / "late.mov"
    run_ffmpeg(
        ["-v", "error", "-i", str(source), "-itsoffset", "0.5", "-i", str(source),
         "-map", "0:v", "-map", "1:a", "-c", "copy", str(late)], 30,
    )  # fmt: skip
    clip = annotation(0, 60, clip_id="late")
    result = trim_one(late, tmp_path, clip)
    assert clicks(read_wav(result.audio_path)) == pytest.approx([0.5, 1.5], abs=0.001)
    assert read_barcodes(result.clip_path) == list(range(60))


def test_picture_that_begins_late_is_held_back_in_time(tmp_path):
    source = make_source(tmp_path / "source.mov", regular("25", 4))
    late = tmp_path / "late.mov"
    run_ffmpeg(
        ["-v", "error", "-i", str(source), "-itsoffset", "0.48", "-i", str(source),
         "-map", "1:v", "-map", "0:a", "-c", "copy", str(late)], 30,
    )  # fmt: skip
    assert probe(late).video_start_sec == pytest.approx(0.48)
    result = trim_one(late, tmp_path, annotation(0, 50))
    assert read_barcodes(result.clip_path) == [0] * 12 + list(range(38))
    result = trim_one(late, tmp_path, annotation(30, 40))
    assert read_barcodes(result.clip_path) == list(range(18, 58))
    assert clicks(read_wav(result.audio_path)) == pytest.approx([0.8], abs=0.001)


@pytest.mark.parametrize("name", ["title.mp4", "title.mkv"])
def test_a_title_in_another_encoding_than_utf_8_is_no_fault(tmp_path, name):
    latin_1 = b"title=Caf\xe9".decode("utf-8", "surrogateescape")
    odd = reencoded(tmp_path, "-c:v", "copy", "-c:a", "aac", "-metadata", latin_1, name=name)
    assert b"Caf\xe9" in odd.read_bytes()
    assert read_barcodes(trim_one(odd, tmp_path, annotation(10, 20)).clip_path) == list(range(10, 30))

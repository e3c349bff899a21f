"""A whole video for `discover`: what becomes of it when ffmpeg does not get to its end."""

import pytest

import multitalk.extract.ffmpeg
import multitalk.extract.source_frames
from multitalk.extract.errors import ClipError, ErrorCode
from multitalk.extract.probe import probe
from multitalk.extract.source_frames import source_frames, source_sound
from tests.extract.barcodes import make_source, regular


@pytest.mark.parametrize(
    ("ending", "code"),
    [("kill -KILL $$", ErrorCode.INTERNAL), ("kill -SEGV $$", ErrorCode.CORRUPT_MEDIA),
     ("echo 'Invalid data' >&2; exit 1", ErrorCode.CORRUPT_MEDIA)],
)  # fmt: skip
def test_what_ends_ffmpeg_tells_whether_the_file_is_to_blame(tmp_path, monkeypatch, ending, code):
    source = make_source(tmp_path / "source.mov", regular("25", 1))
    video = probe(source)
    ffmpeg = tmp_path / "ffmpeg"
    ffmpeg.write_text(f"#!/bin/sh\n{ending}\n")
    ffmpeg.chmod(0o700)
    for module in (multitalk.extract.ffmpeg, multitalk.extract.source_frames):
        monkeypatch.setattr(module, "ffmpeg_exe", lambda: ffmpeg)
    for read in (
        lambda: list(source_frames(source, video)),
        lambda: source_sound(source, tmp_path / "sound"),
    ):
        with pytest.raises(ClipError, match=r"source\.mov can not be decoded") as raised:
            read()
        assert raised.value.code is code

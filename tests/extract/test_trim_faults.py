"""What can not be cut, and how that ends: with a reason, and nothing half-written."""

import hashlib
from pathlib import Path

import av
import pytest

import multitalk.extract.ffmpeg
from multitalk.extract.annotations import BoundingBox, read_annotations
from multitalk.extract.errors import ClipError, ErrorCode, Stage
from multitalk.extract.probe import probe
from multitalk.extract.trim import TrimResult, TrimSettings
from tests.extract.barcodes import (
    annotation,
    make_source,
    read_barcodes,
    regular,
    trim,
    trim_one,
)
from tests.extract.small_files import small_files

SHARED = Path(__file__).parents[3] / "shared"


def test_interval_outside_the_video(tmp_path):
    source = make_source(tmp_path / "source.mov", regular("25", 4))
    clips = [
        annotation(80, 20, clip_id="fits"),
        annotation(82, 20, clip_id="two_frames_short"),
        annotation(83, 20, clip_id="three_frames_short"),
        annotation(100, 2, clip_id="after"),
        annotation(5000, 100, clip_id="far_after"),
    ]
    fits, short, *outside = trim(source, tmp_path, *clips)
    assert read_barcodes(fits.clip_path) == list(range(80, 100))
    assert read_barcodes(short.clip_path) == [*range(82, 100), 99, 99]
    for error in outside:
        assert isinstance(error, ClipError)
        assert (error.code, error.stage) == (ErrorCode.INTERVAL_OUTSIDE_VIDEO, Stage.TRIM)
        assert "4.00 s" in str(error)


def test_no_audio_and_low_frame_rate(tmp_path):
    silent = make_source(tmp_path / "silent.mov", regular("25", 1), sound_sec=0)
    (error,) = trim(silent, tmp_path, annotation(0, 10))
    assert error.code is ErrorCode.NO_AUDIO
    film = make_source(tmp_path / "film.mov", regular("24000/1001", 1))
    (error,) = trim(film, tmp_path, annotation(0, 10))
    assert error.code is ErrorCode.FPS_TOO_LOW
    assert "23.98" in str(error)
    assert isinstance(trim_one(film, tmp_path, annotation(0, 10), TrimSettings(min_fps=23)), TrimResult)


def test_box_without_a_pixel(tmp_path):
    source = make_source(tmp_path / "source.mov", regular("25", 1), side=16)
    (error,) = trim(source, tmp_path, annotation(0, 10, BoundingBox(0, 0.001, 0, 0.001)))
    assert error.code is ErrorCode.INVALID_ANNOTATION


def test_damage_in_one_place_fails_that_clip_only(tmp_path):
    source = make_source(
        tmp_path / "source.mov", regular("25", 12), options={"preset": "ultrafast", "g": "25"}
    )
    with av.open(str(source)) as container:
        packets = [(p.pts * p.time_base, p.pos, p.size) for p in container.demux(video=0) if p.size]
    content = bytearray(source.read_bytes())
    for due, position, size in packets:
        if 4 <= due < 8:
            content[position : position + size] = b"\xff" * size
    source.write_bytes(content)
    clips = [annotation(s, 50, clip_id=f"clip_{s}") for s in (25, 120, 225)]
    before, damaged, after = trim(source, tmp_path, *clips)
    assert read_barcodes(before.clip_path) == list(range(25, 75))
    assert read_barcodes(after.clip_path) == list(range(225, 275))
    assert isinstance(damaged, ClipError)
    assert damaged.code is ErrorCode.CORRUPT_MEDIA
    assert {path.name for path in tmp_path.iterdir()} == {
        "source.mov", "clip_25.mp4", "clip_25.wav", "clip_225.mp4", "clip_225.wav",
    }  # fmt: skip


def test_hostile_files_are_no_videos(tmp_path):
    source = make_source(tmp_path / "source.mov", regular("25", 2))
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nsource.mov\n#EXT-X-ENDLIST\n"
    contents = {
        "playlist.mp4": playlist.encode(),
        "concat.mp4": b"ffconcat version 1.0\nfile source.mov\n",
        "text.mp4": b"#!/bin/sh\necho hello\n",
        "empty.mp4": b"",
        "cut.mov": source.read_bytes()[:-20_000],
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ClipError) as caught:
            probe(tmp_path / name)
        assert caught.value.code is ErrorCode.CORRUPT_MEDIA
        assert name in str(caught.value)


def test_file_names_reach_ffmpeg_as_they_are(tmp_path):
    folder = tmp_path / "it's; $(touch x) %d"
    folder.mkdir()
    source = make_source(folder / "-source: 'a'.mov", regular("25", 1))
    result = trim_one(source, folder, annotation(0, 10))
    assert result.clip_path.parent == folder
    assert not Path("x").exists()


def test_nothing_half_written_bears_a_name_on_a_full_disk(tmp_path):
    source = make_source(tmp_path / "source.mov", regular("25", 2))
    clips = [annotation(0, 10, clip_id="a"), annotation(5, 10, clip_id="b")]
    with small_files(8_000):  # less than a clip's sound
        errors = trim(source, tmp_path / "out", *clips)
    assert [error.code for error in errors] == [ErrorCode.DISK_FULL, ErrorCode.DISK_FULL]
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("ending", "code"),
    [("kill -KILL $$", ErrorCode.INTERNAL), ("kill -SEGV $$", ErrorCode.CORRUPT_MEDIA),
     ("echo 'No space left on device' >&2; exit 1", ErrorCode.DISK_FULL), ("exit 1", ErrorCode.CORRUPT_MEDIA)],
)  # fmt: skip
def test_what_ends_ffmpeg_tells_whether_the_file_is_to_blame(tmp_path, monkeypatch, ending, code):
    source = make_source(tmp_path / "source.mov", regular("25", 1))
    ffmpeg = tmp_path / "ffmpeg"
    ffmpeg.write_text(f"#!/bin/sh\n{ending}\n")
    ffmpeg.chmod(0o700)
    monkeypatch.setattr(multitalk.extract.ffmpeg, "ffmpeg_exe", lambda: ffmpeg)
    (error,) = trim(source, tmp_path / "out", annotation(0, 10))
    assert error.code is code
    assert "source.mov" in str(error)
    assert list((tmp_path / "out").iterdir()) == []


def test_leftovers_of_a_killed_run_are_not_written_to(tmp_path):
    source = make_source(tmp_path / "source.mov", regular("25", 2))
    with (tmp_path / ".clip_0.mp4.part").open("wb") as orphan:
        result = trim_one(source, tmp_path, annotation(0, 20))
        orphan.write(b"late words of an ffmpeg that outlived its run")
    assert hashlib.sha256(result.clip_path.read_bytes()).hexdigest() == result.clip_sha256
    assert {path.name for path in tmp_path.iterdir()} == {"source.mov", "clip_0.mp4", "clip_0.wav"}


def test_time_limit(tmp_path):
    source = make_source(tmp_path / "source.mov", regular("25", 20))
    settings = TrimSettings(timeout_base_sec=0.05, timeout_per_clip_second=0, preset="slow")
    (error,) = trim(source, tmp_path / "out", annotation(0, 500), settings=settings)
    assert error.code is ErrorCode.INTERNAL
    assert error.code.transient
    assert "did not end within" in str(error)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason="needs the sample videos: ../shared/sample")
def test_sample_videos_are_cut_or_refused_as_planted(tmp_path):
    expected = {
        "deNoAudio00": ErrorCode.NO_AUDIO, "itFilm24fps": ErrorCode.FPS_TOO_LOW,
        "ruLowFps000": ErrorCode.FPS_TOO_LOW, "jaTruncated": ErrorCode.CORRUPT_MEDIA,
    }  # fmt: skip
    clips = read_annotations(sorted((SHARED / "sample/annotations").glob("*.json"))).annotations
    for video_id in sorted({clip.video_id for clip in clips} - {"enGone40400"}):
        source = SHARED / "sample/videos" / f"{video_id}.mp4"
        try:
            results = trim(source, tmp_path, *(clip for clip in clips if clip.video_id == video_id))
        except ClipError as error:
            results = [error]
        for result in results:
            if video_id in expected:
                assert result.code is expected[video_id]
            else:
                assert isinstance(result, TrimResult), result
                assert result.audio_path.stat().st_size == 44 + result.frame_count * 1280
            if video_id == "enSyncedLow":
                assert result.source_scale > 2

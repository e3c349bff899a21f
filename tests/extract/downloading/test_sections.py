"""Only the parts of a video that clips need: fewer bytes, the same clips."""

import pytest

from multitalk.extract.downloading.download import DownloadSettings, download
from multitalk.extract.downloading.sections import Media, copy_parts, wanted_parts
from multitalk.extract.errors import ClipError, ErrorCode
from multitalk.extract.ffmpeg import run_ffmpeg
from multitalk.extract.trim import TrimRequest, TrimResult, trim_clips
from multitalk.flows.demo.local_server import serve_folder
from tests.extract.barcodes import (
    QUICK,
    annotation,
    clicks,
    make_source,
    read_barcodes,
    read_wav,
    regular,
    trim,
)

SECTIONS = DownloadSettings(sections=True, attempts=1, socket_timeout_sec=10)


@pytest.mark.parametrize(
    ("clips", "parts"),
    [
        ([(0, 2)], [(0, 3)]),
        ([(5, 6)], [(0, 7)]),
        ([(100, 104), (60, 61)], [(0, 0.1), (59, 62), (99, 105)]),
        ([(60, 70), (62, 64), (75, 80)], [(0, 0.1), (59, 81)]),
    ],
)
def test_parts_have_margins_and_are_merged(clips, parts):
    assert wanted_parts(clips) == parts


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A minute of barcodes with a key frame every 100 frames: as one MP4, and as WebM with times of 1 ms."""
    folder = tmp_path_factory.mktemp("served")
    source = make_source(folder / "source.mov", regular("30", 60))
    copied = ["-v", "error", "-i", str(source), "-c:v", "copy", "-c:a", "aac"]
    run_ffmpeg([*copied, "-movflags", "+faststart", str(folder / "plain.mp4")], 60)
    run_ffmpeg([*copied, "-movflags", "+dash+frag_keyframe+global_sidx", str(folder / "pieces.mp4")], 60)
    run_ffmpeg([*copied[:-1], "libopus", str(folder / "other.mkv")], 60)
    (folder / "cut.mp4").write_bytes((folder / "plain.mp4").read_bytes()[:-300_000])
    with serve_folder(folder) as base:
        yield folder, base


@pytest.mark.parametrize("name", ["plain.mp4", "pieces.mp4", "other.mkv"])
def test_the_clips_are_those_of_the_whole_video(served, tmp_path, name):
    folder, base = served
    clips = [annotation(start, 40, clip_id=f"clip_{start}") for start in (505, 525, 1110)]
    wanted = [(clip.start_sec, clip.end_sec) for clip in clips]
    found = download(f"{base}/{name}", tmp_path / "parts.mp4", SECTIONS, clips=wanted)
    assert found.video.fps == pytest.approx(30, abs=0.1)
    assert found.path.stat().st_size < (folder / name).stat().st_size / 3
    whole = trim(folder / name, tmp_path / "whole", *clips)
    requests = [TrimRequest(c, tmp_path / f"{c.clip_id}.mp4", tmp_path / f"{c.clip_id}.wav") for c in clips]
    for result, expected in zip(trim_clips(found.path, found.video, requests, QUICK), whole, strict=True):
        assert isinstance(result, TrimResult), result
        assert read_barcodes(result.clip_path) == read_barcodes(expected.clip_path)
        times = clicks(read_wav(result.audio_path))
        assert times == pytest.approx(clicks(read_wav(expected.audio_path)), abs=6e-4)  # WebM rounds to 1 ms
        assert times


def test_a_clip_after_the_end_is_known_as_such(served, tmp_path):
    _, base = served
    clip = annotation(1600, 50)
    found = download(
        f"{base}/plain.mp4", tmp_path / "a.mp4", SECTIONS, clips=[(clip.start_sec, clip.end_sec)]
    )
    request = TrimRequest(clip, tmp_path / "clip.mp4", tmp_path / "clip.wav")
    (error,) = trim_clips(found.path, found.video, [request], QUICK)
    assert error.code is ErrorCode.INTERVAL_OUTSIDE_VIDEO


@pytest.mark.parametrize(
    ("name", "codes"),
    [("cut.mp4", {"corrupt_media", "network", "download_failed"}), ("none.mp4", {"video_unavailable"})],
)
def test_what_can_not_be_fetched_ends_with_a_code(served, tmp_path, name, codes):
    _, base = served
    with pytest.raises(ClipError) as caught:
        download(f"{base}/{name}", tmp_path / "a.mp4", SECTIONS, clips=[(50, 58)])
    assert caught.value.code in codes
    assert not (tmp_path / "a.mp4").exists()


def test_without_clips_or_over_no_network_the_whole_video_comes(served, tmp_path):
    folder, base = served
    whole = folder / "plain.mp4"
    assert (
        download(f"{base}/plain.mp4", tmp_path / "a.mp4", SECTIONS).path.stat().st_size
        == whole.stat().st_size
    )
    found = download(whole.as_uri(), tmp_path / "b.mp4", SECTIONS, clips=[(50, 52)])
    assert found.path.read_bytes() == whole.read_bytes()


def test_parts_of_a_video_whose_title_is_not_in_utf_8(served, tmp_path):
    folder, base = served
    latin_1 = b"title=Caf\xe9".decode("utf-8", "surrogateescape")
    copied = ["-v", "error", "-i", str(folder / "plain.mp4"), "-c", "copy", "-metadata", latin_1]
    run_ffmpeg([*copied, "-movflags", "+faststart", str(folder / "title.mp4")], 30)
    media = Media(f"{base}/title.mp4", {})
    rate = copy_parts([media], [(0, 1)], tmp_path / "part.mp4", timeout_sec=10, proxy=None)
    assert rate == pytest.approx(30, abs=0.1)

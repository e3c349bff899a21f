"""One source video: what a kill in the middle of its commit leaves behind."""

import json

import pytest

from multitalk.extract.downloading.download import DownloadedVideo
from multitalk.extract.errors import ClipError, ErrorCode, Stage
from multitalk.extract.probe import SourceVideo
from multitalk.flows.building import video
from multitalk.flows.building.plan import make_plan
from multitalk.flows.building.settings import build_settings
from multitalk.manifests import paths
from multitalk.manifests.store import commit_fragment


@pytest.fixture
def settings(tmp_path):
    clip = {
        "youtube_id": "one", "duration": {"start_sec": 1, "end_sec": 2}, "language": "german",
        "bbox": {"top": 0, "bottom": 1, "left": 0, "right": 1},
    }  # fmt: skip
    (tmp_path / "annotations.json").write_text(json.dumps({"one_0": clip}))
    return build_settings(annotations=(str(tmp_path / "annotations.json"),), root=tmp_path / "dataset")


def test_a_download_is_gone_before_its_video_counts_as_done(settings, monkeypatch):
    """No later run would come back for it."""
    (annotated,) = make_plan(settings).videos
    raw = paths.raw_path(settings.root, "german", "one")
    raw.parent.mkdir(parents=True)
    raw.touch()

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(video, "commit_fragment", killed)
    download = ClipError(ErrorCode.CORRUPT_MEDIA, "no video", Stage.SOURCE)
    with pytest.raises(KeyboardInterrupt):
        video.VideoBuilder(settings).build(annotated, download, lambda: None)
    assert not raw.exists()


def download_that_another_build_removes(settings):
    """A download as it is after its build has ended: the other one unlinked it."""
    properties = SourceVideo(
        seekable=True, video_stream=0, width=640, height=480, fps=25.0, video_start_sec=0.0,
        video_end_sec=10.0, square_pixels=True, interlaced=False, transfer="sdr", has_audio=True,
        audio_language=None,
    )  # fmt: skip
    place = paths.raw_path(settings.root, "german", "one")
    return DownloadedVideo(place, "http://localhost/one.mp4", properties, None, None, "1", 1)


def test_a_second_build_leaves_alone_what_the_first_has_built(settings):
    (annotated,) = make_plan(settings).videos
    good = {"clip_id": "one_0", "status": "ok", "frame_count": 25}
    commit_fragment(settings.root, "german", "one", [good], fingerprint=annotated.fingerprint)
    before = paths.fragment_path(settings.root, "german", "one").read_bytes()
    download = download_that_another_build_removes(settings)
    rows = video.VideoBuilder(settings).build(annotated, download, lambda: None)
    assert [(row["clip_id"], row["status"]) for row in rows] == [("one_0", "ok")]
    assert paths.fragment_path(settings.root, "german", "one").read_bytes() == before


def test_a_download_that_vanishes_is_fetched_by_the_next_run(settings):
    (annotated,) = make_plan(settings).videos
    download = download_that_another_build_removes(settings)
    (row,) = video.VideoBuilder(settings).build(annotated, download, lambda: None)
    assert row["status"] == "failed"
    assert "one build at a time" in row["error_message"]
    assert ErrorCode(row["error_code"]).transient
    assert make_plan(settings).pending_videos == 1

"""One source video: what a kill in the middle of its commit leaves behind."""

import json

import pytest

from extract.errors import ClipError, ErrorCode, Stage
from flows import video
from flows.config import build_settings
from flows.plan import make_plan
from manifests import paths


def test_a_download_is_gone_before_its_video_counts_as_done(tmp_path, monkeypatch):
    """No later run would come back for it."""
    clip = {
        "youtube_id": "one", "duration": {"start_sec": 1, "end_sec": 2}, "language": "german",
        "bbox": {"top": 0, "bottom": 1, "left": 0, "right": 1},
    }  # fmt: skip
    (tmp_path / "annotations.json").write_text(json.dumps({"one_0": clip}))
    settings = build_settings(annotations=(str(tmp_path / "annotations.json"),), root=tmp_path / "dataset")
    (annotated,) = make_plan(settings).videos
    raw = paths.raw_path(settings.root, "german", "one")
    raw.parent.mkdir(parents=True)
    raw.touch()

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(video, "commit_fragment", killed)
    download = ClipError(ErrorCode.CORRUPT_MEDIA, "no video", Stage.DOWNLOAD)
    with pytest.raises(KeyboardInterrupt):
        video.VideoBuilder(settings).build(annotated, download, lambda: None)
    assert not raw.exists()

"""A clip whose language or video was corrected is there once, with what belongs to it, and nothing else goes."""

import numpy as np
import pytest

from multitalk.manifests import open_dataset, paths
from multitalk.manifests.releases.verify import verify
from multitalk.manifests.store import commit_fragment, compact, drop_doubles


def commit(root, language, video_id, clips, status="ok"):
    rows = [
        {"clip_id": clip, "status": status, "frame_count": 2, "head_model": "m:1"}
        | ({"error_code": "no_face", "error_message": "none"} if status == "failed" else {})
        for clip in clips
    ]
    points = np.zeros((2, 478, 3), np.float32)
    landmarks = [{"clip_id": clip, "landmarks": points, "valid": np.ones(2, bool)} for clip in clips]
    commit_fragment(root, language, video_id, rows, landmark_rows=landmarks, fingerprint="f")
    for clip in clips:
        for place in (paths.clip_path(root, language, clip), paths.audio_path(root, language, clip)):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"media")


def held(root):
    return sorted(open_dataset(root).arrow(["language", "video_id", "clip_id"]).to_pylist(), key=str)


def test_a_corrected_language_leaves_nothing_behind(tmp_path):
    commit(tmp_path, "german", "video", ["video_0", "video_1"])
    commit(tmp_path, "dutch", "video", ["video_0"])
    assert drop_doubles(tmp_path) == 1
    assert [(row["language"], row["clip_id"]) for row in held(tmp_path)] == [
        ("dutch", "video_0"),
        ("german", "video_1"),
    ]
    assert not paths.clip_path(tmp_path, "german", "video_0").exists()
    assert paths.clip_path(tmp_path, "dutch", "video_0").exists()
    assert paths.audio_path(tmp_path, "german", "video_1").exists()
    open_dataset(tmp_path).landmarks("video_0"), open_dataset(tmp_path).landmarks("video_1")
    assert not [f for f in verify(tmp_path) if "rows" in f.message or f.kind == "stray"]


def test_media_that_the_other_row_names_stay(tmp_path):
    commit(tmp_path, "german", "old", ["clip_0"])
    commit(tmp_path, "german", "new", ["clip_0"])
    compact(tmp_path)
    assert drop_doubles(tmp_path) == 1
    assert [row["video_id"] for row in held(tmp_path)] == ["new"]
    assert paths.clip_path(tmp_path, "german", "clip_0").exists()
    assert not paths.landmarks_path(tmp_path, "german", "old").exists()


def test_what_is_good_is_not_given_for_a_failure(tmp_path):
    commit(tmp_path, "german", "old", ["clip_0"])
    commit(tmp_path, "dutch", "new", ["clip_0"], status="failed")
    assert drop_doubles(tmp_path) == 1
    assert [row["video_id"] for row in held(tmp_path)] == ["old"]


@pytest.mark.parametrize("clips", [["a_0", "a_1"], ["a_0"]])
def test_where_every_clip_is_there_once_nothing_is_written(tmp_path, clips):
    commit(tmp_path, "german", "a", clips)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    assert drop_doubles(tmp_path) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == before

"""Take-down: what goes, what stays, and that nothing comes back."""

import pytest

from manifests import paths
from manifests.query import query
from manifests.remove import remove_videos
from manifests.store import committed, compact, read_manifest
from manifests.takedown import read_takedown


def fill_media(root):
    for row in read_manifest(root, ["language", "clip_id"]).to_pylist():
        for kind in (paths.clip_path, paths.audio_path):
            place = kind(root, row["language"], row["clip_id"])
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"media")


def test_a_removed_video_leaves_tombstones_and_no_file(root):
    fill_media(root)
    deleted = remove_videos(root, ["de2", "never_seen"], "asked\nby the speaker")
    names = sorted(path.relative_to(root).as_posix() for path in deleted)
    assert names == [
        "clips/german/de2_0.mp4",
        "clips/german/de2_1.mp4",
        "clips/german/de2_2.mp4",
        "landmarks/language=german/de2.parquet",
        "motion/language=german/de2.parquet",
        "wav/german/de2_0.wav",
        "wav/german/de2_1.wav",
        "wav/german/de2_2.wav",
    ]
    assert not list(root.rglob("*de2*"))
    rows = {row["clip_id"]: row for row in read_manifest(root).to_pylist()}
    assert len(rows) == 7
    for number in range(3):
        row = rows[f"de2_{number}"]
        assert (row["status"], row["error_code"]) == ("failed", "removed")
        assert row["error_message"] == "removed from the dataset: asked by the speaker"
        assert row["transcript"] is row["motion_path"] is row["yaw_deg"] is None
    assert rows["_de_0"]["transcript"] == "こんにちは"
    assert paths.clip_path(root, "german", "_de_0").exists()
    assert committed(root, "german", "de2") == "f1"
    assert query(root, "SELECT count(*) AS n FROM motion WHERE clip_id LIKE 'de2%'").to_pylist() == [{"n": 0}]


def test_a_later_build_brings_nothing_back(root, commit_video):
    remove_videos(root, ["de2"])
    commit_video(root, "german", "de2", clips=3)
    compact(root)
    rows = [row for row in read_manifest(root).to_pylist() if row["video_id"] == "de2"]
    assert [row["error_code"] for row in rows] == ["removed"] * 3
    assert not paths.motion_path(root, "german", "de2").exists()


def test_a_list_written_by_hand_is_carried_out_and_kept(root):
    (root / "takedown.txt").write_text("# from the lawyers\nja1   court order\n\nother\n")
    remove_videos(root, [])
    assert read_takedown(root) == {"ja1": "court order", "other": ""}
    rows = [row for row in read_manifest(root).to_pylist() if row["error_code"] == "removed"]
    assert {row["video_id"] for row in rows} == {"ja1"}
    assert remove_videos(root, []) == []


def test_tombstones_have_a_verdict_where_a_policy_has_spoken(root, accept_ok):
    compact(root, accept_ok)
    remove_videos(root, ["ja1"])
    table = read_manifest(root, ["clip_id", "accepted", "rejected_by"]).to_pylist()
    verdicts = {row["clip_id"]: (row["accepted"], row["rejected_by"]) for row in table}
    assert verdicts["de2_0"] == (True, [])
    assert verdicts["ja1_0"] == (False, ["status"])


def test_unsafe_ids_and_unreadable_lists_stop_before_anything_is_done(root, commit_video):
    with pytest.raises(paths.UnsafeNameError):
        remove_videos(root, ["../x"])
    assert not (root / "takedown.txt").exists()
    (root / "takedown.txt").write_bytes(b"\xff")
    with pytest.raises(paths.DatasetError, match="can not be read"):
        commit_video(root, "german", "new")

"""Take-down: what goes, what stays, and that nothing comes back."""

import threading

import pytest

from multitalk.manifests import paths, takedown
from multitalk.manifests.query import query
from multitalk.manifests.remove import remove_videos
from multitalk.manifests.storage import commit
from multitalk.manifests.store import committed, compact, read_manifest
from multitalk.manifests.takedown import extend_takedown, read_takedown


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


def test_media_trimmed_before_the_removal_go_with_the_commit(root, commit_video):
    remove_videos(root, ["new"])
    media = [kind(root, "german", "new_0") for kind in (paths.clip_path, paths.audio_path)]
    media.append(paths.raw_path(root, "german", "new"))
    for place in media:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"media")
    commit_video(root, "german", "new")
    assert not [place for place in media if place.exists()]


def overtaken(monkeypatch, module, name, other):
    """Start `other` in a thread when a function is called, and give it time to get in the way."""
    real = getattr(module, name)
    thread = threading.Thread(target=other)

    def slow(*arguments):
        monkeypatch.setattr(module, name, real)
        thread.start()
        thread.join(0.3)
        return real(*arguments)

    monkeypatch.setattr(module, name, slow)
    return thread


def test_a_removal_finds_what_a_running_build_is_committing(root, commit_video, monkeypatch):
    thread = overtaken(monkeypatch, commit, "write_manifest", lambda: remove_videos(root, ["new"]))
    commit_video(root, "thai", "new")
    thread.join()
    rows = [row for row in read_manifest(root).to_pylist() if row["video_id"] == "new"]
    assert [(row["error_code"], row["motion_path"]) for row in rows] == [("removed", None)] * 2
    assert not paths.motion_path(root, "thai", "new").exists()


def test_two_removals_at_once_are_both_listed(root, monkeypatch):
    thread = overtaken(monkeypatch, takedown, "_entries", lambda: extend_takedown(root, {"ja1": "B"}))
    extend_takedown(root, {"de2": "A"})
    thread.join()
    assert read_takedown(root) == {"de2": "A", "ja1": "B"}


def test_the_list_keeps_its_comments_and_reasons(root):
    place = root / "takedown.txt"
    place.write_bytes(b"\xef\xbb\xbfde2 asked\r\n# from the lawyers\nja1 court order")
    remove_videos(root, ["ja1", "_de"])
    assert place.read_text("utf-8") == "de2 asked\n# from the lawyers\nja1 court order\n_de\n"
    assert set(read_manifest(root)["error_code"].to_pylist()) == {"removed"}
    remove_videos(root, ["_de"], "Löschung")
    remove_videos(root, ["_de"], "Löschung")
    assert place.read_bytes().endswith("_de\n_de Löschung\n".encode())
    assert read_takedown(root)["_de"] == "Löschung"


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

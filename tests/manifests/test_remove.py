"""Take-down: what goes, what stays, and that nothing comes back."""

import json
import threading

import pytest

from multitalk.manifests import paths, takedown
from multitalk.manifests.layouts.export import divided_clips, export_webdataset
from multitalk.manifests.layouts.known_exports import note_export
from multitalk.manifests.query import query
from multitalk.manifests.releases.release import ReleaseSettings, create_release
from multitalk.manifests.remove import remove
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
    deleted = remove(root, ["de2"], "asked\nby the speaker").files
    names = sorted(path.as_posix() for path in deleted)
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
    remove(root, ["de2"])
    commit_video(root, "german", "de2", clips=3)
    compact(root)
    rows = [row for row in read_manifest(root).to_pylist() if row["video_id"] == "de2"]
    assert [row["error_code"] for row in rows] == ["removed"] * 3
    assert not paths.motion_path(root, "german", "de2").exists()


def test_media_trimmed_before_the_removal_go_with_the_commit(root, commit_video):
    extend_takedown(root, {"new": ""})
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

    def slow(*arguments, **named):
        monkeypatch.setattr(module, name, real)
        thread.start()
        thread.join(0.3)
        return real(*arguments, **named)

    monkeypatch.setattr(module, name, slow)
    return thread


def test_a_removal_finds_what_a_running_build_is_committing(root, commit_video, monkeypatch):
    def takes_down():
        extend_takedown(root, {"new": ""})
        remove(root, [])

    thread = overtaken(monkeypatch, commit, "write_manifest", takes_down)
    commit_video(root, "thai", "new")
    thread.join()
    rows = [row for row in read_manifest(root).to_pylist() if row["video_id"] == "new"]
    assert [(row["error_code"], row["motion_path"]) for row in rows] == [("removed", None)] * 2
    assert not paths.motion_path(root, "thai", "new").exists()


def test_two_removals_at_once_are_both_listed(root, monkeypatch):
    thread = overtaken(monkeypatch, takedown, "_entries", lambda: extend_takedown(root, {"ja1": "B"}))
    extend_takedown(root, {"de2": "A"})
    thread.join()
    assert read_takedown(root).videos == {"de2": "A", "ja1": "B"}


def test_the_list_keeps_its_comments_and_reasons(root):
    place = root / "takedown.txt"
    place.write_bytes(b"\xef\xbb\xbfde2 asked\r\n# from the lawyers\nja1 court order")
    remove(root, ["ja1", "_de"])
    assert place.read_text("utf-8") == "de2 asked\n# from the lawyers\nja1 court order\n_de\n"
    assert set(read_manifest(root)["error_code"].to_pylist()) == {"removed"}
    remove(root, ["_de"], "Löschung")
    remove(root, ["_de"], "Löschung")
    assert place.read_bytes().endswith("_de\n_de Löschung\n".encode())
    assert read_takedown(root).videos["_de"] == "Löschung"


def test_a_list_written_by_hand_is_carried_out_and_kept(root):
    (root / "takedown.txt").write_text("# from the lawyers\nja1   court order\n\nother\n")
    remove(root, [])
    assert read_takedown(root).videos == {"ja1": "court order", "other": ""}
    rows = [row for row in read_manifest(root).to_pylist() if row["error_code"] == "removed"]
    assert {row["video_id"] for row in rows} == {"ja1"}
    assert not remove(root, []).did_anything


def test_tombstones_have_a_verdict_where_a_policy_has_spoken(root, accept_ok):
    compact(root, accept_ok)
    remove(root, ["ja1"])
    table = read_manifest(root, ["clip_id", "accepted", "rejected_by"]).to_pylist()
    verdicts = {row["clip_id"]: (row["accepted"], row["rejected_by"]) for row in table}
    assert verdicts["de2_0"] == (True, [])
    assert verdicts["ja1_0"] == (False, ["status"])


def test_unsafe_ids_and_unreadable_lists_stop_before_anything_is_done(root, commit_video):
    with pytest.raises(paths.UnsafeNameError):
        remove(root, ["../x"])
    assert not (root / "takedown.txt").exists()
    (root / "takedown.txt").write_bytes(b"\xff")
    with pytest.raises(paths.DatasetError, match="can not be read"):
        commit_video(root, "german", "new")


def test_a_removed_clip_goes_alone_and_the_rest_of_its_video_stays(root, commit_video):
    fill_media(root)
    removal = remove(root, ["de2_0"], "asked")
    assert [path.as_posix() for path in removal.files] == ["clips/german/de2_0.mp4", "wav/german/de2_0.wav"]
    assert (removal.rows, removal.motion_rows, removal.landmark_rows, removal.remains) == (1, 1, 1, ())
    assert (root / "takedown.txt").read_text() == "clip:de2_0 asked\n"
    for again in (False, True):
        if again:  # a build with the same annotations
            commit_video(root, "german", "de2", clips=3)
        rows = {row["clip_id"]: row for row in read_manifest(root).to_pylist()}
        assert rows["de2_0"]["error_code"] == "removed"
        assert rows["de2_0"]["transcript"] is rows["de2_0"]["motion_xxh3"] is None
        assert rows["de2_1"]["status"] == "ok"
        for table in ("motion", "landmarks"):
            left = query(root, f"SELECT clip_id FROM {table} WHERE clip_id LIKE 'de2%'").to_pylist()
            assert [row["clip_id"] for row in left] == ["de2_1"]


def test_a_clip_can_stand_for_its_video(root):
    assert remove(root, ["de2_0"], whole_video=True).rows == 3
    assert read_takedown(root).videos == {"de2": ""}


@pytest.mark.parametrize("name", ["de2_7", "De2", "nosuchvid"])
def test_an_unknown_id_removes_nothing_and_what_comes_near_is_named(root, name):
    before = read_manifest(root)
    with pytest.raises(paths.DatasetError, match="Nothing was removed") as caught:
        remove(root, ["ja1", name])
    assert ("did you mean" in str(caught.value)) == (name != "nosuchvid")
    assert read_manifest(root).equals(before)
    assert not (root / "takedown.txt").exists()


def test_a_clip_that_was_listed_while_it_was_being_built_is_not_committed(root, commit_video, monkeypatch):
    thread = overtaken(
        monkeypatch, commit, "locked", lambda: extend_takedown(root, {}, {"new_0": "asked meanwhile"})
    )
    commit_video(root, "thai", "new", clips=3)
    thread.join()
    rows = {row["clip_id"]: row for row in read_manifest(root).to_pylist()}
    assert (rows["new_0"]["error_code"], rows["new_1"]["status"]) == ("removed", "ok")
    assert query(root, "SELECT clip_id FROM motion WHERE clip_id LIKE 'new%'").to_pylist() == [
        {"clip_id": "new_1"}
    ]


def test_traces_go_and_releases_and_exports_are_named(root, accept_ok, tmp_path):
    create_release(root, "v1", policy="p", add_verdicts=accept_ok, settings=ReleaseSettings())
    compact(root, accept_ok)
    out = tmp_path / "out"
    export_webdataset(root, divided_clips(root), out)
    note_export(root, out, "webdataset")
    run = root / ".runs" / "r1"
    run.mkdir(parents=True)
    clips = [{"clip_id": f"de2_{i}", "transcript": "geheim"} for i in range(2)]
    videos = [{"file_id": "de2", "annotations": clips, "invalid": []}]
    (run / "german-0.videos.json").write_text(json.dumps({"videos": videos, "wanted": {}}))
    (run / "german-0.log").write_text("WARNING de2_0: said geheim\nWARNING de2_01: fine\n")
    (run / "german-0.events.jsonl").write_text('{"event": "finished", "item": "de2"}\n')
    (root / "cache" / "motion-1").mkdir(parents=True)
    (root / "report.html").write_text("<img alt='de2_0'>")
    removal = remove(root, ["de2_0"])
    assert removal.releases == ("v1",)
    assert removal.exports == (out.resolve(),)
    left = json.loads((run / "german-0.videos.json").read_text())["videos"][0]["annotations"]
    assert [clip["clip_id"] for clip in left] == ["de2_1"]
    assert (run / "german-0.log").read_text().strip() == "WARNING de2_01: fine"
    assert "de2" in (run / "german-0.events.jsonl").read_text()
    assert not (root / "cache").exists()
    assert not (root / "report.html").exists()
    assert len(removal.traces) == 4
    remove(root, ["de2"])
    assert b"de2" not in b"".join(place.read_bytes() for place in run.iterdir()).replace(b"de2_01", b"")
    assert json.loads((run / "german-0.videos.json").read_text())["videos"] == []

"""A video's new files become visible together, and a failed or killed attempt never touches the good ones."""

import errno
import json
import multiprocessing
import os
import shutil
from dataclasses import asdict, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow.parquet as pq
import pytest

from multitalk.ground import leases
from multitalk.ground.files import sweep_temporary
from multitalk.ground.leases import holder_of
from multitalk.manifests import paths
from multitalk.manifests.clip_row import ClipRow
from multitalk.manifests.storage.checksums import file_xxh3, row_xxh3
from multitalk.manifests.storage.redo_log import ClaimLostError
from multitalk.manifests.store import (
    claim_video,
    commit_video,
    compact,
    finish_commits,
    read_manifest,
    read_videos,
    staging_folder,
)
from multitalk.manifests.tables import row_arrays
from multitalk.manifests.takedown import extend_takedown
from tests.manifests.killing import killed_at

NOW = datetime(2026, 1, 2, tzinfo=UTC)
STAGES = {"trim": "t1", "landmarks": "l1", "fit": "f1"}


def motion_row(clip_id, value=0.0):
    widths = {"expression": 5, "jaw": 3, "eyes": 6, "rotation": 3, "translation": 3}
    arrays = {name: np.full((4, width), value, np.float32) for name, width in widths.items()}
    return {
        "clip_id": clip_id,
        "head_model": "canonical:0123",
        "fps": 25.0,
        "shape": np.zeros(3, np.float32),
        "camera": np.array([1200.0, 256.0, 256.0], np.float32),
        "valid": np.ones(4, bool),
        "residual": np.zeros(4, np.float32),
        **arrays,
    }


def landmark_row(clip_id, value=0.0):
    return {
        "clip_id": clip_id,
        "landmarks": np.full((4, 68, 3), value, np.float32),
        "valid": np.ones(4, bool),
    }


def stage_media(root, clip_id, content):
    staging = staging_folder(root, "german", "v")
    for kind in (paths.clip_path, paths.audio_path):
        place = kind(staging, "german", clip_id)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def row(clip_id, **columns):
    return ClipRow(
        clip_id,
        "v",
        "german",
        **{
            "created_at": NOW,
            "stage_fingerprints": STAGES,
            "clip_path": f"clips/german/{clip_id}.mp4",
            **columns,
        },
    )


def first_build(root):
    """Three clips with everything."""
    clips = ["v_0", "v_1", "v_2"]
    with claim_video(root, "german", "v") as ours:
        assert ours
        for clip in clips:
            stage_media(root, clip, b"old " + clip.encode())
        commit_video(
            root,
            "german",
            "v",
            [row(clip) for clip in clips],
            motion_rows=[motion_row(clip) for clip in clips],
            landmark_rows=[landmark_row(clip) for clip in clips],
            fingerprint="f1",
        )


def second_build(root):
    """Clip 0 is made anew, clip 1 keeps what it has after a failure, clip 2 is annotated no more, clip 3 is new."""
    with claim_video(root, "german", "v") as ours:
        assert ours
        present = {row.clip_id: row for row in read_videos(root, "german", ["v"])["v"]}
        for clip in ("v_0", "v_3"):
            stage_media(root, clip, b"new " + clip.encode())
        kept = replace(present["v_1"], last_try_error_code="video_unavailable", last_try_at=NOW)
        commit_video(
            root,
            "german",
            "v",
            [row("v_3"), kept, row("v_0", transcript="new")],
            motion_rows=[motion_row("v_0", 0.5)],
            landmark_rows=[landmark_row("v_0", 3.0)],
            keep_motion=["v_1"],
            keep_landmarks=["v_1"],
            fingerprint="f2",
        )


def state(root):
    """All files of a dataset with what they hold, whatever is compacted."""
    files = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for kind in ("clips", "wav", "motion", "landmarks", "raw")
        for path in (root / kind).rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    return files, read_manifest(root).to_pylist()


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    root = tmp_path_factory.mktemp("states")
    first_build(root)
    old = state(root)
    second_build(root)
    return old, state(root)


def test_what_is_made_anew_kept_and_untouched_lies_together(tmp_path):
    first_build(tmp_path)
    before = read_videos(tmp_path, "german", ["v"])["v"]
    assert not (tmp_path / ".staging").exists()
    second_build(tmp_path)
    assert not (tmp_path / ".staging").exists()
    after = {row.clip_id: row for row in read_videos(tmp_path, "german", ["v"])["v"]}
    assert list(after) == ["v_0", "v_1", "v_2", "v_3"]
    assert after["v_2"] == before[2], "a clip that is not committed anew stays as it was"
    assert replace(after["v_1"], last_try_error_code=None, last_try_at=None) == before[1]
    assert after["v_1"].config_fingerprint == "f1"
    assert after["v_0"].config_fingerprint == after["v_3"].config_fingerprint == "f2"
    assert after["v_3"].motion_path is after["v_3"].motion_xxh3 is None
    assert after["v_0"].motion_xxh3 != before[0].motion_xxh3
    motion = pq.read_table(tmp_path / after["v_0"].motion_path, partitioning=None)
    assert motion["clip_id"].to_pylist() == ["v_0", "v_1", "v_2"]
    for index, clip in enumerate(["v_0", "v_1", "v_2"]):
        assert row_xxh3(row_arrays(motion, index)) == after[clip].motion_xxh3
    contents = [paths.audio_path(tmp_path, "german", clip).read_bytes() for clip in after]
    assert contents == [b"new v_0", b"old v_1", b"old v_2", b"new v_3"]


def test_a_commit_killed_anywhere_leaves_the_old_or_the_new_video(tmp_path, states, monkeypatch):
    first_build(tmp_path / "old")
    ends = []
    for number in range(500):
        root = shutil.copytree(tmp_path / "old", tmp_path / str(number))
        with killed_at(monkeypatch, number) as dead:
            second_build(root)
        rows = read_manifest(root, ["clip_id"])["clip_id"].to_pylist()
        assert rows == sorted(set(rows)), "a clip is there twice"
        finish_commits(root)
        assert not (root / ".staging").exists()
        assert state(root) in states, f"neither the old nor the new video after {number} steps"
        ends.append(states.index(state(root)))
        sweep_temporary(root, min_age_sec=0)
        assert not list(root.rglob("*.tmp"))
        if not dead:
            break
        if number % 8 == 0:
            second_build(root)
            assert state(root)[0] == states[1][0]
        shutil.rmtree(root)
    assert ends == sorted(ends)
    assert set(ends) == {0, 1}
    assert len(ends) > 30


def test_a_finishing_killed_anywhere_is_finished_by_the_next(tmp_path, states, monkeypatch):
    first_build(tmp_path / "old")
    decided = _decided(tmp_path, states, monkeypatch)
    for number in range(100):
        root = shutil.copytree(decided, tmp_path / f"finishing{number}")
        with killed_at(monkeypatch, number) as dead:
            finish_commits(root)
        finish_commits(root)
        assert state(root) == states[1]
        assert not (root / ".staging").exists()
        if not dead:
            return
    raise AssertionError("it never ends")


def _decided(tmp_path, states, monkeypatch):
    """Return a dataset whose second build is decided, and nothing of it is in its place."""
    for number in range(500):
        root = shutil.copytree(tmp_path / "old", tmp_path / f"decided{number}")
        with killed_at(monkeypatch, number):
            second_build(root)
        if (root / ".staging/german/v/commit.json").exists():
            assert state(root) == states[0]
            return root
    raise AssertionError("nothing is ever decided")


def _work_for_ever(root, started):
    first_build(root)
    started.set()
    while True:
        second_build(root)
        first_build(root)


def test_a_worker_killed_at_any_moment(tmp_path):
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    worker = context.Process(target=_work_for_ever, args=(tmp_path, started))
    worker.start()
    assert started.wait(60)
    worker.join(0.3)
    worker.kill()
    worker.join()
    finish_commits(tmp_path)
    files, rows = state(tmp_path)
    assert not (tmp_path / ".staging").exists()
    for found in rows:
        motion = found["motion_path"]
        assert motion is None or motion in files
        if motion:
            table = pq.read_table(tmp_path / motion, partitioning=None)
            index = table["clip_id"].to_pylist().index(found["clip_id"])
            assert row_xxh3(row_arrays(table, index)) == found["motion_xxh3"]
    made = {found["transcript"] for found in rows if found["clip_id"] == "v_0"}
    assert files["wav/german/v_0.wav"] == (b"new v_0" if made == {"new"} else b"old v_0")


def test_another_disk_is_copied_to(tmp_path, states, monkeypatch):
    first_build(tmp_path)
    real = os.replace

    def across(source, target):
        if "/.staging/" in str(source) and "/.staging/" not in str(target):
            raise OSError(errno.EXDEV, "another disk")
        real(source, target)

    monkeypatch.setattr(os, "replace", across)
    second_build(tmp_path)
    assert state(tmp_path) == states[1]
    assert not list(tmp_path.rglob("*.tmp"))


def test_an_attempt_that_is_given_up_changes_nothing(tmp_path, states):
    first_build(tmp_path)
    with pytest.raises(RuntimeError), claim_video(tmp_path, "german", "v"):
        stage_media(tmp_path, "v_0", b"half")
        raise RuntimeError
    assert state(tmp_path) == states[0]
    assert not (tmp_path / ".staging").exists()


def test_staged_media_of_a_clip_without_a_row_do_not_appear(tmp_path):
    with claim_video(tmp_path, "german", "v"):
        stage_media(tmp_path, "v_0", b"a")
        stage_media(tmp_path, "stray", b"b")
        commit_video(tmp_path, "german", "v", [row("v_0")], fingerprint="f")
    assert sorted(path.name for path in (tmp_path / "wav/german").iterdir()) == ["v_0.wav"]


def _try_to_claim(root):
    with claim_video(root, "german", "v") as ours:
        return ours


def test_a_video_is_claimed_by_one_process_and_finished_by_none_while_it_lives(tmp_path):
    with multiprocessing.get_context("spawn").Pool(1) as pool, claim_video(tmp_path, "german", "v") as ours:
        assert ours
        stage_media(tmp_path, "v_0", b"at work")
        assert pool.apply(_try_to_claim, (tmp_path,)) is False
        pool.apply(finish_commits, (tmp_path,))
        assert paths.audio_path(staging_folder(tmp_path, "german", "v"), "german", "v_0").exists()
    assert _try_to_claim(tmp_path)


def test_a_commit_of_metrics_alone_writes_neither_motion_nor_landmarks(tmp_path):
    first_build(tmp_path)
    places = [kind(tmp_path, "german", "v") for kind in (paths.motion_path, paths.landmarks_path)]
    before = [place.stat().st_ino for place in places]
    rows = read_videos(tmp_path, "german", ["v"])["v"]
    clips = [row.clip_id for row in rows]
    commit_video(
        tmp_path,
        "german",
        "v",
        [replace(row, sharpness=0.5) for row in rows],
        keep_motion=clips,
        keep_landmarks=clips,
        fingerprint="f2",
    )
    assert [place.stat().st_ino for place in places] == before
    assert read_videos(tmp_path, "german", ["v"])["v"] == [replace(row, sharpness=0.5) for row in rows]


def test_what_was_to_stay_and_is_damaged_is_to_be_made_again(tmp_path):
    first_build(tmp_path)
    place = paths.motion_path(tmp_path, "german", "v")
    file = pq.ParquetFile(place)
    offset = file.metadata.row_group(1).column(4).data_page_offset
    content = bytearray(place.read_bytes())
    content[offset : offset + 40] = bytes(40)
    place.write_bytes(content)
    rows = read_videos(tmp_path, "german", ["v"])["v"]
    clips = [row.clip_id for row in rows]
    commit_video(
        tmp_path,
        "german",
        "v",
        rows,
        motion_rows=[motion_row("v_0", 0.25)],
        keep_motion=clips,
        keep_landmarks=clips,
        fingerprint="f2",
    )
    after = read_videos(tmp_path, "german", ["v"])["v"]
    assert [row.stage_fingerprints["fit"] for row in after] == ["f1", None, "f1"]
    assert [row.motion_path is None for row in after] == [False, True, False]
    assert after[2].motion_xxh3 == rows[2].motion_xxh3


def test_the_takedown_list_has_the_last_word(tmp_path):
    first_build(tmp_path)
    extend_takedown(tmp_path, {"v": "asked"})
    second_build(tmp_path)
    files, rows = state(tmp_path)
    assert files == {}
    assert [row["error_code"] for row in rows] == ["removed"] * 4
    assert not (tmp_path / ".staging").exists()


HOSTILE = {
    "climbs": {"moves": ["../../evil"], "deletes": []},
    "climbs inside": {"moves": ["clips/german/../../../evil.mp4"], "deletes": []},
    "absolute": {"moves": [], "deletes": ["/etc/hostname"]},
    "another video's": {"moves": ["motion/language=german/w.parquet"], "deletes": []},
    "another language": {"moves": ["manifest/language=french/v.parquet"], "deletes": []},
    "the list": {"moves": ["manifest/language=german/v.parquet"], "deletes": ["takedown.txt"]},
    "a part": {
        "moves": ["manifest/language=german/v.parquet"],
        "deletes": ["manifest/language=german/part-0.parquet"],
    },
    "no fragment": {"moves": ["clips/german/v_0.mp4"], "deletes": []},
    "no texts": {"moves": [1], "deletes": None},
    "no mapping": [],
}


@pytest.mark.parametrize("log", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_log_is_thrown_away(tmp_path, states, log):
    first_build(tmp_path)
    stage_media(tmp_path, "v_0", b"evil")
    (staging_folder(tmp_path, "german", "v") / "commit.json").write_text(json.dumps(log))
    finish_commits(tmp_path)
    assert state(tmp_path) == states[0]
    assert not (tmp_path / ".staging").exists()


def _good_log(root):
    moves = ["clips/german/v_0.mp4", "manifest/language=german/v.parquet"]
    folder = staging_folder(root, "german", "v")
    for name in moves:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(root / moves[1], folder / moves[1])
    (folder / moves[0]).write_bytes(b"new")
    (folder / "commit.json").write_text(json.dumps({"moves": moves, "deletes": []}))
    return folder


def test_links_lead_nowhere_outside(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    (outside / "v_0.mp4").write_bytes(b"mine")
    (outside / "secret").write_bytes(b"secret")
    first_build(root)
    folder = _good_log(root)
    (folder / "clips/german/v_0.mp4").unlink()
    (folder / "clips/german/v_0.mp4").symlink_to(outside / "secret")
    finish_commits(root)  # a link is staged: not ours
    assert (root / "clips/german/v_0.mp4").read_bytes() == b"old v_0"
    shutil.move(root / "clips/german", tmp_path / "away")
    (root / "clips/german").symlink_to(outside)
    _good_log(root)
    finish_commits(root)  # the folder is a link
    assert (outside / "v_0.mp4").read_bytes() == b"mine"
    with pytest.raises(paths.DatasetError, match="behind a link out of the dataset"):
        second_build(root)
    assert (outside / "v_0.mp4").read_bytes() == b"mine"
    (root / ".staging").symlink_to(outside)
    (outside / "german").mkdir()
    (outside / "german/v").mkdir()
    finish_commits(root)
    assert (outside / "german/v").exists()
    with pytest.raises(paths.DatasetError, match="behind a link"), claim_video(root, "german", "v"):
        pass


def test_compaction_finishes_what_was_decided(tmp_path, states, monkeypatch):
    first_build(tmp_path / "old")
    root = _decided(tmp_path, states, monkeypatch)
    compact(root)
    assert state(root) == states[1]


def test_checksums_are_of_content(tmp_path):
    place = tmp_path / "a"
    place.write_bytes(b"abc")
    assert (
        file_xxh3(place) == "06b05ab6733a618578af5f94892f3950"
    )  # the algorithm's own, of any implementation
    numbers = np.arange(6, dtype=np.float32).reshape(2, 3)
    first = row_xxh3({"clip_id": "a", "jaw": numbers, "fps": 25.0})
    assert first == row_xxh3({"fps": 25.0, "jaw": numbers.copy(order="F"), "clip_id": "a", "later": None})
    assert first != row_xxh3({"clip_id": "a", "jaw": numbers.reshape(3, 2), "fps": 25.0})
    assert first != row_xxh3({"clip_id": "a", "jaw": numbers + 1, "fps": 25.0})


def test_who_lost_a_claim_commits_nothing(tmp_path, monkeypatch):
    """It had stood still for longer than its lease, and another has taken the video over."""
    monkeypatch.setattr(leases, "_file_system", lambda folder: ("fuse.sshfs", frozenset()))
    first_build(tmp_path)
    before = state(tmp_path)
    with claim_video(tmp_path, "german", "v") as ours:
        assert ours
        lock = tmp_path / ".staging/german/v.lock"
        other = replace(holder_of(lock), host="far-away", kernel="another", token="a" * 12)
        lock.write_text(json.dumps(asdict(other)))
        stage_media(tmp_path, "v_0", b"ours")
        with pytest.raises(ClaimLostError, match="on far-away"):
            commit_video(tmp_path, "german", "v", [row("v_0")], fingerprint="f3")
    assert lock.exists()
    assert state(tmp_path) == before

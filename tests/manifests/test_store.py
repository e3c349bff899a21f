"""Fragments, compaction and what a crash leaves."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multitalk.ground.files import sweep_temporary
from multitalk.manifests import open_dataset, paths
from multitalk.manifests.query import query
from multitalk.manifests.schema import MANIFEST, MANIFEST_FILE, SCHEMA_VERSION, VERSION_KEY
from multitalk.manifests.store import commit_fragment, committed, committed_videos, compact, read_manifest
from multitalk.manifests.tables import open_file, row_arrays

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def clip_row(clip_id, **columns):
    return {"clip_id": clip_id, "status": "ok", "created_at": NOW, **columns}


def motion_row(clip_id, frames=7, expressions=50, seed=0):
    rng = np.random.default_rng(seed)
    widths = {"expression": expressions, "jaw": 3, "eyes": 6, "rotation": 3, "translation": 3}
    arrays = {name: rng.normal(size=(frames, width)).astype(np.float32) for name, width in widths.items()}
    return {
        "clip_id": clip_id,
        "head_model": "canonical:0123",
        "fps": 25.0,
        "shape": rng.normal(size=10).astype(np.float32),
        "camera": np.array([1200.0, 256.0, 256.0], np.float32),
        "valid": np.arange(frames) != 2,
        "residual": np.where(np.arange(frames) != 2, 0.01, np.nan).astype(np.float32),
        **arrays,
    }


def commit(root, video_id, clips=2, language="german", fingerprint="f1", **columns):
    rows = [clip_row(f"{video_id}_{i}", **columns) for i in range(clips)]
    return commit_fragment(root, language, video_id, rows, fingerprint=fingerprint)


def clip_ids(root):
    return read_manifest(root, ["clip_id"])["clip_id"].to_pylist()


def test_a_fragment_holds_its_rows_with_the_full_schema(tmp_path):
    rows = [
        clip_row(
            "v_1", yaw_deg=[-5.0, 1.0, 7.5], tool_versions={"ffmpeg": "7", "av": "18"}, sharpness=float("nan")
        ),
        clip_row(
            "v_0",
            frame_count=np.float32(3),
            shot_changes=float("nan"),
            bbox={"top": 0.1, "bottom": 1, "left": 0, "right": 0.5},
            transcript="Grüße",
        ),
    ]
    place = commit_fragment(tmp_path, "german", "v", rows, motion_rows=[motion_row("v_1")], fingerprint="f1")
    assert place == tmp_path / "manifest/language=german/v.parquet"
    file = pq.ParquetFile(place)
    assert file.schema_arrow.equals(MANIFEST_FILE)
    assert "language" not in file.schema_arrow.names, "the folder has it"
    assert file.schema_arrow.metadata[VERSION_KEY] == str(SCHEMA_VERSION).encode()
    assert b"inter-ocular" in file.schema_arrow.field("face_size_px").metadata[b"meaning"]
    assert all(b"meaning" in field.metadata for field in file.schema_arrow)
    first, second = read_manifest(tmp_path).to_pylist()
    assert (first["clip_id"], second["clip_id"]) == ("v_0", "v_1")
    assert first["bbox"] == {"top": 0.1, "bottom": 1.0, "left": 0.0, "right": 0.5}
    assert first["transcript"] == "Grüße"
    assert (first["frame_count"], first["shot_changes"]) == (3, None)
    assert first["motion_path"] is None
    assert second["motion_path"] == "motion/language=german/v.parquet"
    assert second["yaw_deg"] == [-5.0, 1.0, 7.5]
    assert [(entry["key"], entry["value"]) for entry in second["tool_versions"]] == [
        ("av", "18"),
        ("ffmpeg", "7"),
    ]
    assert second["sharpness"] is None
    assert second["accepted"] is None
    assert {(row["language"], row["video_id"], row["config_fingerprint"]) for row in (first, second)} == {
        ("german", "v", "f1")
    }


@pytest.mark.parametrize(
    ("rows", "motion", "message"),
    [
        ([clip_row("a"), clip_row("a")], [], "two rows"),
        ([clip_row("a", video_id="other")], [], "another video"),
        ([clip_row("a", sharpnes=1.0)], [], "no such column: sharpnes"),
        ([clip_row("a", frame_count="many")], [], "column frame_count of clip 'a'"),
        ([clip_row("a", frame_count=1.5)], [], "column frame_count of clip 'a'"),
        ([clip_row("a", status=None)], [], "column status of clip 'a' is missing"),
        ([clip_row("a")], [motion_row("b")], "motion of 'b'"),
        ([], [], "no rows"),
    ],
)
def test_rows_that_do_not_fit_are_refused_before_anything_is_written(tmp_path, rows, motion, message):
    with pytest.raises(ValueError, match=message):
        commit_fragment(tmp_path, "german", "v", rows, motion_rows=motion, fingerprint="f1")
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize("name", ["../v", "a/b", "", "v.parquet", "x" * 129, "v\n", "ü"])
def test_unsafe_names_are_refused(tmp_path, name):
    with pytest.raises(paths.UnsafeNameError):
        commit(tmp_path, name)
    with pytest.raises(paths.UnsafeNameError):
        commit(tmp_path, "v", language=name)
    with pytest.raises(paths.UnsafeNameError):
        paths.clip_path(tmp_path, "german", name)


def test_committed_answers_before_and_after_compaction(tmp_path):
    commit(tmp_path, "_a", fingerprint="f1")
    commit(tmp_path, "part-0", fingerprint="f2")
    for _ in range(2):
        assert committed(tmp_path, "german", "_a") == "f1"
        assert committed(tmp_path, "german", "part-0") == "f2"
        assert committed(tmp_path, "german", "c") is None
        assert committed(tmp_path, "french", "_a") is None
        assert committed_videos(tmp_path, "german") == {"_a": "f1", "part-0": "f2"}
        assert clip_ids(tmp_path) == ["_a_0", "_a_1", "part-0_0", "part-0_1"]
        compact(tmp_path)
    assert [path.name for path in (tmp_path / "manifest/language=german").glob("*.parquet")] == [
        paths.PART_NAME
    ]


def test_a_video_committed_again_replaces_its_compacted_rows(tmp_path):
    commit(tmp_path, "a", clips=2)
    commit(tmp_path, "b")
    compact(tmp_path)
    commit(tmp_path, "a", clips=2, fingerprint="f2", transcript="new")
    for _ in range(2):
        assert clip_ids(tmp_path) == ["a_0", "a_1", "b_0", "b_1"]
        assert committed(tmp_path, "german", "a") == "f2"
        assert read_manifest(tmp_path)["transcript"].to_pylist() == ["new", "new", None, None]
        compact(tmp_path)


def test_bytes_do_not_depend_on_the_order_of_work(tmp_path):
    for root, order in ((tmp_path / "x", "abc"), (tmp_path / "y", "cab")):
        for video_id in order:
            commit(root, video_id)
            if video_id == "a":
                compact(root)
        compact(root)
    parts = [paths.part_path(tmp_path / name, "german").read_bytes() for name in "xy"]
    assert parts[0] == parts[1]


def test_a_change_rewrites_rows_and_keeps_what_is_committed(tmp_path):
    commit(tmp_path, "a")
    commit(tmp_path, "b", language="french")

    def accept(table):
        return table.set_column(
            table.schema.get_field_index("accepted"), MANIFEST.field("accepted"), [[True] * len(table)]
        )

    compact(tmp_path, accept)
    assert read_manifest(tmp_path, ["accepted"])["accepted"].to_pylist() == [True] * 4
    assert committed(tmp_path, "french", "b") == "f1"
    part = paths.part_path(tmp_path, "german")
    before = part.stat().st_ino
    compact(tmp_path, accept)
    assert part.stat().st_ino == before, "an equal result must not be written again"
    with pytest.raises(paths.DatasetError, match="keep every row"):
        compact(tmp_path, lambda table: table.slice(1))


def test_motion_and_landmarks_are_read_back_as_they_were(tmp_path):
    motion = [motion_row("v_1", frames=1, seed=1), motion_row("v_0")]
    points = np.random.default_rng(0).uniform(0, 512, (7, 478, 3)).astype(np.float16)
    points[2] = np.nan
    seen = np.linspace(0, 1, 14, dtype=np.float16).reshape(7, 2)
    landmarks = [{"clip_id": "v_0", "landmarks": points, "valid": np.arange(7) != 2, "confidence": seen}]
    rows = [clip_row("v_0"), clip_row("v_1")]
    commit_fragment(
        tmp_path, "german", "v", rows, motion_rows=motion, landmark_rows=landmarks, fingerprint="f1"
    )
    stored = pq.ParquetFile(paths.motion_path(tmp_path, "german", "v"))
    assert stored.num_row_groups == 2
    for index, row in enumerate([motion[1], motion[0]]):
        arrays = row_arrays(stored.read_row_group(index))
        assert arrays.pop("correction") is None
        assert arrays.pop("confidence") is None
        assert arrays.keys() == row.keys()
        for name, value in row.items():
            np.testing.assert_array_equal(arrays[name], value)
    back = row_arrays(pq.read_table(paths.landmarks_path(tmp_path, "german", "v"), partitioning=None))
    np.testing.assert_array_equal(back["landmarks"].reshape(-1, 478, 3), points)
    np.testing.assert_array_equal(back["valid"], landmarks[0]["valid"])
    np.testing.assert_array_equal(back["confidence"], seen)


def test_a_new_commit_without_motion_removes_the_old_one(tmp_path):
    commit_fragment(
        tmp_path, "german", "v", [clip_row("v_0")], motion_rows=[motion_row("v_0")], fingerprint="f1"
    )
    commit_fragment(tmp_path, "german", "v", [clip_row("v_0")], fingerprint="f2")
    assert not paths.motion_path(tmp_path, "german", "v").exists()
    assert read_manifest(tmp_path)["motion_path"].to_pylist() == [None]


def test_motion_takes_at_most_a_hundredth_of_the_vertices(tmp_path):
    rows = [motion_row(f"v_{i}", frames=129, expressions=100, seed=i) for i in range(10)]
    commit_fragment(
        tmp_path, "german", "v", [clip_row(row["clip_id"]) for row in rows], motion_rows=rows, fingerprint="f"
    )
    vertices = 10 * 129 * 5023 * 3 * 4
    assert paths.motion_path(tmp_path, "german", "v").stat().st_size < vertices / 100


def test_missing_and_damaged_datasets_say_so(tmp_path):
    with pytest.raises(paths.DatasetError, match="no dataset at"):
        read_manifest(tmp_path / "nothing")
    with pytest.raises(paths.DatasetError, match="no dataset at"):
        compact(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    place = commit(tmp_path, "v")
    place.write_bytes(place.read_bytes()[:-100])
    with pytest.raises(paths.DatasetError, match=r"v\.parquet is damaged"):
        read_manifest(tmp_path)
    with pytest.raises(paths.DatasetError, match="damaged"):
        committed(tmp_path, "german", "v")


def test_damage_within_a_file_is_told_with_its_name(tmp_path):
    rows = [clip_row("v_0")]
    place = commit_fragment(tmp_path, "german", "v", rows, motion_rows=[motion_row("v_0")], fingerprint="f")
    motion = paths.motion_path(tmp_path, "german", "v")
    open_dataset(tmp_path).motion("v_0")
    whole = motion.read_bytes()
    for torn in (whole[:4] + bytes(500) + whole[504:], whole[:-40] + b"\xff" * 32 + whole[-8:]):
        motion.write_bytes(torn)
        with pytest.raises(paths.DatasetError, match=r"motion/.*v\.parquet is damaged .*: delete it"):
            open_dataset(tmp_path).motion("v_0")
    whole = place.read_bytes()
    place.write_bytes(whole[:4] + bytes(2000) + whole[2004:])
    with pytest.raises(paths.DatasetError, match=r"manifest/.*v\.parquet is damaged .*: delete it"):
        read_manifest(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_file(tmp_path / "v.parquet")


def test_what_is_not_finite_is_null(tmp_path):
    nan, inf = float("nan"), float("inf")
    numbers = {"yaw_deg": [nan, 1.0, 2.0], "pitch_deg": [-inf, 1.0, 2.0], "snr_db": inf, "shot_changes": -inf}
    rows = [clip_row("v_0", roll_deg=[1.0, 2.0, 3.0]), clip_row("v_1"), clip_row("v_2", **numbers)]
    commit_fragment(tmp_path, "german", "v", rows, fingerprint="f")
    first, second, third = read_manifest(tmp_path, [*numbers, "roll_deg"]).to_pylist()
    assert first == {**dict.fromkeys(numbers), "roll_deg": [1.0, 2.0, 3.0]}
    assert second == third == dict.fromkeys(first)


def test_a_schema_from_the_future_is_refused_and_an_older_one_is_read(tmp_path):
    place = commit(tmp_path, "v")
    table = pq.read_table(place, partitioning=None)
    pq.write_table(table.drop_columns(["snr_db"]).replace_schema_metadata({VERSION_KEY: b"0"}), place)
    assert read_manifest(tmp_path)["snr_db"].to_pylist() == [None, None]
    pq.write_table(table.replace_schema_metadata({VERSION_KEY: b"99"}), place)
    with pytest.raises(paths.DatasetError, match="schema version 99"):
        read_manifest(tmp_path)


def test_offsets_of_schema_version_1_are_read_as_whole_frames_and_brought_up_to_date(tmp_path):
    for clip, offset in (("a_0", 2), ("a_1", -3), ("a_2", None)):
        commit_fragment(
            tmp_path, "german", f"v{clip}", [clip_row(clip, av_offset_frames=offset)], fingerprint="f"
        )
    compact(tmp_path)
    place = paths.part_path(tmp_path, "german")
    table = pq.ParquetFile(place).read()
    index = table.schema.get_field_index("av_offset_frames")
    old = table.set_column(index, "av_offset_frames", table["av_offset_frames"].cast(pa.float32()))
    metadata = {**pq.ParquetFile(place).schema_arrow.metadata, VERSION_KEY: b"1"}
    pq.write_table(old.replace_schema_metadata(metadata), place)
    assert read_manifest(tmp_path, ["av_offset_frames"])["av_offset_frames"].to_pylist() == [2, -3, None]
    answer = query(tmp_path, "SELECT av_offset_frames AS frames FROM clips ORDER BY clip_id")
    assert answer.schema.field("frames").type == pa.int32()
    assert answer["frames"].to_pylist() == [2, -3, None]
    compact(tmp_path, lambda rows: rows)
    stored = pq.ParquetFile(place).schema_arrow
    assert stored.field("av_offset_frames").type == pa.int32()
    assert stored.metadata[VERSION_KEY] == str(SCHEMA_VERSION).encode()
    assert committed(tmp_path, "german", "va_0") == "f"


def test_files_of_version_2_which_repeat_the_language_are_read_and_brought_up_to_date(tmp_path):
    for video_id, stage in (("a", "download"), ("b", "filters"), ("c", "trim")):
        commit(tmp_path, video_id, clips=1, stage=stage)
        if video_id == "a":
            compact(tmp_path)
    for place in (tmp_path / "manifest").rglob("*.parquet"):
        table = pq.ParquetFile(place).read()
        metadata = {**table.schema.metadata, VERSION_KEY: b"2"}
        language = pa.array(["german"] * len(table)).dictionary_encode()
        old = table.drop_columns(["stage_fingerprints", "audio_xxh3", "last_try_at"])
        pq.write_table(old.append_column("language", language).replace_schema_metadata(metadata), place)
    for _ in range(2):
        rows = read_manifest(tmp_path, ["language", "stage", "audio_xxh3"]).to_pylist()
        assert [(row["language"], row["stage"]) for row in rows] == [
            ("german", "source"),
            ("german", "speech"),
            ("german", "trim"),
        ]
        answer = query(tmp_path, "SELECT language, stage, audio_xxh3 FROM clips ORDER BY clip_id")
        assert answer.to_pylist() == rows
        compact(tmp_path, lambda rows: rows)
    assert pq.ParquetFile(paths.part_path(tmp_path, "german")).schema_arrow.equals(MANIFEST_FILE)


def test_leftovers_are_invisible_and_swept_once_old(tmp_path):
    place = commit(tmp_path, "v")
    leftover = place.with_name(".w.parquet.0123456789ab.tmp")
    leftover.write_bytes(b"half")
    other = tmp_path / "clips/german/.v_0.mp4.77.tmp"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"half")
    assert clip_ids(tmp_path) == ["v_0", "v_1"]
    assert sweep_temporary(tmp_path) == []
    editors = tmp_path / ".backup.tmp"
    editors.write_bytes(b"not ours")
    for old in (leftover, editors):
        os.utime(old, (time.time() - 7200,) * 2)
    assert sweep_temporary(tmp_path) == [leftover]
    assert editors.exists()
    assert other.exists()
    assert place.exists()


def in_process(function, root, *arguments):
    """Start a function of this file in a process of its own; fork would copy pyarrow's threads half-alive."""
    return subprocess.Popen([sys.executable, __file__, function.__name__, root, *map(str, arguments)])


def killed_while_unlinking(root):
    unlink = Path.unlink

    def die_on_second(self, missing_ok=False):
        if self.name == "b.parquet":
            os.kill(os.getpid(), signal.SIGKILL)
        unlink(self, missing_ok=missing_ok)

    Path.unlink = die_on_second
    compact(root)


def test_compaction_killed_half_way_leaves_each_clip_once(tmp_path):
    for video_id in "abc":
        commit(tmp_path, video_id)
    assert in_process(killed_while_unlinking, tmp_path).wait(30) == -signal.SIGKILL
    left = {path.name for path in (tmp_path / "manifest/language=german").glob("*.parquet")}
    assert left == {paths.PART_NAME, "b.parquet", "c.parquet"}
    expected = [f"{video_id}_{i}" for video_id in "abc" for i in range(2)]
    assert clip_ids(tmp_path) == expected
    assert committed_videos(tmp_path, "german") == dict.fromkeys("abc", "f1")
    compact(tmp_path)
    assert clip_ids(tmp_path) == expected


def commit_for_ever(root):
    for number in range(100_000):
        rows = [clip_row(f"v{number}_{i}") for i in range(3)]
        motion = [motion_row(row["clip_id"]) for row in rows]
        commit_fragment(root, "german", f"v{number}", rows, motion_rows=motion, fingerprint="f1")


def test_a_worker_killed_at_any_moment_leaves_whole_videos(tmp_path):
    for delay in (0.0, 0.013, 0.031, 0.047):
        root = tmp_path / str(delay)
        worker = in_process(commit_for_ever, root)
        while not (root / "manifest/language=german/v3.parquet").exists():
            time.sleep(0.005)
        time.sleep(delay)
        worker.kill()
        worker.wait()
        rows = read_manifest(root).to_pylist()
        videos = committed_videos(root, "german")
        assert len(rows) == 3 * len(videos) >= 12
        for row in rows:
            motion = pq.read_table(root / row["motion_path"], partitioning=None)
            assert row["clip_id"] in motion["clip_id"].to_pylist()
        sweep_temporary(root, min_age_sec=0)
        assert not list(root.rglob("*.tmp"))
        assert committed_videos(root, "german") == videos


def write_videos(root, worker):
    for number in range(8):
        commit(root, f"w{worker}-{number}", clips=3)
        if number % 4 == 3:
            compact(root)


def test_workers_commit_and_compact_while_a_reader_reads(tmp_path):
    commit(tmp_path, "first")
    workers = [in_process(write_videos, tmp_path, number) for number in range(2)]
    seen = 0
    while any(worker.poll() is None for worker in workers):
        ids = clip_ids(tmp_path)
        assert len(ids) == len(set(ids)), "a clip was seen twice"
        assert len(ids) >= seen, "a committed clip was not seen"
        seen = len(ids)
    assert [worker.returncode for worker in workers] == [0, 0]
    assert len(clip_ids(tmp_path)) == 2 + 2 * 8 * 3


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])

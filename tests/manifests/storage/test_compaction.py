"""Parts and fragments: each clip once, whatever is compacted, changed or killed in between."""

import multiprocessing
import shutil

import pyarrow as pa
import pytest

from multitalk.manifests import paths
from multitalk.manifests.clip_row import ClipRow
from multitalk.manifests.query import query
from multitalk.manifests.schema import MANIFEST, STAGES
from multitalk.manifests.store import (
    commit_fragment,
    commit_video,
    committed,
    committed_videos,
    compact,
    compact_videos,
    forget,
    read_manifest,
    read_videos,
)
from tests.manifests.killing import killed_at


def commit(root, video_id, text="old", clips=2, language="german", **columns):
    rows = [{"clip_id": f"{video_id}_{i}", "transcript": text, **columns} for i in range(clips)]
    commit_fragment(root, language, video_id, rows, fingerprint=f"of {text}")


def texts(root):
    """Transcript by clip, as every reader of ours sees it."""
    table = read_manifest(root, ["clip_id", "transcript"]).to_pydict()
    found = dict(zip(table["clip_id"], table["transcript"], strict=True))
    assert len(found) == len(table["clip_id"]), "a clip is there twice"
    rows = query(root, "SELECT clip_id, transcript FROM clips").to_pylist()
    assert sorted((row["clip_id"], row["transcript"]) for row in rows) == sorted(found.items())
    for language in paths.languages(root):
        videos = committed_videos(root, language)
        read = read_videos(root, language, videos)
        assert read.keys() == videos.keys()
        for video_id, rows in read.items():
            assert {row.clip_id: row.transcript for row in rows}.items() <= found.items()
            assert committed(root, language, video_id) == videos[video_id] == f"of {rows[0].transcript}"
    return found


def files(root, language="german"):
    return sorted(path.name for path in (root / f"manifest/language={language}").glob("*.parquet"))


def test_newer_parts_outrank_older_ones_and_fragments_outrank_all(tmp_path):
    for video_id in ("a", "b", "c"):
        commit(tmp_path, video_id)
    compact_videos(tmp_path, "german", ["a", "b", "never"])
    assert files(tmp_path) == ["c.parquet", "part-0.compacted.parquet"]
    commit(tmp_path, "a", "newer")
    compact_videos(tmp_path, "german", ["a"])
    commit(tmp_path, "b", "newest")
    commit(tmp_path, "d", language="thai")
    assert files(tmp_path) == [
        "b.parquet",
        "c.parquet",
        "part-0.compacted.parquet",
        "part-1.compacted.parquet",
    ]
    expected = {"a": "newer", "b": "newest", "c": "old", "d": "old"}
    for _ in range(2):
        assert texts(tmp_path) == {f"{video}_{i}": text for video, text in expected.items() for i in range(2)}
        compact(tmp_path)
    assert files(tmp_path) == ["part-0.compacted.parquet"]


def test_parts_are_in_the_order_of_their_numbers(tmp_path):
    for number in range(12):
        commit(tmp_path, "a", f"text {number}", clips=1)
        compact_videos(tmp_path, "german", ["a"])
    assert len(files(tmp_path)) == 12
    assert texts(tmp_path) == {"a_0": "text 11"}


@pytest.fixture
def amid(tmp_path):
    """Two parts that share a video, and two fragments, one of which replaces compacted rows."""
    root = tmp_path / "amid"
    for video_id in "abc":
        commit(root, video_id)
    compact_videos(root, "german", "ab")
    commit(root, "a", "newer")
    compact_videos(root, "german", "a")
    commit(root, "b", "newer")
    return root


EVERY_WAY = {
    "compact": compact,
    "compact videos": lambda root: compact_videos(root, "german", ["b", "c"]),
}


@pytest.mark.parametrize("step", EVERY_WAY.values(), ids=EVERY_WAY)
def test_a_compaction_killed_anywhere_leaves_each_clip_as_it_was(amid, tmp_path, monkeypatch, step):
    expected = texts(amid)
    for number in range(100):
        root = shutil.copytree(amid, tmp_path / str(number))
        with killed_at(monkeypatch, number) as dead:
            step(root)
        assert texts(root) == expected
        compact(root)
        assert texts(root) == expected
        assert files(root) == ["part-0.compacted.parquet"]
        if not dead:
            assert number > 5
            return
    raise AssertionError("it never ends")


def shout(table):
    index = table.schema.get_field_index("transcript")
    loud = pa.array([text.upper() for text in table["transcript"].to_pylist()])
    return table.set_column(index, MANIFEST.field(index), loud)


def test_a_change_killed_anywhere_is_made_wholly_or_not_at_all(amid, tmp_path, monkeypatch):
    before = read_manifest(amid, ["transcript"])["transcript"].to_pylist()
    after = [text.upper() for text in before]
    ends = []
    for number in range(100):
        root = shutil.copytree(amid, tmp_path / str(number))
        with killed_at(monkeypatch, number) as dead:
            compact(root, shout)
        ends.append([before, after].index(read_manifest(root, ["transcript"])["transcript"].to_pylist()))
        if not dead:
            break
    assert ends == sorted(ends)
    assert set(ends) == {0, 1}


def test_a_settled_language_is_not_read_when_there_is_nothing_to_change(tmp_path):
    commit(tmp_path, "a")
    compact(tmp_path)
    part = paths.part_path(tmp_path, "german")
    part.write_bytes(b"unread")
    compact(tmp_path)
    with pytest.raises(paths.DatasetError, match="damaged"):
        compact(tmp_path, lambda table: table)


def test_a_change_may_set_any_column_but_those_that_name_the_clip(tmp_path):
    commit(tmp_path, "a")
    for name in ("clip_id", "video_id"):
        index = MANIFEST.get_field_index(name)

        def rename(table, index=index):
            return table.set_column(index, MANIFEST.field(index), pa.array(["x_0", "x_1"]))

        with pytest.raises(paths.DatasetError, match="keep every row"):
            compact(tmp_path, rename)
    compact(tmp_path, shout)
    assert read_manifest(tmp_path, ["transcript"])["transcript"].to_pylist() == ["OLD", "OLD"]


def _commit_many(root, name):
    for number in range(12):
        commit(root, f"{name}{number}")
        if number % 3 == 2:
            compact_videos(root, "german", [f"{name}{i}" for i in range(number + 1)])


def test_workers_commit_and_compact_their_own_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_commit_many, args=(tmp_path, name)) for name in "vw"]
    for worker in workers:
        worker.start()
    seen = 0
    while any(worker.is_alive() for worker in workers):
        if (tmp_path / "manifest").exists():
            found = read_manifest(tmp_path, ["clip_id"])["clip_id"].to_pylist()
            assert len(found) == len(set(found)), "a clip was seen twice"
            assert len(found) >= seen, "a committed clip was not seen"
            seen = len(found)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(texts(tmp_path)) == 2 * 12 * 2


def _staged_video(root, video_id):
    prints = {stage: f"{stage} 1" for stage in STAGES}
    rows = [ClipRow(f"{video_id}_{i}", video_id, "german", stage_fingerprints=prints) for i in range(2)]
    commit_video(root, "german", video_id, rows, fingerprint="f1")


@pytest.mark.parametrize(
    ("stage", "left"),
    [
        ("source", set()),
        ("trim", {"source"}),
        ("landmarks", {"source", "trim", "speech", "language", "video_language", "transcript"}),
        ("fit", set(STAGES) - {"fit"}),
    ],
)
def test_forgetting_a_stage_keeps_the_row_and_what_does_not_depend_on_it(tmp_path, stage, left):
    for video_id in "abc":
        _staged_video(tmp_path, video_id)
    before = read_manifest(tmp_path).to_pylist()
    assert forget(tmp_path, "german", ["a", "b_1", "unknown"], stage=stage) == 3
    after = read_manifest(tmp_path).to_pylist()
    assert forget(tmp_path, "thai", ["a"]) == 0
    for old, new in zip(before, after, strict=True):
        if new["clip_id"] in {"a_0", "a_1", "b_1"}:
            assert {name for name, value in new["stage_fingerprints"].items() if value} == left
            assert new["config_fingerprint"] == ""
        else:
            assert new == old
        for name in ("stage_fingerprints", "config_fingerprint"):
            old.pop(name), new.pop(name)
        assert new == old
    assert committed_videos(tmp_path, "german") == {"a": "", "b": "", "c": "f1"}
    with pytest.raises(ValueError, match="no stage 'filters'"):
        forget(tmp_path, "german", ["a"], stage="filters")

"""One source video: what is fetched, made, kept and committed, and what a kill in the middle leaves behind."""

import json
import multiprocessing
import shutil

import pytest

from multitalk.extract.errors import ClipError, ErrorCode, Stage
from multitalk.flows.building import video as building
from multitalk.flows.building.pending import pending_videos
from multitalk.flows.building.plan import annotated_videos
from multitalk.flows.building.settings import build_settings
from multitalk.flows.building.stages import stage_fingerprints
from multitalk.flows.building.stored_clips import StoredClips
from multitalk.manifests import open_dataset, paths
from multitalk.manifests.releases.verify import verify
from multitalk.manifests.store import claim_video, compact, read_videos
from tests.flows.building.stand_ins import World, install

CLIP = {
    "youtube_id": "one", "duration": {"start_sec": 1, "end_sec": 2}, "language": "german",
    "bbox": {"top": 0, "bottom": 1, "left": 0, "right": 1},
}  # fmt: skip


@pytest.fixture
def world(monkeypatch):
    world = World({"one"})
    install(monkeypatch, world)
    return world


@pytest.fixture
def make(tmp_path):
    """Settings of a build of some clips."""

    def settings(clips=None, **values):
        (tmp_path / "annotations.json").write_text(json.dumps(clips or {"one_0": CLIP}))
        return build_settings(
            annotations=(str(tmp_path / "annotations.json"),), root=tmp_path / "dataset",
            source_url="http://127.0.0.1:9/{video_id}.mp4", **values,
        )  # fmt: skip

    return settings


def builder_of(settings):
    stored = StoredClips(settings.root, "german", ["one"])
    return building.VideoBuilder(settings, stage_fingerprints(settings), stored)


def build(settings):
    builder = builder_of(settings)
    (video,) = annotated_videos(settings)
    return builder.build(builder.fetch(video), lambda: None)


def rows(settings):
    return {row.clip_id: row for row in read_videos(settings.root, "german", ["one"]).get("one", [])}


def is_pending(settings):
    return bool(pending_videos(annotated_videos(settings), stage_fingerprints(settings), settings))


def test_a_download_is_gone_before_its_video_counts_as_done(make, world, monkeypatch):
    """No later run would come back for it."""
    settings = make()

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(building, "commit_video", killed)
    builder = builder_of(settings)
    (video,) = annotated_videos(settings)
    fetched = builder.fetch(video)
    raw = paths.raw_path(settings.root, "german", "one")
    assert raw.exists()
    with pytest.raises(KeyboardInterrupt):
        builder.build(fetched, lambda: None)
    assert not raw.exists()


def test_a_second_build_leaves_alone_what_the_first_has_built(make, world):
    """It had read the dataset before; the source has gone meanwhile; the rows were compacted."""
    settings = make()
    settings.root.mkdir()
    for merge in (False, True):
        shutil.rmtree(settings.root)
        world.there.add("one")
        second = builder_of(settings)
        assert build(settings).ok == 1
        if merge:
            compact(settings.root)
        before = rows(settings)
        world.there.clear()
        (video,) = annotated_videos(settings)
        outcome = second.build(second.fetch(video), lambda: None)
        assert (outcome.ok, outcome.failed) == (1, 0)
        assert rows(settings) == before
    assert verify(settings.root) == []


def test_a_video_that_another_process_works_on_is_left_to_it(make, world):
    settings = make()
    with claim_video(settings.root, "german", "one") as ours:
        assert ours
        outcome = build(settings)
        assert (outcome.ok, outcome.failed, outcome.kept) == (0, 0, 0)
        assert world.downloads == []
    assert build(settings).ok == 1


def test_a_source_that_vanishes_is_tried_by_the_next_run(make, world):
    """A file that somebody deleted between download and cut."""
    settings = make()
    builder = builder_of(settings)
    (video,) = annotated_videos(settings)
    fetched = builder.fetch(video)
    paths.raw_path(settings.root, "german", "one").unlink()
    builder.build(fetched, lambda: None)
    (row,) = rows(settings).values()
    assert row.status == "failed"
    assert ErrorCode(row.error_code).transient
    assert is_pending(settings)
    assert build(settings).ok == 1


def test_a_kept_source_needs_no_network(make, world):
    settings = make(keep_raw=True)
    build(settings)
    assert paths.raw_path(settings.root, "german", "one").exists()
    world.there.clear()
    changed = make({"one_0": CLIP, "one_1": CLIP | {"duration": {"start_sec": 3, "end_sec": 4}}},
                   trim={"crf": 30}, keep_raw=True)  # fmt: skip
    assert build(changed).ok == 2
    assert world.downloads == ["one"]
    other_source = make(download={"max_height": 480}, keep_raw=True)
    assert build(other_source).kept == 1
    assert world.downloads == ["one", "one"]


def test_a_source_is_removed_unless_it_is_to_be_kept(make, world):
    build(make())
    assert not list((make().root / "raw").rglob("*.mp4"))


def test_an_earlier_outcome_stays_where_the_source_has_gone(make, world):
    settings = make()
    build(settings)
    before, motion = rows(settings)["one_0"], open_dataset(settings.root).motion("one_0")
    world.there.clear()
    changed = make(trim={"crf": 30})
    outcome = build(changed)
    assert (outcome.ok, outcome.failed, outcome.kept) == (1, 0, 1)
    row = rows(changed)["one_0"]
    assert (row.status, row.clip_sha256, row.motion_xxh3) == ("ok", before.clip_sha256, before.motion_xxh3)
    assert (row.last_try_stage, row.last_try_error_code) == ("source", "video_unavailable")
    assert row.last_try_at is not None and "one" in row.last_try_error_message
    assert row.config_fingerprint == before.config_fingerprint
    assert row.attempts == before.attempts + 1
    assert (open_dataset(settings.root).motion("one_0")["expression"] == motion["expression"]).all()
    assert verify(settings.root) == []
    assert not is_pending(changed), "it is not asked for again and again"
    # Back to what it was: nothing to be done but to say so.
    downloads = list(world.downloads)
    build(settings)
    assert rows(settings)["one_0"].last_try_at is None
    assert not is_pending(settings)
    assert world.downloads == downloads


def test_a_clip_that_is_annotated_otherwise_keeps_its_row_where_that_can_not_be_had(make, world):
    """The row goes on to say of which interval its files are."""
    build(make())
    world.there.clear()
    moved = make({"one_0": CLIP | {"duration": {"start_sec": 5, "end_sec": 7}, "transcript": "anders"}})
    for _ in range(2):
        build(moved)
        row = rows(moved)["one_0"]
        assert (row.start_sec, row.end_sec, row.start_frame, row.status) == (1.0, 2.0, 25, "ok")
        assert not row.transcript
        assert row.last_try_error_code == "video_unavailable"
        assert not is_pending(moved)
    world.there.add("one")
    again = moved.model_copy(update={"retry": (ErrorCode.VIDEO_UNAVAILABLE,)})
    assert is_pending(again)
    build(again)
    row = rows(again)["one_0"]
    assert (row.start_sec, row.end_sec, row.start_frame, row.last_try_at) == (5.0, 7.0, 125, None)
    assert verify(again.root) == []


def test_a_fault_of_what_clips_share_takes_nothing_from_those_that_were_done(make, world):
    two = {"one_0": CLIP, "one_1": CLIP | {"duration": {"start_sec": 3, "end_sec": 4}}}
    build(make())
    world.breaks["one_1:sync"] = RuntimeError("odd")
    settings = make(two)
    build(settings)
    found = rows(settings)
    assert (found["one_0"].status, found["one_0"].last_try_stage) == ("ok", "sync")
    assert (found["one_1"].status, found["one_1"].error_code) == ("failed", "internal")
    build(settings)
    assert {row.status for row in rows(settings).values()} == {"ok"}


def test_motion_made_before_a_later_stage_failed_is_there_after_the_next_try(make, world):
    settings = make()
    world.breaks["one_0:speech"] = RuntimeError("odd")
    build(settings)
    assert rows(settings)["one_0"].stage == "speech"
    world.done.clear()
    build(settings)
    assert ("one_0", Stage.FIT) not in world.done, "done already"
    assert rows(settings)["one_0"].status == "ok"
    assert len(open_dataset(settings.root).motion("one_0")["valid"]) == 3
    assert verify(settings.root) == []


def test_landmarks_that_are_lost_are_tracked_anew_and_cost_no_motion(make, world):
    settings = make(speaking_score=False)
    build(settings)
    before = rows(settings)["one_0"]
    paths.landmarks_path(settings.root, "german", "one").unlink()
    refit = make(fit={"smooth_face": 0.7}, speaking_score=False)
    build(refit)
    # One more stage that reads landmarks alone, with none there.
    paths.landmarks_path(settings.root, "german", "one").unlink()
    build(make(fit={"smooth_face": 0.7}, speaking_score=False, redo=("sync",)))
    row = rows(refit)["one_0"]
    assert row.status == "ok" and row.motion_xxh3 not in (None, before.motion_xxh3)
    assert row.landmarks_xxh3 == before.landmarks_xxh3
    assert verify(settings.root) == []


def test_another_transcript_touches_only_what_reads_it(make, world):
    build(make())
    world.done.clear()
    settings = make({"one_0": CLIP | {"transcript": "anders"}})
    assert is_pending(settings)
    build(settings)
    assert world.done == [("one_0", Stage.TRANSCRIPT)]
    assert rows(settings)["one_0"].transcript == "anders"
    assert not is_pending(settings)


def test_another_transcript_of_a_clip_that_can_not_be_had_asks_for_nothing(make, world):
    world.there.clear()
    build(make())
    settings = make({"one_0": CLIP | {"transcript": "anders"}})
    build(settings)
    row = rows(settings)["one_0"]
    assert (row.error_code, row.transcript) == ("video_unavailable", "anders")
    assert world.downloads == ["one"]
    assert not is_pending(settings)


def test_stages_are_done_again_when_asked_and_what_can_not_be_had_is_let_be(make, world):
    two = {"one_0": CLIP, "one_1": CLIP | {"duration": {"start_sec": 99, "end_sec": 101}}}
    build(make(two))
    assert rows(make(two))["one_1"].error_code == "interval_outside_video"
    world.done.clear()
    world.there.clear()
    redo = make(two, redo=("fit",))
    assert is_pending(redo)
    build(redo)
    assert world.done == [("one_0", Stage.FIT)]
    assert world.downloads == ["one"]


def test_a_worker_that_died_again_and_again_takes_nothing(make, world):
    settings = make()
    build(settings)
    before = rows(settings)["one_0"]
    changed = make(fit={"smooth_face": 0.7})
    (video,) = annotated_videos(changed)
    error = ClipError(ErrorCode.INTERNAL, "the worker died", Stage.WORKER)
    assert builder_of(changed).give_up(video, error).kept == 1
    row = rows(changed)["one_0"]
    assert (row.status, row.motion_xxh3, row.last_try_stage) == ("ok", before.motion_xxh3, "worker")
    assert verify(settings.root) == []


def test_two_clips_of_one_interval(make, world):
    """Two faces, or the same twice: each has files of its own."""
    settings = make({"one_0": CLIP, "one_1": CLIP})
    assert build(settings).ok == 2
    assert len({row.clip_path for row in rows(settings).values()}) == 2
    assert verify(settings.root) == []


def _build_in_a_process(annotations, root, ready, results):
    patch = pytest.MonkeyPatch()
    install(patch, World({f"v{n}" for n in range(12)}))
    settings = build_settings(annotations=(annotations,), root=root, source_url="http://x/{video_id}.mp4")
    videos = annotated_videos(settings)
    stored = StoredClips(settings.root, "german", [video.file_id for video in videos])
    builder = building.VideoBuilder(settings, stage_fingerprints(settings), stored)
    ready.wait(60)
    outcomes = [builder.build(builder.fetch(video), lambda: None) for video in videos]
    compact(settings.root)
    results.put(sum(outcome.failed for outcome in outcomes))


def test_two_builds_at_the_same_time_lose_nothing(tmp_path):
    clips = {f"v{n}_{k}": CLIP | {"youtube_id": f"v{n}"} for n in range(12) for k in range(2)}
    (tmp_path / "annotations.json").write_text(json.dumps(clips))
    context = multiprocessing.get_context("spawn")
    ready, results = context.Event(), context.Queue()
    arguments = (str(tmp_path / "annotations.json"), tmp_path / "dataset", ready, results)
    both = [context.Process(target=_build_in_a_process, args=arguments) for _ in range(2)]
    for process in both:
        process.start()
    ready.set()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    assert [results.get(timeout=10) for _ in both] == [0, 0]
    found = open_dataset(tmp_path / "dataset").clips()
    assert sorted(found["clip_id"]) == sorted(clips)
    assert set(found["status"]) == {"ok"}
    assert verify(tmp_path / "dataset") == []

"""What is on the take-down list is not fetched, and ends as tombstones."""

import pytest

from multitalk.extract.annotations import Annotation, BoundingBox, InvalidAnnotation
from multitalk.extract.errors import ClipError, ErrorCode, Stage
from multitalk.flows.artifact import build_markdown
from multitalk.flows.building import source
from multitalk.flows.building import video as building
from multitalk.flows.building.pending import pending_videos
from multitalk.flows.building.plan import AnnotatedVideo
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.building.stages import stage_fingerprints
from multitalk.flows.building.stored_clips import StoredClips
from multitalk.flows.building.summary import summarise
from multitalk.manifests.store import read_manifest

ANNOTATION = Annotation(
    "gone42_1", "gone42", "german", 0.0, 1.0, 0, 25, BoundingBox(0.0, 1.0, 0.0, 1.0), "guten Tag"
)
VIDEO = AnnotatedVideo(
    "gone42", "gone42", "german", "http://127.0.0.1:9/gone42.mp4", (ANNOTATION,),
    (InvalidAnnotation("gone42_0", "gone42", "german", "no box"),),
)  # fmt: skip


def builder(settings):
    stored = StoredClips(settings.root, "german", ["gone42"])
    return building.VideoBuilder(settings, stage_fingerprints(settings), stored)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    def never(*_, **__):
        raise AssertionError("a listed video was fetched")

    monkeypatch.setattr(source, "download", never)
    (tmp_path / "takedown.txt").write_text("gone42 asked by the speaker\n")
    return BuildSettings(root=tmp_path)


def check_is_buried(settings):
    rows = read_manifest(settings.root).to_pylist()
    assert {(r["clip_id"], r["error_code"], r["transcript"]) for r in rows} == {
        ("gone42_0", "removed", None),
        ("gone42_1", "removed", None),
    }


def test_a_listed_video_is_refused_before_any_download_and_buried(settings):
    at_work = builder(settings)
    fetched = at_work.fetch(VIDEO)
    assert fetched.source is None
    (clip,) = fetched.clips
    assert (clip.row.error_code, clip.row.stage) == (ErrorCode.REMOVED, Stage.SOURCE)
    assert "asked by the speaker" in clip.row.error_message
    assert not ErrorCode.REMOVED.transient
    at_work.build(fetched, lambda: None)
    check_is_buried(settings)
    page = build_markdown(summarise(settings.root, built=1, skipped=0, seconds=1.0))
    assert "| removed |  | 2 | 1 | gone42_0 |" in page
    assert "423.2 hours" in page
    assert "| 16.25 |" in page


def test_of_a_video_only_listed_clips_are_left_out(settings, monkeypatch):
    (settings.root / "takedown.txt").write_text("clip:gone42_1 asked\n")
    fetched = builder(settings).fetch(VIDEO)
    with fetched.claim:
        assert fetched.source is None, "no other clip needs the source"
        assert [clip.row.error_code for clip in fetched.clips] == [ErrorCode.REMOVED]


def test_a_listed_video_under_which_workers_died_is_buried_all_the_same(settings):
    builder(settings).give_up(VIDEO, ClipError(ErrorCode.INTERNAL, "died", Stage.WORKER))
    check_is_buried(settings)


def test_a_buried_video_has_nothing_to_do(settings):
    """Nor with other settings, or where all is to be done again."""
    at_work = builder(settings)
    at_work.build(at_work.fetch(VIDEO), lambda: None)
    for changed in ({}, {"fit": {"smooth_face": 0.5}}, {"trim": {"crf": 30}}, {"redo": ("fit",)}):
        other = BuildSettings(root=settings.root, **changed)
        assert pending_videos([VIDEO], stage_fingerprints(other), other) == [], changed

"""What is on the take-down list is not fetched, and ends as tombstones."""

from types import SimpleNamespace

from multitalk.extract.errors import ErrorCode, Stage
from multitalk.flows.artifact import build_markdown
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.building.summary import summarise
from multitalk.flows.building.video import commit_failure, download_video
from multitalk.manifests.store import read_manifest


def test_a_listed_video_is_refused_before_any_download_and_buried(tmp_path, monkeypatch):
    def never(*_):
        raise AssertionError("a listed video was fetched")

    monkeypatch.setattr("multitalk.flows.building.video.download", never)
    (tmp_path / "takedown.txt").write_text("gone42 asked by the speaker\n")
    settings = BuildSettings(root=tmp_path)
    invalid = SimpleNamespace(clip_id="gone42_0", message="no box")
    video = SimpleNamespace(
        video_id="gone42",
        file_id="gone42",
        language="german",
        annotations=[_annotation("gone42_1")],
        invalid=[invalid],
        attempts=0,
        fingerprint="f",
    )
    error = download_video(video, settings)
    assert (error.code, error.stage) == (ErrorCode.REMOVED, Stage.SOURCE)
    assert "asked by the speaker" in str(error)
    assert not error.code.transient
    commit_failure(video, error, settings)
    rows = read_manifest(tmp_path).to_pylist()
    assert {(r["clip_id"], r["error_code"], r["transcript"]) for r in rows} == {
        ("gone42_0", "removed", None),
        ("gone42_1", "removed", None),
    }
    page = build_markdown(summarise(tmp_path, built=1, skipped=0, seconds=1.0))
    assert "| removed |  | 2 | 1 | gone42_0 |" in page
    assert "423.2 hours" in page
    assert "| 16.25 |" in page


def _annotation(clip_id):
    box = SimpleNamespace(as_dict=lambda: {"top": 0.0, "bottom": 1.0, "left": 0.0, "right": 1.0})
    return SimpleNamespace(
        clip_id=clip_id, start_sec=0.0, end_sec=1.0, start_frame=0, bbox=box, transcript="guten Tag"
    )

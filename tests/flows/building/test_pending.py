"""What has something to do: the same is said of one clip, and of all clips at once."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multitalk.extract.annotations import Annotation, BoundingBox, InvalidAnnotation
from multitalk.extract.errors import ErrorCode, Stage
from multitalk.flows.building.pending import adopt_older_rows, pending_videos
from multitalk.flows.building.plan import AnnotatedVideo
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.building.settled import Wanted, is_settled, try_fingerprint
from multitalk.flows.building.stages import configuration_fingerprint, stage_fingerprints
from multitalk.manifests.clip_row import ClipRow
from multitalk.manifests.store import claim_video, commit_video, read_manifest

BOX = BoundingBox(0.1, 0.9, 0.2, 0.8)
ANNOTATION = Annotation("v_0", "v", "german", 1.0, 3.0, 25, 50, BOX, "so")
VIDEO = AnnotatedVideo("v", "v", "german", "http://x/v.mp4", (ANNOTATION,), ())
WANTED = stage_fingerprints(BuildSettings())
STAGES = [str(stage) for stage in WANTED]
CODES = ["no_face", "network", "video_unavailable", "removed", "internal", "invalid_annotation"]


def done_row(**changes) -> ClipRow:
    row = ClipRow("v_0", "v", "german", VIDEO.source_url, 1.0, 3.0, 25, BOX.as_dict(), "so", "ok")
    row.config_fingerprint = configuration_fingerprint(WANTED)
    row.stage_fingerprints = {str(stage): value for stage, value in WANTED.items()}
    return replace(row, **changes)


def failed_row(stage, code, **changes) -> ClipRow:
    return done_row(status="failed", stage=str(stage), error_code=str(code), **changes)


def commit(root, row: ClipRow) -> None:
    with claim_video(root, row.language, row.video_id):
        commit_video(root, row.language, row.video_id, [row], fingerprint="f")


def is_pending(root, video=VIDEO, **changes) -> bool:
    chosen = BuildSettings(root=root, **changes)
    return pending_videos([video], WANTED, chosen) == [video]


@st.composite
def rows(draw):
    now = draw(st.sampled_from([1.0, 1.5]))
    row = done_row(start_sec=now, transcript=draw(st.sampled_from(["so", "anders", None])))
    row.source_url = draw(st.sampled_from([None, VIDEO.source_url, "http://old/v.mp4"]))
    row.config_fingerprint = draw(st.sampled_from([row.config_fingerprint, "other"]))
    for stage in draw(st.sets(st.sampled_from(STAGES), max_size=2)):
        row.stage_fingerprints[stage] = draw(st.sampled_from([None, "other"]))
    if draw(st.booleans()):
        row.status, row.error_code = "failed", draw(st.sampled_from(CODES))
        row.stage = draw(st.sampled_from([*STAGES, "annotation", "worker"]))
    if draw(st.booleans()):
        this = try_fingerprint(ANNOTATION, VIDEO, Wanted.by(BuildSettings(), WANTED))
        row.last_try_fingerprint = draw(st.sampled_from([this, "other"]))
        row.last_try_at = datetime.now(UTC)
        row.last_try_error_code = draw(st.sampled_from(CODES))
        row.last_try_stage = draw(st.sampled_from([*STAGES, "annotation", "worker"]))
    return row


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows(),
    st.sampled_from([(), ("fit",), ("source",), ("image", "sync")]),
    st.sampled_from([None, ("video_unavailable", "no_face"), ("removed",), ()]),
)
def test_the_same_is_said_of_one_clip_and_of_all(tmp_path_factory, row, redo, retry):
    root = tmp_path_factory.mktemp("dataset")
    commit(root, row)
    changes = {"redo": redo} | ({} if retry is None else {"retry": retry})
    chosen = BuildSettings(root=root, **changes)
    settled = is_settled(row, ANNOTATION, VIDEO, Wanted.by(chosen, WANTED))
    assert is_pending(root, **changes) is not settled


@pytest.mark.parametrize(
    ("row", "pending"),
    [
        (done_row(), False),
        (done_row(source_url="http://old/v.mp4"), False),
        (done_row(stage_fingerprints={**done_row().stage_fingerprints, "fit": "other"}), True),
        (failed_row(Stage.SOURCE, ErrorCode.VIDEO_UNAVAILABLE), False),
        (failed_row(Stage.SOURCE, ErrorCode.NETWORK), True),
        (failed_row(Stage.LANDMARKS, ErrorCode.NO_FACE), False),
        (failed_row(Stage.SOURCE, ErrorCode.VIDEO_UNAVAILABLE, source_url="http://old/v.mp4"), True),
        (failed_row(Stage.LANDMARKS, ErrorCode.NO_FACE, source_url="http://old/v.mp4"), False),
        (
            failed_row(
                Stage.LANDMARKS, ErrorCode.NO_FACE, config_fingerprint="other",
                stage_fingerprints={"landmarks": "other"},
            ),
            True,
        ),
        (done_row(start_sec=1.04), True),
        (done_row(bbox={**BOX.as_dict(), "top": 0.11}), True),
        (done_row(transcript="anders"), True),
    ],
)  # fmt: skip
def test_what_is_built_again(tmp_path, row, pending):
    commit(tmp_path, row)
    assert is_pending(tmp_path) is pending


def test_permanent_failures_are_tried_again_when_asked(tmp_path):
    commit(tmp_path, failed_row(Stage.SOURCE, ErrorCode.VIDEO_UNAVAILABLE))
    assert is_pending(tmp_path, retry=("video_unavailable",))


def test_stages_are_done_again_when_asked(tmp_path):
    commit(tmp_path, done_row())
    assert is_pending(tmp_path, redo=("fit",))


def test_what_failed_before_a_stage_is_not_touched_by_its_redo(tmp_path):
    commit(tmp_path, failed_row(Stage.SOURCE, ErrorCode.VIDEO_UNAVAILABLE))
    assert not is_pending(tmp_path, redo=("fit",))
    assert is_pending(tmp_path, redo=("source",))


def test_a_clip_of_another_language_or_video_is_another(tmp_path):
    """Somebody mended the language of an annotation: what was built under the wrong one is not it."""
    commit(tmp_path, done_row())
    greek = replace(ANNOTATION, language="greek")
    assert is_pending(tmp_path, replace(VIDEO, language="greek", annotations=(greek,)))
    other = replace(ANNOTATION, video_id="w")
    assert is_pending(tmp_path, replace(VIDEO, file_id="w", video_id="w", annotations=(other,)))


def test_an_invalid_annotation_is_told_once(tmp_path):
    bad = InvalidAnnotation("v_0", "v", "german", "no box")
    video = replace(VIDEO, annotations=(), invalid=(bad,))
    assert is_pending(tmp_path, video)
    row = failed_row("annotation", "invalid_annotation", error_message="no box")
    commit(tmp_path, replace(row, start_sec=None, end_sec=None, start_frame=None, bbox=None))
    assert not is_pending(tmp_path, video)
    assert is_pending(tmp_path, replace(video, invalid=(replace(bad, message="no language"),)))
    assert is_pending(tmp_path), "it is valid now"


def test_no_dataset_is_nothing_to_take_over(tmp_path):
    assert adopt_older_rows(tmp_path, WANTED) == 0
    assert is_pending(tmp_path)


def test_rows_that_no_stage_was_done_on_are_of_no_earlier_version(tmp_path):
    """Else each build would rewrite the manifest for them."""
    commit(tmp_path, failed_row("annotation", "invalid_annotation", stage_fingerprints=None))
    buried = done_row(status="failed", error_code="removed", stage_fingerprints=None)
    commit(tmp_path, replace(buried, clip_id="w_0", video_id="w"))
    assert adopt_older_rows(tmp_path, WANTED) == 0


def test_rows_of_an_earlier_version_are_taken_over_as_they_are(tmp_path):
    """A clip that came out well has all but what it has no columns of; one that failed has what it failed at."""
    wanted = {stage: value for stage, value in WANTED.items() if stage is not Stage.PERSONS}
    good = done_row(
        stage_fingerprints=None, config_fingerprint="old", clip_path="c", video_sync="unknown",
        fit_landmark_error=0.25, video_language="german", text_near_face=0.0,
    )  # fmt: skip
    commit(tmp_path, good)
    bad = failed_row(Stage.LANDMARKS, ErrorCode.NO_FACE, stage_fingerprints=None, config_fingerprint="old")
    commit(tmp_path, replace(bad, clip_id="w_0", video_id="w"))
    gone = failed_row(Stage.SOURCE, ErrorCode.NETWORK, stage_fingerprints=None, config_fingerprint="old")
    commit(tmp_path, replace(gone, clip_id="x_0", video_id="x"))
    assert adopt_older_rows(tmp_path, wanted) == 3
    assert adopt_older_rows(tmp_path, wanted) == 0
    found = {row.clip_id: row for row in ClipRow.from_arrow(read_manifest(tmp_path))}
    assert (found["v_0"].fit_landmark_error, found["v_0"].status) == (0.25, "ok")
    carried = {stage: value for stage, value in found["v_0"].stage_fingerprints.items() if value}
    assert carried == {str(stage): value for stage, value in wanted.items() if stage is not Stage.SPEAKING}
    failed = {stage for stage, value in found["w_0"].stage_fingerprints.items() if value}
    assert failed == {"source", "trim", "landmarks"}

    def named(name):
        clip = replace(ANNOTATION, clip_id=f"{name}_0", video_id=name)
        return replace(VIDEO, file_id=name, video_id=name, annotations=(clip,))

    def pending(wanted):
        videos = [named(name) for name in ("v", "w", "x")]
        return {video.file_id for video in pending_videos(videos, wanted, BuildSettings(root=tmp_path))}

    assert pending(wanted) == ({"x", "v"} if Stage.SPEAKING in wanted else {"x"})
    plain = {"speaking_score": False, "persons": False}
    assert pending(stage_fingerprints(BuildSettings(**plain))) == {"x"}
    assert pending(stage_fingerprints(BuildSettings(fit={"smooth_face": 0.7}, **plain))) == {"v", "x"}

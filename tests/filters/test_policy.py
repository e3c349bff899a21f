"""Policies: what a file may say, what is wrong with one that says something else, and the verdicts."""

import pytest

from multitalk.filters.policy import PolicyError, load_policy, policy_text, shipped_policies
from multitalk.filters.verdicts import (
    apply,
    compare_verdicts,
    evaluate_policy,
    explain_clip,
    explained_rows,
    metric_columns,
    waterfall,
    waterfall_by_language,
)
from multitalk.manifests.schema import MANIFEST
from multitalk.manifests.tables import manifest_table

GOOD = {
    "video_id": "v",
    "language": "german",
    "config_fingerprint": "f",
    "status": "ok",
    "duration_sec": 5.0,
    "transcript": "Guten Tag",
    "source_fps": 25.0,
    "source_scale": 1.2,
    "face_coverage": 1.0,
    "face_count_max": 1,
    "face_size_px": 120.0,
    "yaw_deg": [-12.0, 3.0, 15.0],
    "pitch_deg": [-8.0, 2.0, 9.0],
    "shot_changes": 0,
    "mouth_visibility": 1.0,
    "speech_ratio": 0.9,
    "clipping_ratio": 0.0,
    "annotated_language_probability": 0.95,
    "video_annotated_language_probability": 0.95,
    "av_correlation": 0.4,
    "av_offset_frames": -1.0,
    "av_confidence": 0.9,
    "video_sync": "yes",
    "mouth_open_range": 0.2,
    "eye_visibility": 1.0,
    "sharpness": 0.5,
    "frozen_ratio": 0.0,
    "text_near_face": 0.0,
    "snr_db": 25.0,
    "fit_landmark_error": 0.008,
    "fit_landmark_error_lips": 0.012,
}


def clips(*changes):
    return manifest_table([{**GOOD, "clip_id": f"c{i}", **change} for i, change in enumerate(changes)])


def policy(tmp_path, rules, head="name: test\ndescription: a test\n"):
    place = tmp_path / "policy.yaml"
    place.write_text(f"{head}rules:\n{rules}")
    return load_policy(place, MANIFEST)


def verdicts_of(policy, *changes):
    return evaluate_policy(policy, clips(*changes)).rejected_by().to_pylist()


RULE = (
    "  - {{name: r, reason: because, metric: {metric}, comparison: '{comparison}', threshold: {threshold}}}\n"
)


@pytest.mark.parametrize(
    ("metric", "comparison", "threshold", "passing", "failing"),
    [
        ("face_coverage", ">=", 0.95, {"face_coverage": 0.95}, {"face_coverage": 0.9499}),
        ("face_coverage", ">", 0.95, {"face_coverage": 0.951}, {"face_coverage": 0.95}),
        ("face_count_max", "<=", 1.5, {"face_count_max": 1}, {"face_count_max": 2}),
        ("face_count_max", "==", 1, {"face_count_max": 1}, {"face_count_max": 0}),
        ("yaw_deg.p95", "<", 20, {"yaw_deg": [0, 0, 19]}, {"yaw_deg": [0, 0, 20]}),
        ("transcript", "!=", "''", {"transcript": "x"}, {"transcript": ""}),
        ("language", "in", "[german, thai]", {"language": "thai"}, {"language": "french"}),
        (
            "detected_language",
            "not in",
            "[latin]",
            {"detected_language": "x"},
            {"detected_language": "latin"},
        ),
    ],
)
def test_comparisons_at_their_thresholds(tmp_path, metric, comparison, threshold, passing, failing):
    rule = policy(tmp_path, RULE.format(metric=metric, comparison=comparison, threshold=threshold))
    assert verdicts_of(rule, passing, failing) == [[], ["r"]]


def test_absolute_languages_missing_and_groups(tmp_path):
    rules = """
  - name: turned
    reason: r
    metric: yaw_deg.p50
    absolute: true
    comparison: "<="
    threshold: 30
    languages: {thai: 40}
  - {name: lenient, reason: r, metric: snr_db, comparison: ">=", threshold: 10, missing: accept}
  - {name: severe, reason: r, metric: sharpness, comparison: ">=", threshold: 1}
  - name: either
    reason: r
    any:
      - {metric: speaking_score, comparison: ">=", threshold: 1}
      - all:
          - {metric: av_correlation, comparison: ">=", threshold: 0.3}
          - {metric: av_offset_frames, absolute: true, comparison: "<=", threshold: 3}
"""
    rules = policy(tmp_path, rules)
    seen = {"sharpness": 2.0}
    assert verdicts_of(rules, seen, {}, {**seen, "snr_db": 9.0}) == [[], ["severe"], ["lenient"]]
    left = {**seen, "yaw_deg": [-40.0, -35.0, -30.0]}
    assert verdicts_of(rules, left, {**left, "language": "thai"}) == [["turned"], []]
    late = {**seen, "av_offset_frames": 9.0}
    assert verdicts_of(rules, late, {**late, "speaking_score": 2.0}) == [["either"], []]
    unknown = {**seen, "av_correlation": None}
    assert verdicts_of(rules, unknown) == [["either"]]
    assert metric_columns(rules) == [
        "av_correlation",
        "av_offset_frames",
        "language",
        "sharpness",
        "snr_db",
        "speaking_score",
        "status",
        "yaw_deg",
    ]


def test_a_failed_clip_is_rejected_by_its_status_alone():
    failed = {"status": "failed", "error_code": "no_face", "face_coverage": None}
    verdicts = evaluate_policy(load_policy("default", MANIFEST), clips(failed, {}))
    assert verdicts.rejected_by().to_pylist() == [["status"], []]
    assert verdicts.accepted.tolist() == [False, True]


PLANTED = [
    ({}, [], ["frame"]),
    (
        {"video_annotated_language_probability": 0.02, "annotated_language_probability": 0.02},
        ["language", "clip_language"],
        ["language", "clip_language"],
    ),
    ({"face_count_max": 2}, ["one_face"], []),
    ({"speech_ratio": 0.0, "annotated_language_probability": None}, ["speech"], []),
    ({"source_scale": 2.3}, [], ["resolution"]),
    ({"av_correlation": 0.05}, ["clip_sync"], ["sync"]),
    ({"mouth_visibility": None, "av_correlation": 0.5}, [], []),
    ({"av_correlation": 0.05, "av_confidence": 0.2}, [], ["sync"]),
    ({"video_sync": "no", "av_correlation": 0.3}, ["sync"], ["sync"]),
    ({"video_sync": "no", "av_correlation": 0.5, "av_offset_frames": 9}, ["sync"], ["sync"]),
    ({"video_sync": "no", "av_correlation": 0.5}, [], ["sync"]),
    ({"video_sync": "unknown"}, [], ["sync"]),
    ({"video_sync": None, "av_correlation": None, "mouth_open_range": None}, [], ["sync"]),
    ({"annotated_language_probability": 0.02}, ["clip_language"], ["clip_language"]),
    ({"video_annotated_language_probability": 0.02, "annotated_language_probability": 0.6}, ["language"], []),
    ({"video_annotated_language_probability": None}, [], ["language"]),
    ({"eye_visibility": 0.0}, ["eyes_visible"], ["eyes_visible"]),
    ({"mouth_visibility": 0.7}, ["mouth_visible"], ["mouth_visible"]),
    ({"sharpness": 0.25}, ["sharp"], ["sharp"]),
    ({"frozen_ratio": 0.5}, ["moves"], ["moves"]),
    ({"text_near_face": 0.02}, ["text"], ["text"]),
    ({"snr_db": 0.0}, ["noise"], ["noise"]),
    ({"mouth_open_range": 0.01}, ["lips_move"], []),
]


def test_shipped_policies_judge_as_the_planted_faults_ask():
    changes = [change for change, _, _ in PLANTED]
    default = verdicts_of(load_policy("default", MANIFEST), *changes)
    assert default == [expected for _, expected, _ in PLANTED]
    strict = verdicts_of(load_policy("strict", MANIFEST), *changes)
    assert strict[4] == ["resolution"]
    assert strict[5] == ["sync"]
    assert strict[0] == strict[6] == []
    paper = load_policy("multitalk-paper", MANIFEST)
    assert verdicts_of(paper, {}, {"transcript": ""}, {"source_fps": 23.976}) == [
        [],
        ["transcript"],
        ["frame_rate"],
    ]


def test_every_number_of_a_shipped_policy_has_a_reason():
    assert shipped_policies() == ["default", "imported", "multitalk-paper", "strict"]
    for name in shipped_policies():
        loaded = load_policy(name, MANIFEST)
        assert loaded.name == name
        assert all(len(rule.reason) > 20 for rule in loaded.rules)
        assert policy_text(name).startswith(f"name: {name}\n")


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            "  - {name: r, reason: x, metric: yaw, comparison: '<', threshold: 1}",
            "line 4: no metric 'yaw'.*yaw_deg",
        ),
        (
            "  - {name: r, reason: x, metric: yaw_deg, comparison: '<', threshold: 1}",
            "line 4: .*needs .p5, .p50",
        ),
        (
            "  - {name: r, reason: x, metric: snr_db.p5, comparison: '<', threshold: 1}",
            "line 4: .*not a number",
        ),
        (
            "  - name: r\n    reason: x\n    metric: snr_db\n    comparison: =<\n    threshold: 1",
            "line 7: comparison: ",
        ),
        (
            "  - name: r\n    reason: x\n    metric: snr_db\n    comparison: <\n    treshold: 1",
            "line 8: .*not permitted",
        ),
        ("  - {name: r, reason: x, metric: snr_db, comparison: '<'}", "line 4: .*comparison and a threshold"),
        ("  - {name: r, reason: x, metric: snr_db, comparison: '<', threshold: low}", "line 4: .*'low'"),
        (
            "  - {name: r, reason: x, metric: transcript, comparison: '<', threshold: a}",
            "line 4: .*compared as <",
        ),
        ("  - {name: r, reason: x, metric: language, comparison: in, threshold: thai}", "line 4: .*'thai'"),
        (
            "  - {name: r, reason: x, metric: accepted, comparison: '==', threshold: 1}",
            "line 4: .*compared as",
        ),
        ("  - {name: r, metric: snr_db, comparison: '<', threshold: 1}", "line 4: reason: Field required"),
        ("  - {name: Bad Name, reason: x, metric: snr_db, comparison: '<', threshold: 1}", "line 4: name: "),
        ("  - {name: r, reason: x}", "line 4: needs exactly one"),
        ("  - {name: r, reason: x, any: []}", "line 4: any: "),
        (
            "  - {name: r, reason: x, any: [{metric: fps, comparison: <, threshold: 1}], missing: accept}",
            "in a group",
        ),
        (RULE.format(metric="snr_db", comparison="<", threshold=1) * 2, "two rules are called 'r'"),
        (
            "  - {name: status, reason: x, metric: snr_db, comparison: '<', threshold: 1}",
            "two rules are called 'status'",
        ),
        ("  - name: r\n    name: s", "line 5: 'name' is given twice"),
        ("  - [unclosed", "line 5: "),
        ("  - name: r\n    reason: bell\x07", "line 5: the character #x07"),
        ("  - &a [*a]", "line 4: this holds itself"),
        ("  - " + "[" * 3000, "too deep"),
        ("  !!python/object/apply:os.system [true]", "line 4: could not determine a constructor"),
    ],
)
def test_a_wrong_policy_is_refused_with_the_line(tmp_path, rules, message):
    with pytest.raises(PolicyError, match=r"policy\.yaml, " + f"(?s:.*){message}"):
        policy(tmp_path, rules + "\n")


@pytest.mark.parametrize(
    ("metric", "comparison", "threshold"),
    [
        ("snr_db.mean", "<", 1),
        ("shot_changes.max", "<=", 0),
        ("rejected_by", "==", "x"),
        ("rejected_by", "in", "[x]"),
        ("created_at", "==", "'2024'"),
        ("bbox", "==", "x"),
        ("tool_versions", "==", "x"),
    ],
)
def test_what_can_not_be_compared_is_refused(tmp_path, metric, comparison, threshold):
    rule = RULE.format(metric=metric, comparison=comparison, threshold=threshold)
    with pytest.raises(PolicyError, match=f"line 4: '{metric}' is not a number or text"):
        policy(tmp_path, rule)


def test_missing_and_empty_files_are_explained(tmp_path):
    with pytest.raises(PolicyError, match=r"no policy 'defalt'.*default, imported, multitalk-paper, strict"):
        load_policy("defalt", MANIFEST)
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(PolicyError, match="line 1: "):
        load_policy(tmp_path / "empty.yaml", MANIFEST)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PolicyError, match="no policy"):
        load_policy(tmp_path / "binary.yaml", MANIFEST)
    with pytest.raises(PolicyError, match=r"policy\.yaml: one of its values can not be read: month must be"):
        policy(tmp_path, "  - 2024-13-45\n")


def test_apply_fills_the_two_columns_and_nothing_else():
    before = clips({}, {"face_count_max": 2, "speech_ratio": 0.1}, {"status": "failed"})
    after = apply(load_policy("default", MANIFEST), before)
    assert after.schema.equals(MANIFEST)
    assert after["accepted"].to_pylist() == [True, False, False]
    assert after["rejected_by"].to_pylist() == [[], ["one_face", "speech"], ["status"]]
    assert after.drop_columns(["accepted", "rejected_by"]).equals(
        before.drop_columns(["accepted", "rejected_by"])
    )
    assert apply(load_policy("default", MANIFEST), before.slice(0, 0)).num_rows == 0


def test_the_waterfall_counts_first_alone_and_all():
    table = clips(
        {},
        {"face_count_max": 2},
        {"face_count_max": 2, "speech_ratio": 0.1},
        {"speech_ratio": 0.1, "language": "thai"},
    )
    verdicts = evaluate_policy(load_policy("default", MANIFEST), table)
    result = waterfall(verdicts)
    assert (result.clips, result.accepted) == (4, 1)
    counts = {row.rule: (row.first, row.alone, row.all) for row in result.rows if row.all}
    assert counts == {"one_face": (2, 1, 2), "speech": (1, 1, 2)}
    assert sum(row.first for row in result.rows) == result.clips - result.accepted
    rows = explained_rows(load_policy("default", MANIFEST), result)
    assert [row["rule"] for row in rows][:2] == ["status", "duration"]
    assert "no word" in str(rows[1]["reason"])
    by_language = waterfall_by_language(verdicts, table)
    assert {name: (part.clips, part.accepted) for name, part in by_language.items()} == {
        "german": (3, 1),
        "thai": (1, 0),
    }


def test_explain_says_what_each_rule_found():
    outcomes = explain_clip(
        load_policy("default", MANIFEST), clips({"yaw_deg": [-60, -51.25, 3], "mouth_visibility": None})
    )
    by_rule = {outcome.rule: outcome for outcome in outcomes}
    assert [name for name, outcome in by_rule.items() if not outcome.holds] == ["frontal"]
    assert by_rule["frontal"].what == "|yaw_deg.p50| = 51.25, asked <= 45"
    assert by_rule["mouth_visible"].what == "mouth_visibility was not measured, which the rule accepts"
    assert "far corner of the mouth" in by_rule["frontal"].reason
    failed = clips({"status": "failed", "error_code": "no_face", "error_message": "no face in 97 frames"})
    [outcome] = explain_clip(load_policy("default", MANIFEST), failed)
    assert not outcome.holds
    assert outcome.what == "status = failed (no_face): no face in 97 frames"


def test_two_policies_are_compared():
    table = clips({}, {"source_scale": 3.0}, {"face_count_max": 2}, {"yaw_deg": [0, 50, 60]})
    names = ("default", "multitalk-paper")
    result = compare_verdicts(*(evaluate_policy(load_policy(name, MANIFEST), table) for name in names))
    assert (result.both, result.neither) == (2, 1)
    assert result.lost.tolist() == [False] * 4
    assert result.gained.tolist() == [False, False, False, True]

import csv
import io
import json

import numpy as np
import pytest

from multitalk.eval.motion.catalog import METRICS
from multitalk.eval.motion.pooling import Bootstrap, ClipScore, paired_tests, pool
from multitalk.eval.tables import Table

LVE, RMS = METRICS["lve_l2"], METRICS["lve_rms"]


def score(clip, language, frames, mm, source=None, name="lve_l2", power=1):
    return ClipScore(clip, language, source or clip, frames, {name: (mm / 1000) ** power})


def by(figures, pooling, group="all"):
    return next(f for f in figures if (f.pooling, f.group) == (pooling, group))


def test_three_poolings_are_three_numbers():
    scores = [
        score("a", "german", 100, 2.0),
        score("b", "german", 300, 6.0),
        score("c", "greek", 100, 1.0),
    ]
    figures = pool(scores, [LVE], Bootstrap())
    assert by(figures, "frame").value == pytest.approx((200 + 1800 + 100) / 500)
    assert by(figures, "clip").value == pytest.approx(3)
    assert by(figures, "language").value == pytest.approx((4 + 1) / 2)
    assert by(figures, "frame", "german").value == pytest.approx(5)
    assert by(figures, "clip", "greek").value == pytest.approx(1)
    unknown = pool([*scores, score("d", "", 10, 7.0)], [LVE], Bootstrap())
    assert by(unknown, "clip", "unknown").value == pytest.approx(7)
    assert (by(figures, "clip").clips, by(figures, "clip").frames) == (3, 500)


def test_a_root_is_taken_after_pooling_frames_and_before_pooling_clips():
    scores = [
        score("a", "", 10, 3.0, name="lve_rms", power=2),
        score("b", "", 10, 4.0, name="lve_rms", power=2),
    ]
    figures = pool(scores, [RMS], Bootstrap())
    assert by(figures, "frame").value == pytest.approx(np.sqrt(12.5))
    assert by(figures, "clip").value == pytest.approx(3.5)


def test_undefined_clips_are_left_out_and_counted():
    scores = [score("a", "", 10, 3.0), score("b", "", 10, float("nan"))]
    figure = by(pool(scores, [LVE], Bootstrap()), "clip")
    assert (figure.value, figure.clips) == (3, 1)
    assert pool(scores[1:], [LVE], Bootstrap()) == []


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(100):
        values = rng.normal(10, 2, size=40)
        figure = by(
            pool([score(str(k), "", 10, v) for k, v in enumerate(values)], [LVE], Bootstrap(300, seed=trial)),
            "clip",
        )
        held += figure.low <= 10 <= figure.high
    assert 86 <= held <= 100


def test_clips_of_one_video_are_drawn_together():
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(10, 2, size=10), 20)
    apart = [score(str(k), "", 10, v) for k, v in enumerate(values)]
    together = [score(str(k), "", 10, v, source=str(k // 20)) for k, v in enumerate(values)]
    narrow, wide = (by(pool(s, [LVE], Bootstrap()), "clip") for s in (apart, together))
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)
    alone = by(pool([score("a", "", 10, 1.0, "v"), score("b", "", 10, 2.0, "v")], [LVE], Bootstrap()), "clip")
    assert np.isnan(alone.low), "one source video tells nothing about others"


def test_paired_tests_see_a_small_but_steady_difference():
    rng = np.random.default_rng(0)
    base = rng.normal(10, 3, size=30)
    models = {
        "a": [score(str(k), "", 10, v) for k, v in enumerate(base)],
        "b": [score(str(k), "", 10, v + 0.2 + rng.normal(0, 0.1)) for k, v in enumerate(base)],
        "c": [score(str(k), "", 10, v) for k, v in enumerate(base)],
    }
    tests = {(t.model, t.other): t for t in paired_tests(models, [LVE], Bootstrap())}
    assert tests["a", "b"].p_value < 1e-4
    assert tests["a", "b"].high < 0
    assert tests["a", "b"].difference == pytest.approx(-0.2, abs=0.05)
    assert tests["a", "c"].p_value == 1
    # Holm: the smallest of three is multiplied by three
    smallest = min(tests.values(), key=lambda t: t.p_value)
    assert smallest.adjusted == pytest.approx(3 * smallest.p_value)


def test_paired_tests_use_the_clips_that_both_have():
    models = {
        "a": [score(str(k), "", 10, k + 1.0) for k in range(5)],
        "b": [score(str(k), "", 10, k + 2.0) for k in range(3, 9)],
    }
    (test,) = paired_tests(models, [LVE], Bootstrap())
    assert (test.clips, test.difference) == (2, pytest.approx(-1))
    models["b"] = models["b"][2:]
    assert paired_tests(models, [LVE], Bootstrap()) == []


TABLE = Table("A | title", ("name", "value", "n"), (("x_1|50%", 0.123456, 3), ("é", float("nan"), None)))


def test_the_same_table_in_every_format():
    assert "0.1235" in TABLE.text("terminal")
    markdown = TABLE.text("markdown").splitlines()
    assert markdown[2:] == [
        "| name | value | n |",
        "| --- | ---: | ---: |",
        "| x_1\\|50% | 0.1235 | 3 |",
        "| é | - | - |",
    ]
    rows = list(csv.reader(io.StringIO(TABLE.text("csv"))))
    assert rows[1] == ["x_1|50%", "0.123456", "3"]
    latex = TABLE.text("latex")
    assert r"x\_1|50\% & 0.1235 & 3 \\" in latex
    assert r"\begin{tabular}{lrr}" in latex
    content = json.loads(TABLE.text("json"))
    assert content["rows"] == [
        {"name": "x_1|50%", "value": 0.123456, "n": 3},
        {"name": "é", "value": None, "n": None},
    ]


def test_rows_must_fit_their_columns():
    with pytest.raises(ValueError, match="2 cells under 1 columns"):
        Table("t", ("a",), ((1, 2),))


def test_names_with_brackets_stay_what_they_are():
    table = Table("a [b]", ("metric", "run[/old]", "talker [v2]"), (("lve", 1.0, 2.0),))
    shown = table.text("terminal")
    assert "a [b]" in shown
    assert "run[/old]" in shown
    assert "talker [v2]" in shown

from pathlib import Path

import pytest

from multitalk.extract.errors import Stage
from multitalk.flows.building import build, stages
from multitalk.flows.building.settings import BuildSettings


@pytest.mark.parametrize(
    ("settings", "weights", "notes"),
    [({}, None, 1), ({}, Path("weights"), 0), ({"speaking_score": False}, None, 0)],
    ids=["absent", "present", "not wanted"],
)
def test_absent_weights_are_told_of_once_for_the_run(monkeypatch, settings, weights, notes):
    monkeypatch.setattr(build, "find", lambda name: weights)
    told = build._missing_measures(BuildSettings(persons=False, screen_text=False, **settings))
    assert len(told) == notes
    assert all("multitalk assets fetch lr_asd" in note for note in told)


def test_weights_that_come_later_measure_their_column_and_nothing_else(monkeypatch):
    monkeypatch.setattr(stages, "find", lambda name: None)
    before = stages.stage_fingerprints(BuildSettings())
    assert before == stages.stage_fingerprints(
        BuildSettings(speaking_score=False, persons=False, screen_text=False)
    )
    monkeypatch.setattr(stages, "find", lambda name: Path("weights"))
    after = stages.stage_fingerprints(BuildSettings())
    assert {stage: after[stage] for stage in before} == before
    assert set(after) - set(before) == {Stage.SPEAKING, Stage.PERSONS, Stage.TEXT}


def test_persons_that_cannot_be_told_apart_are_told_of(monkeypatch):
    monkeypatch.setattr(stages, "find", lambda name: None)
    (told,) = build._missing_measures(BuildSettings(speaking_score=False, screen_text=False))
    assert "face_descriptor" in told
    assert not build._missing_measures(BuildSettings(speaking_score=False, persons=False, screen_text=False))


def test_who_does_not_want_persons_told_apart_has_no_such_stage():
    assert Stage.PERSONS in stages.stage_fingerprints(BuildSettings())
    assert Stage.PERSONS not in stages.stage_fingerprints(BuildSettings(persons=False))


def test_text_near_faces_that_cannot_be_found_is_told_of(monkeypatch):
    monkeypatch.setattr(build, "find", lambda name: None)
    (told,) = build._missing_measures(BuildSettings(speaking_score=False, persons=False))
    assert "text_detector" in told
    assert Stage.TEXT not in stages.stage_fingerprints(BuildSettings(screen_text=False))

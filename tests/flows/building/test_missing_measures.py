from pathlib import Path

import pytest

from multitalk.flows import build_dataset
from multitalk.flows.building.settings import BuildSettings


@pytest.mark.parametrize(
    ("settings", "weights", "notes"),
    [({}, None, 1), ({}, Path("weights"), 0), ({"speaking_score": False}, None, 0)],
    ids=["absent", "present", "not wanted"],
)
def test_absent_weights_are_told_of_once_for_the_run(monkeypatch, settings, weights, notes):
    monkeypatch.setattr(build_dataset, "find", lambda name: weights)
    told = build_dataset._missing_measures(BuildSettings(**settings))
    assert len(told) == notes
    assert all("multitalk assets fetch lr_asd" in note for note in told)


def test_whether_the_weights_are_there_builds_nothing_anew():
    assert BuildSettings(speaking_score=False).fingerprint() == BuildSettings().fingerprint()

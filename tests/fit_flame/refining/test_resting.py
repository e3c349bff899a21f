import numpy as np
import torch

from multitalk.fit_flame.heads.arkit import RESTING, arkit_rules
from multitalk.fit_flame.refining.resting import rested
from multitalk.ground.arkit_names import ARKIT

WIDE, SHUT, SMILE = (ARKIT.index(name) for name in ("eyeWideLeft", "eyeBlinkLeft", "mouthSmileLeft"))
RULES = arkit_rules(10, np.ones(8, np.float32), 0.001)


def _course(**courses: list[float]) -> torch.Tensor:
    expression = torch.zeros(len(next(iter(courses.values()))), len(ARKIT))
    for name, course in courses.items():
        expression[:, ARKIT.index(name)] = torch.tensor(course)
    return expression


def _rested(*clips: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    return rested(RULES, torch.zeros(10 + len(RESTING)), clips, [np.ones(len(clip), bool) for clip in clips])


def _borne(shape: torch.Tensor, name: str) -> float:
    return float(shape[10 + RESTING.index(name)]) * RULES.resting_sigma


def test_wide_lids_are_the_persons_and_a_blink_says_nothing_of_them():
    shape, [found] = _rested(_course(eyeWideLeft=[0.5] * 6 + [0.0] * 4, eyeBlinkLeft=[0.0] * 6 + [0.7] * 4))
    assert np.isclose(_borne(shape, "eyeWideLeft"), 0.5)
    assert found[:, WIDE].max() < 1e-6
    assert (found[:, SHUT] == torch.tensor([0.0] * 6 + [0.7] * 4)).all()


def test_a_smile_that_comes_and_goes_stays_an_expression():
    shape, [found] = _rested(_course(mouthSmileLeft=[0.2] * 5 + [0.8] * 5))
    assert np.isclose(_borne(shape, "mouthSmileLeft"), 0.2)
    assert np.isclose(float(found[-1, SMILE]), 0.6)


def test_a_face_rests_as_it_does_over_all_of_its_clips():
    shape, found = _rested(_course(mouthSmileLeft=[0.7] * 10), _course(mouthSmileLeft=[0.2] * 10))
    assert np.isclose(_borne(shape, "mouthSmileLeft"), 0.2)
    assert np.isclose(float(found[0][0, SMILE]), 0.5)


def test_eyes_that_are_always_shut_widen_nothing():
    shape, _ = _rested(_course(eyeBlinkLeft=[0.7] * 10))
    assert _borne(shape, "eyeWideLeft") == 0

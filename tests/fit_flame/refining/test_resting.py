import numpy as np
import torch

from multitalk.fit_flame.heads.arkit import RESTING, arkit_rules
from multitalk.fit_flame.refining.resting import rested
from multitalk.fit_flame.solving.residuals import ClipState, FrameState
from multitalk.ground.arkit_names import ARKIT

WIDE, SHUT, SMILE = (ARKIT.index(name) for name in ("eyeWideLeft", "eyeBlinkLeft", "mouthSmileLeft"))
RULES = arkit_rules(10, np.ones(8, np.float32), 0.001)


def _fit(**courses: list[float]) -> tuple[ClipState, FrameState, torch.Tensor]:
    frames = len(next(iter(courses.values())))
    expression = torch.zeros(1, frames, len(ARKIT))
    for name, course in courses.items():
        expression[0, :, ARKIT.index(name)] = torch.tensor(course)
    turn = torch.eye(3).expand(1, frames, 3, 3)
    frame = FrameState(expression, turn, turn, torch.zeros(1, frames, 2), torch.zeros(1, frames))
    return (
        ClipState(torch.zeros(1, 10 + len(RESTING)), torch.ones(1)),
        frame,
        torch.ones(1, frames, dtype=bool),
    )


def _borne(clip: ClipState, name: str) -> float:
    return float(clip.shape[0, 10 + RESTING.index(name)]) * RULES.resting_sigma


def test_wide_lids_are_the_persons_and_a_blink_says_nothing_of_them():
    clip, frame, valid = _fit(eyeWideLeft=[0.5] * 6 + [0.0] * 4, eyeBlinkLeft=[0.0] * 6 + [0.7] * 4)
    clip, frame = rested(RULES, clip, frame, valid)
    assert np.isclose(_borne(clip, "eyeWideLeft"), 0.5)
    assert frame.expression[0, :, WIDE].max() < 1e-6
    assert (frame.expression[0, :, SHUT] == torch.tensor([0.0] * 6 + [0.7] * 4)).all()


def test_a_smile_that_comes_and_goes_stays_an_expression():
    clip, frame, valid = _fit(mouthSmileLeft=[0.2] * 5 + [0.8] * 5)
    clip, frame = rested(RULES, clip, frame, valid)
    assert np.isclose(_borne(clip, "mouthSmileLeft"), 0.2)
    assert np.isclose(float(frame.expression[0, -1, SMILE]), 0.6)


def test_eyes_that_are_always_shut_widen_nothing():
    clip, frame, valid = _fit(eyeBlinkLeft=[0.7] * 10)
    clip, frame = rested(RULES, clip, frame, valid)
    assert _borne(clip, "eyeWideLeft") == 0

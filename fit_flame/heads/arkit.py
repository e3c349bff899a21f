"""ARKit's 52 blend shapes on a head: which of them belong together, and what they must keep to."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.heads.expression_rules import ExpressionRules
from multitalk.ground.arkit_names import ARKIT

GAZE = tuple(name for name in ARKIT if name.startswith("eyeLook"))
"""What follows from where the eyes look."""

RESTING = tuple(
    name
    for name in ARKIT
    if not name.startswith(("eyeBlink", "eyeLook")) and name not in ("jawOpen", "tongueOut")
)
"""What of a weight a person's face may bear at rest, as part of its shape."""
RESTING_SIGMA = 0.25
"""Standard deviation of such a part."""

_PULL, _PRECISION = 12.0, 1.0
_OPPOSED = (
    *(("jawLeft", "jawRight"), ("mouthLeft", "mouthRight")),
    *(("mouthSmileLeft", "mouthFrownLeft"), ("mouthSmileRight", "mouthFrownRight")),
    *(("eyeBlinkLeft", "eyeWideLeft"), ("eyeBlinkRight", "eyeWideRight")),
    *(("browDownLeft", "browOuterUpLeft"), ("browDownRight", "browOuterUpRight")),
    *(("mouthRollLower", "mouthShrugLower"), ("mouthRollUpper", "mouthShrugUpper")),
    *(("mouthRollLower", "mouthLowerDownLeft"), ("mouthRollLower", "mouthLowerDownRight")),
)
_FIRST = (
    "jawOpen",
    "mouthClose",
    "mouthFunnel",
    "mouthPucker",
    "mouthSmile",
    "eyeBlink",
    "browInnerUp",
    "browDown",
)
"""What faces do most: taken before shapes that could do nearly the same."""
_LAST = (
    *("jawForward", "jawLeft", "jawRight", "cheek", "noseSneer", "mouthShrug", "mouthDimple", "mouthStretch"),
    *("mouthPress", "mouthLeft", "mouthRight"),
)
"""What they do least, or what a single view hardly shows."""
_FIRST_PULL, _LAST_PULL = 0.3, 3.0


def arkit_rules(first_resting: int, gaze_angles: npt.NDArray[np.float32], eye_step: float) -> ExpressionRules:
    """Rules of ARKit's weights: 0 to 1, sparse, no lips that close without an open jaw, gaze and tongue at rest.

    `first_resting` is the number of the shape direction that bears the first of `RESTING`, `gaze_angles` (8,) are
    the radians that an eyeball turns at weight 1 of each of `GAZE`; the two shape directions before set the eyeballs
    back by `eye_step` metres.
    """
    count = len(ARKIT)
    upper = np.ones(count, np.float32)
    upper[[ARKIT.index(name) for name in (*GAZE, "tongueOut")]] = 0
    pull = np.full(count, _PULL, np.float32)
    for names, factor in ((_FIRST, _FIRST_PULL), (_LAST, _LAST_PULL)):
        pull[[k for k, name in enumerate(ARKIT) if name.startswith(names)]] = factor * _PULL
    opposed = np.array([[ARKIT.index(name) for name in pair] for pair in _OPPOSED], np.int64)
    resting = np.full(count, -1, np.int64)
    resting[[ARKIT.index(name) for name in RESTING]] = first_resting + np.arange(len(RESTING))
    precision = np.full(count, _PRECISION, np.float32)
    gaze = np.array([ARKIT.index(name) for name in GAZE], np.int64)
    return ExpressionRules(
        names=ARKIT,
        upper=upper,
        pull=pull,
        precision=precision,
        opposed=opposed,
        resting=resting,
        lids=np.array(
            [[ARKIT.index(f"eye{kind}{side}") for kind in ("Wide", "Blink")] for side in ("Left", "Right")]
        ),
        resting_sigma=RESTING_SIGMA,
        gaze=gaze,
        gaze_angles=gaze_angles,
        eyes_back=(first_resting - 2, first_resting - 1),
        eye_step=eye_step,
        mixing=arkit_mixing(),
    )


def arkit_mixing() -> npt.NDArray[np.float32]:
    """(52, 52) weights by what is fitted: what closes the lips opens the jaw under them."""
    mixing = np.eye(len(ARKIT), dtype=np.float32)
    mixing[ARKIT.index("jawOpen"), ARKIT.index("mouthClose")] = 1
    return mixing

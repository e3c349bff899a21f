"""The fit on a device: the CPU's numbers, and few enough launches and waits that a GPU would be fed."""

import numpy as np
import pytest

from multitalk.fit_flame.clip_fit import fit_batch
from multitalk.fit_flame.fit import FitSettings
from multitalk.fit_flame.parameters.synthetic import landmarks_of, speaking
from tests.pretend_device import DEVICE, pretend_device

FRAMES = (12, 12, 9)
PERSONS = [0, 0, 1]
LAUNCHES = 5500


@pytest.fixture(scope="module")
def clips(head):
    return [landmarks_of(speaking(head, n, mouth_hz=2 + k), head, 0.3) for k, n in enumerate(FRAMES)]


def fitted(head, clips, device):
    valids = [np.ones(len(clip), bool) for clip in clips]
    return fit_batch(clips, valids, head, FitSettings(device=device), persons=PERSONS)


@pytest.fixture(scope="module")
def on_device(head, clips):
    with pretend_device() as seen:
        return fitted(head, clips, DEVICE), seen


def test_the_numbers_are_those_of_the_cpu(head, clips, on_device):
    for found, wanted in zip(on_device[0], fitted(head, clips, "cpu"), strict=True):
        for name in ("jaw", "rotation", "translation"):
            np.testing.assert_allclose(
                getattr(found.motion, name), getattr(wanted.motion, name), atol=3e-4, err_msg=name
            )
        for name in ("shape", "expression"):  # in standard deviations
            np.testing.assert_allclose(getattr(found.motion, name), getattr(wanted.motion, name), atol=1e-2)
        assert found.landmark_error == pytest.approx(wanted.landmark_error, abs=1e-5)


def test_launches_and_waits_do_not_grow(on_device):
    """Their number hardly depends on how many clips there are, or how long: 64 of 130 frames ask for 200 more."""
    _, seen = on_device
    assert sum(seen.launches.values()) <= LAUNCHES, seen.launches.most_common(10)
    assert sum(seen.waits.values()) <= 4, seen.waits

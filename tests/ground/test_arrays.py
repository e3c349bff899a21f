"""Shapes in signatures are checked while tests run; a call that breaks one fails by name."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from multitalk.filters.pose import head_angles, head_rotation
from multitalk.ground.mel import triangles
from multitalk.ground.wav import write_wav

ROOT = Path(__file__).parents[2]


def test_a_wrong_shape_or_kind_is_refused(tmp_path):
    assert head_angles(np.zeros((2, 3), np.float32)).shape == (2, 3)
    for wrong in (np.zeros((2, 4), np.float32), np.zeros((2, 3), np.float64), [[0.0, 0.0, 0.0]]):
        with pytest.raises(Exception, match="rotation"):
            head_angles(wrong)
    with pytest.raises(Exception, match="samples"):
        write_wav(tmp_path / "a.wav", np.zeros(4, np.float32))


def test_one_name_is_one_length_in_all_of_a_signature(monkeypatch):
    landmarks = np.full((3, 478, 3), np.nan, np.float32)
    assert head_rotation(landmarks, np.zeros((468, 3), np.float32)).shape == (3, 3)
    monkeypatch.setattr("multitalk.filters.pose.np.full", lambda shape, *_: np.zeros((9, 3), np.float32))
    with pytest.raises(Exception, match="return"):
        head_rotation(landmarks, np.zeros((468, 3), np.float32))
    with pytest.raises(Exception, match="corners"):
        triangles(np.zeros((4, 2)), np.zeros(3))


def test_running_does_without_the_types():
    code = (
        "import sys, multitalk.filters.image, multitalk.eval.motion.metric; print('jaxtyping' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "False"

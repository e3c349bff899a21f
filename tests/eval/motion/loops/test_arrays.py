"""Plain numpy gives what the compiled loops give, and takes their place where numba is not installed."""

import os
import subprocess
import sys

import numpy as np
import pytest

from multitalk.eval.motion.loops import arrays, vertex_loops
from multitalk.eval.motion.loops.compiled import has_numba

needs_numba = pytest.mark.skipif(not has_numba(), reason="numba is not installed")


@pytest.fixture(params=[np.float32, np.float64])
def pair(request):
    random = np.random.default_rng(0)
    true = random.normal(0, 0.1, (71, 40, 3)).astype(request.param)
    predicted = (true + random.normal(0, 0.01, true.shape)).astype(request.param)
    predicted[5, 7, 1] = np.nan
    return true, predicted


@needs_numba
@pytest.mark.parametrize("frames", [0, 1, 2, 3, 32, 33, 71])
def test_both_ways_agree(pair, frames):
    true, predicted = (sequence[:frames] for sequence in pair)
    ids, origin = np.array([7, 0, 39], np.uintp), pair[0][0, [7, 0, 39]]
    tolerance = {"rtol": 1e-4 if true.dtype == np.float32 else 1e-10}

    def agree(one, other):
        np.testing.assert_allclose(one, other, **tolerance)

    agree(
        arrays.largest_squared_distance(true, predicted, ids),
        vertex_loops.largest_squared_distance(true, predicted, ids),
    )
    for one, other in zip(
        arrays.mean_distances(true, predicted), vertex_loops.mean_distances(true, predicted), strict=True
    ):
        agree(one, other)
    agree(arrays.mean_acceleration(true), vertex_loops.mean_acceleration(true))
    rows, others = true.reshape(frames, 120), pair[0][:9].reshape(9, 120)
    if frames:
        agree(
            arrays.squared_distances_between_rows(rows, others),
            vertex_loops.squared_distances_between_frames(rows, others),
        )
        for root, measure in (
            (True, vertex_loops.spread_of_offsets),
            (False, vertex_loops.spread_of_squared_offsets),
        ):
            np.testing.assert_allclose(
                arrays.spread(true, ids, origin, root), measure(true, ids, origin), rtol=1e-3, atol=1e-9
            )


PROGRAM = """
import sys
sys.modules["numba"] = None
import numpy as np
from multitalk.eval.motion.loops import alignment, vertex_loops
true = np.random.default_rng(0).normal(0, 0.1, (20, 10, 3))
print(vertex_loops.mean_distances(true, true + [3, 0, 4])[0].mean())
print(alignment.warping_path(np.array([[0., 1], [1, 0]])).tolist())
print(vertex_loops._mean_distances.__module__)
"""


def test_numba_may_be_missing():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=environment
    )
    mean, path, module = done.stdout.splitlines()
    assert float(mean) == pytest.approx(5)
    assert path == "[[0, 0], [1, 1]]"
    assert module == "multitalk.eval.motion.loops.arrays"

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitalk.eval.motion.loops.alignment import warping_path
from multitalk.eval.motion.loops.vertex_loops import (
    largest_squared_distance,
    mean_acceleration,
    mean_distances,
    spread_of_offsets,
    spread_of_squared_offsets,
    squared_distances_between_frames,
)

V = 37
IDS = np.array([0, 3, 4, 5, 11, 36, 20])


def sequences(frames, dtype=np.float32):
    rng = np.random.default_rng(frames)
    face = rng.normal(scale=0.05, size=(V, 3))
    return [(face + rng.normal(scale=0.002, size=(frames, V, 3))).astype(dtype) for _ in range(2)]


@settings(deadline=None)  # the first example of each type is compiled
@given(frames=st.integers(1, 45), dtype=st.sampled_from([np.float32, np.float64]))
def test_loops_agree_with_plain_numpy(frames, dtype):
    true, predicted = sequences(frames, dtype)
    wide, other = true.astype(np.float64), predicted.astype(np.float64)
    distances = np.linalg.norm(wide - other, axis=2)
    close = {"rtol": 2e-5 if dtype is np.float32 else 1e-12, "atol": 1e-12}
    np.testing.assert_allclose(
        largest_squared_distance(true, predicted, IDS), (distances[:, IDS] ** 2).max(1), **close
    )
    lengths, squares = mean_distances(true, predicted)
    np.testing.assert_allclose(lengths, distances.mean(1), **close)
    np.testing.assert_allclose(squares, (distances**2).mean(1), **close)
    origin = true[0, IDS] + dtype(0.003)
    offsets = np.linalg.norm(wide[:, IDS] - origin.astype(np.float64), axis=2)
    wanted = {"rtol": 1e-3 if dtype is np.float32 else 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(spread_of_offsets(true, IDS, origin), offsets.std(0), **wanted)
    np.testing.assert_allclose(spread_of_squared_offsets(true, IDS, origin), (offsets**2).std(0), **wanted)
    if frames > 2:
        steps = np.linalg.norm(np.diff(wide, 2, axis=0), axis=2).mean()
        assert mean_acceleration(true) == pytest.approx(steps, rel=close["rtol"])
    else:
        assert np.isnan(mean_acceleration(true))
    between = squared_distances_between_frames(true, predicted[: max(1, frames // 2)])
    plain = ((wide[:, None] - other[None, : max(1, frames // 2)]) ** 2).sum((2, 3))
    np.testing.assert_allclose(between, plain, **close)


@pytest.mark.parametrize("kind", [np.float16, np.int32, "reversed", "fortran", "read-only"])
def test_any_kind_of_array_is_read(kind):
    true, predicted = sequences(12)
    true = {
        "reversed": lambda: true[::-1],
        "fortran": lambda: np.asfortranarray(true),
        "read-only": lambda: np.frombuffer(true.tobytes(), np.float32).reshape(true.shape),
    }.get(kind, lambda: (100 * true).astype(kind))()
    wanted = ((true.astype(np.float64) - predicted)[:, IDS] ** 2).sum(2).max(1)
    np.testing.assert_allclose(largest_squared_distance(true, predicted, IDS), wanted, rtol=1e-5)


def test_a_face_that_stands_still_has_no_spread_at_all():
    still = np.repeat(sequences(1)[0], 25, axis=0)
    assert not spread_of_squared_offsets(still, IDS, still[0, IDS] + np.float32(0.1)).any()


def test_a_first_frame_far_from_the_others_costs_no_precision():
    sequence = sequences(130)[0]
    sequence[0] += np.float32(0.2)
    origin = sequence[1, IDS]
    offsets = ((sequence[:, IDS].astype(np.float64) - origin) ** 2).sum(2)
    np.testing.assert_allclose(spread_of_squared_offsets(sequence, IDS, origin), offsets.std(0), rtol=1e-5)


def test_one_number_that_is_none_is_not_passed_over():
    true, predicted = sequences(12)
    predicted[7, 5, 1] = np.nan
    errors = largest_squared_distance(true, predicted, IDS)
    assert np.flatnonzero(np.isnan(errors)).tolist() == [7]
    assert np.isnan(mean_acceleration(predicted))
    assert np.isnan(spread_of_squared_offsets(predicted, IDS, true[0, IDS])).sum() == 1


@pytest.mark.parametrize("ids", [[V], [-1], [0, 5, 10**12]])
def test_no_id_outside_the_mesh_is_read(ids):
    true, predicted = sequences(3)
    with pytest.raises(IndexError, match=f"from 0 to {V - 1}"):
        largest_squared_distance(true, predicted, np.array(ids))
    with pytest.raises(IndexError, match=f"from 0 to {V - 1}"):
        spread_of_offsets(true, np.array(ids), np.zeros((len(ids), 3)))


def test_shapes_that_do_not_fit_are_refused():
    true, predicted = sequences(3)
    for other in (predicted[:2], predicted[:, :-1]):
        with pytest.raises(IndexError, match="differ"):
            largest_squared_distance(true, other, IDS)
        with pytest.raises(IndexError, match="differ"):
            mean_distances(true, other)
    for sequence, origin in ((true, true[0]), (true[:0], true[0, IDS])):
        with pytest.raises(IndexError, match="origins"):
            spread_of_offsets(sequence, IDS, origin)
    with pytest.raises(IndexError, match="must be"):
        mean_acceleration(true[0])
    with pytest.raises(ValueError, match="differ"):
        squared_distances_between_frames(true, predicted[:, :-1])


@pytest.mark.parametrize("hole", [np.nan, np.inf])
def test_a_warping_path_ends_whatever_the_costs_are(hole):
    cost = np.random.default_rng(0).random((6, 9))
    for fill in (cost * 0 + hole, np.where(cost > 0.5, hole, cost)):
        path = warping_path(fill)
        assert path[0].tolist() == [0, 0]
        assert path[-1].tolist() == [5, 8]
        assert set(map(tuple, np.diff(path, axis=0).tolist())) <= {(0, 1), (1, 0), (1, 1)}


@pytest.mark.parametrize(
    "variable", ["NUMBA_DISABLE_JIT=1", "NUMBA_CACHE_LOCATOR_CLASSES=UserProvidedCacheLocator"]
)
def test_loops_run_without_a_compiler_and_without_a_place_for_its_code(variable):
    """Which is how they are debugged, and how they run where nothing can be written."""
    program = (
        "import numpy as np; from multitalk.eval.motion.loops.vertex_loops import mean_acceleration as f;"
        "print(round(f(np.arange(4.)[:, None, None] ** 2 * np.ones((4, 2, 3))), 4))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **dict([variable.split("=")])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(round(2 * 3**0.5, 4))

import itertools

import numpy as np
import pytest

from multitalk.eval.motion.lip_trajectory import (
    closure_recall,
    lip_correlation,
    lip_displacement,
    lip_warping_distance,
    mean_temporal_misalignment,
    opening_correlation,
    speech_lip_correlation,
)
from multitalk.eval.motion.loops.alignment import warping_path
from multitalk.eval.motion.metric import MotionPair
from multitalk.eval.motion.regions import FaceRegions, VertexRegion

REGIONS = FaceRegions("toy", 2, VertexRegion.of("lips", [0, 1], "toy"), (0, 1))


def mouth(gap: np.ndarray) -> np.ndarray:
    """Two lip vertices that are `gap` metres apart."""
    vertices = np.zeros((len(gap), 2, 3))
    vertices[:, 0, 1] = gap
    return vertices


def pair(ground_truth: np.ndarray, prediction: np.ndarray) -> MotionPair:
    return MotionPair(mouth(ground_truth), mouth(prediction), REGIONS, fps=25.0)


def least_cost(cost: np.ndarray) -> float:
    """Dynamic time warping by its textbook recursion."""
    total = np.full((cost.shape[0] + 1, cost.shape[1] + 1), np.inf)
    total[0, 0] = 0
    for i, j in itertools.product(range(cost.shape[0]), range(cost.shape[1])):
        total[i + 1, j + 1] = cost[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    return total[-1, -1]


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (5, 1), (7, 7), (9, 4), (4, 9)])
def test_warping_path_is_cheapest_and_monotone(shape):
    cost = np.random.default_rng(sum(shape)).random(shape)
    path = warping_path(cost)
    steps = np.diff(path, axis=0)
    assert path[0].tolist() == [0, 0]
    assert path[-1].tolist() == [shape[0] - 1, shape[1] - 1]
    assert ((steps >= 0) & (steps <= 1)).all()
    assert (steps.sum(1) >= 1).all()
    assert cost[path[:, 0], path[:, 1]].sum() == pytest.approx(least_cost(cost))


def test_warping_forgives_lateness_but_not_amplitude():
    time = np.arange(60)
    gap = 0.01 * np.exp(-(((time - 30) / 5) ** 2))
    late = np.roll(gap, 4)
    unwarped = np.abs(gap - late).mean() / np.sqrt(2)  # root mean square over two vertices
    assert lip_warping_distance(pair(gap, late)) < 0.2 * unwarped
    assert lip_warping_distance(pair(gap, gap / 2)) > 0.0003


def test_correlations_see_shape_not_size():
    gap = 0.01 * np.random.default_rng(0).random(50)
    assert lip_correlation(pair(gap, gap / 3 + 0.1)) == pytest.approx(1)
    assert opening_correlation(pair(gap, gap / 3)) == pytest.approx(1)
    assert lip_correlation(pair(gap, -gap)) == pytest.approx(-1)
    assert np.isnan(opening_correlation(pair(gap, np.full(50, 0.004))))
    assert np.isnan(lip_correlation(pair(gap, np.full(50, 0.004))))


@pytest.mark.parametrize("late", [0, 1, 3])
def test_misalignment_is_the_time_by_which_the_mouth_is_late(late):
    time = np.arange(100)
    gap = 0.005 * (1 - np.cos(2 * np.pi * time / 25))
    delayed = 0.005 * (1 - np.cos(2 * np.pi * (time - late) / 25))
    assert mean_temporal_misalignment(pair(gap, delayed)) == pytest.approx(late / 25, abs=0.006)


def test_a_still_mouth_correlates_with_nothing_whatever_its_mean_is_rounded_to():
    gap = 0.01 * np.sin(np.arange(197) / 3)
    still = MotionPair(
        mouth(gap).astype(np.float32),
        np.repeat(np.random.default_rng(0).normal(size=(1, 2, 3)).astype(np.float32), 197, axis=0),
        REGIONS,
        fps=25.0,
    )
    assert np.isnan(lip_correlation(still))
    assert np.isnan(opening_correlation(still))


def test_misalignment_of_a_still_mouth_is_not_a_number():
    gap = 0.005 * (1 - np.cos(np.arange(50) / 4))
    assert np.isnan(mean_temporal_misalignment(pair(gap, np.full(50, 0.004))))
    assert np.isnan(mean_temporal_misalignment(pair(gap[:2], gap[:2])))


def test_closure_recall_counts_closures_that_are_met():
    gap = np.full(30, 0.01)
    gap[[5, 6, 20]] = 0.0
    predicted = np.full(30, 0.01)
    predicted[7] = 0.001  # one frame after the first closure
    predicted[23] = 0.001  # three after the second: too late
    assert closure_recall(pair(gap, predicted)) == 0.5
    assert closure_recall(pair(gap, gap)) == 1.0
    assert closure_recall(MotionPair(mouth(gap), mouth(predicted), REGIONS, closures=[(23, 24)])) == 1.0
    assert np.isnan(closure_recall(pair(np.full(30, 0.01), predicted)))
    assert np.isnan(closure_recall(pair(np.zeros(30), predicted))), "a mouth that never opens closes nowhere"


def test_displacement_is_the_mean_step():
    lips = mouth(np.array([0.0, 0.002, 0.0])).transpose(0, 2, 1)
    assert lip_displacement(lips) == pytest.approx(0.001)
    assert np.isnan(lip_displacement(lips[:1]))


def test_speech_lip_correlation_is_within_identities():
    # louder means larger for each of the two, though the quiet one moves more
    loudness = np.array([0.1, 0.2, 0.3, 1.0, 2.0, 3.0])
    displacement = np.array([5.0, 6.0, 7.0, 1.0, 2.0, 3.0])
    assert speech_lip_correlation(loudness, displacement, list("aaabbb")) == pytest.approx(1)
    assert speech_lip_correlation(loudness, displacement, list("aaaaaa")) < 0
    assert np.isnan(speech_lip_correlation(loudness, displacement, list("abcdef")))

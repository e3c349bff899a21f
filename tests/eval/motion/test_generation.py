import numpy as np
import pytest

from multitalk.eval.motion.generation import (
    codebook_perplexity,
    codebook_usage,
    coverage_error,
    diversity,
    mean_estimate_error,
    speed_of,
)

LIPS = np.array([0])


def samples(*offsets: float) -> np.ndarray:
    out = np.zeros((len(offsets), 3, 2, 3))
    out[..., 0] = np.array(offsets)[:, None, None]
    return out


def test_mean_and_coverage_of_samples_around_the_truth():
    truth = np.zeros((3, 2, 3))
    assert mean_estimate_error(truth, samples(-0.002, 0.002), LIPS) == pytest.approx(0)
    assert coverage_error(truth, samples(-0.002, 0.001), LIPS) == pytest.approx(1e-6)


def test_diversity_is_the_mean_distance_of_pairs():
    assert diversity(samples(0.0, 1.0, 3.0)) == pytest.approx((1 + 3 + 2) / 3)
    with pytest.raises(ValueError, match="two"):
        diversity(samples(1.0))


def test_codebook_perplexity():
    assert codebook_perplexity(np.arange(8).reshape(2, 4), 8) == pytest.approx(8)
    assert codebook_perplexity(np.full(9, 3), 8) == pytest.approx(1)
    assert codebook_usage(np.array([0, 1, 1]), 8) == 0.25
    with pytest.raises(ValueError, match=r"0\.\.7"):
        codebook_usage(np.array([8]), 8)


def test_speed_counts_seconds_of_work_for_a_second_of_speech():
    speed = speed_of([0.02, 0.04, 0.03], [25, 50, 25], 25, "test")
    assert speed.real_time_factor == pytest.approx(0.09 / 4)
    assert speed.latency_sec == 0.03
    assert speed.frames_per_second == pytest.approx(100 / 0.09)
    with pytest.raises(ValueError, match="no clip"):
        speed_of([], [], 25, "test")

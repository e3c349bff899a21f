"""Motion there and back between head models, measured on points that lie on both."""

from dataclasses import replace

import numpy as np
import pytest

from multitalk.fit_flame.converting.convert_motion import convert_motion
from multitalk.fit_flame.converting.limited import limited_weights
from multitalk.fit_flame.heads.head_model import HeadModel, HeadModelError
from multitalk.fit_flame.parameters.decode import decode, project
from multitalk.fit_flame.parameters.motion import Motion
from multitalk.ground.arkit_names import ARKIT
from multitalk.ground.landmark_layout import INNER_LIP_PAIRS, LIPS

FRAMES = 24


@pytest.fixture(scope="module")
def motion(anny) -> Motion:
    """A mouth that opens, closes, smiles and puckers, on a head that turns."""
    rng, t = np.random.default_rng(0), np.linspace(0, 1, FRAMES)
    expression = np.zeros((FRAMES, 52), np.float32)
    opening = np.clip(np.sin(2 * np.pi * t), 0, None)
    for name, course in (
        ("jawOpen", 0.5 * opening),
        ("mouthSmileLeft", 0.4 * t),
        ("mouthSmileRight", 0.4 * t),
        ("mouthPucker", 0.5 * np.clip(np.sin(4 * np.pi * t), 0, None)),
        ("browInnerUp", 0.6 * (1 - t)),
    ):
        expression[:, ARKIT.index(name)] = course
    shape = np.zeros(anny.shape_size, np.float32)
    shape[:30] = rng.normal(0, 0.5, 30)
    return Motion(
        head_model=anny.key,
        fps=25.0,
        shape=shape,
        expression=expression,
        jaw=np.zeros((FRAMES, 3), np.float32),
        eyes=np.zeros((FRAMES, 6), np.float32),
        rotation=np.stack([0.1 * t, 0.4 * t - 0.2, 0.05 * t], 1).astype(np.float32),
        translation=np.tile(np.float32([0.01, 0, -0.7]), (FRAMES, 1)),
        camera=np.array([1000, 256, 256], np.float32),
        valid=np.ones(FRAMES, bool),
        residual=np.zeros(FRAMES, np.float32),
        correction=np.zeros((FRAMES, anny.correction_size), np.float32),
    )


@pytest.fixture(scope="module")
def there(motion, anny, head) -> Motion:
    return convert_motion(motion, anny, head)


@pytest.fixture(scope="module")
def back(there, anny, head) -> Motion:
    return convert_motion(there, head, anny)


def _points(motion: Motion, model: HeadModel) -> np.ndarray:
    """(T, 468, 3) where MediaPipe's landmarks lie, millimetres, in the size of a head 700 mm away."""
    vertices, embedding = decode(motion, model), model.embedding
    points = (vertices[:, embedding.vertices] * embedding.barycentric[..., None]).sum(2)
    order = np.argsort(embedding.landmarks)
    return 700 * points[:, order] / -points[..., 2].mean()


def _gap(points: np.ndarray) -> np.ndarray:
    upper, lower = INNER_LIP_PAIRS[0]
    return np.linalg.norm(points[:, upper] - points[:, lower], axis=1)


def test_the_other_head_does_the_same(motion, there, anny, head):
    assert there.head_model == head.key
    assert there.expression.shape == (FRAMES, head.expression_size)
    ours, theirs = _points(motion, anny), _points(there, head)
    apart = np.linalg.norm(ours - theirs, axis=2)
    assert apart[:, LIPS].mean() < 1.5
    assert apart.mean() < 2.5
    ours, theirs = (project(points / 1000, motion.camera) for points in (ours, theirs))
    assert np.linalg.norm(ours - theirs, axis=2).mean() < 3, "pixels of a face of 200"


def test_there_and_back_lips_are_where_they_were(motion, back, anny):
    ours, again = _points(motion, anny), _points(back, anny)
    assert np.linalg.norm(ours - again, axis=2)[:, LIPS].mean() < 1.0
    closed = motion.expression[:, ARKIT.index("jawOpen")] < 1e-6
    assert 8 < closed.sum() < FRAMES - 8
    assert (_gap(again) - _gap(ours))[closed].max() < 0.7, "closed lips stay closed"
    assert np.corrcoef(_gap(ours)[~closed], _gap(again)[~closed])[0, 1] > 0.98


def test_weights_come_back_within_their_limits(motion, back):
    assert back.expression.min() >= 0
    assert back.expression.max() <= 1
    assert np.abs(back.expression - motion.expression).mean() < 0.03
    for name in ("jawOpen", "mouthPucker", "browInnerUp"):
        ours, again = (m.expression[:, ARKIT.index(name)] for m in (motion, back))
        assert np.corrcoef(ours, again)[0, 1] > 0.8, name


def test_heads_without_common_points_are_refused(motion, anny, head):
    few = replace(
        head.embedding,
        **{k: getattr(head.embedding, k)[:20] for k in ("landmarks", "vertices", "barycentric")},
    )
    with pytest.raises(HeadModelError, match="20 landmarks in common"):
        convert_motion(motion, anny, replace(head, embedding=few))


def test_limits_and_time_hold_in_least_squares():
    rng = np.random.default_rng(0)
    directions, truth = rng.normal(size=(30, 4)), rng.uniform(-0.5, 1.5, (50, 4))
    lower, upper, none = np.zeros((50, 4)), np.ones((50, 4)), np.zeros(4)
    found = limited_weights(directions, truth @ directions.T, lower, upper, none, none + 1e-9, 0.0)
    from scipy.optimize import lsq_linear

    best = np.stack([lsq_linear(directions, directions @ row, (0, 1)).x for row in truth])
    np.testing.assert_allclose(found, best, atol=1e-4)
    even = limited_weights(directions, truth @ directions.T, lower, upper, none, none + 1e-9, 10.0)
    assert np.abs(np.diff(even, axis=0)).mean() < 0.3 * np.abs(np.diff(found, axis=0)).mean()

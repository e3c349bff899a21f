import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from multitalk.fit_flame import parity
from multitalk.fit_flame.heads.flame_file import FlameArrays, flame_head_model
from multitalk.fit_flame.heads.head_model import LandmarkEmbedding
from multitalk.fit_flame.landmarks.embedding import contour_row
from multitalk.fit_flame.parameters.decode import ForwardModel
from tests.golden import golden

NOWHERE = LandmarkEmbedding(np.zeros(0, np.int64), np.zeros((0, 3), np.int64), np.zeros((0, 3), np.float32))


@pytest.fixture(scope="module")
def flame() -> FlameArrays:
    rng = np.random.default_rng(5)
    weights = rng.random((60, 5)) ** 4
    regressor = rng.random((5, 60))
    return FlameArrays(
        rng.normal(0, 0.1, (60, 3)),
        rng.integers(0, 60, (100, 3)),
        rng.normal(0, 0.01, (60, 3, 400)),
        rng.normal(0, 0.01, (60, 3, 36)),
        regressor / regressor.sum(axis=1, keepdims=True),
        weights / weights.sum(axis=1, keepdims=True),
        "test",
    )


def _float64(flame, shape, expression, pose, translation):
    """FLAME's forward model once more, one head at a time with 4 x 4 matrices."""
    coefficients = np.zeros(400)
    coefficients[: len(shape)] = shape
    coefficients[300 : 300 + len(expression)] = expression
    vertices = flame.v_template + flame.shapedirs @ coefficients
    joints = flame.joint_regressor @ vertices
    turns = Rotation.from_rotvec(pose.reshape(5, 3)).as_matrix()
    vertices = vertices + flame.posedirs @ (turns[1:] - np.eye(3)).ravel()
    worlds = []
    for j, parent in enumerate((-1, 0, 1, 1, 1)):
        local = np.eye(4)
        local[:3, :3] = turns[j]
        local[:3, 3] = joints[j] - (joints[parent] if parent >= 0 else 0)
        worlds.append(local if parent < 0 else worlds[parent] @ local)
    skinned = np.zeros_like(vertices)
    for j, world in enumerate(worlds):
        moved = (vertices - joints[j]) @ world[:3, :3].T + world[:3, 3]
        skinned += flame.weights[:, j : j + 1] * moved
    return skinned + translation


def test_agrees_with_an_independent_evaluation(flame):
    rng = np.random.default_rng(2)
    shape, expression = rng.normal(0, 1, (4, 100)), rng.normal(0, 1, (4, 50))
    pose, translation = rng.normal(0, 0.5, (4, 15)), rng.normal(0, 1, (4, 3))
    wanted = np.stack(
        [_float64(flame, *row) for row in zip(shape, expression, pose, translation, strict=True)]
    )

    def tensor(array):
        return torch.as_tensor(array, dtype=torch.float32)

    for vertices in (None, np.array([3, 17, 40])):
        forward = ForwardModel(flame_head_model(flame, NOWHERE), vertices)
        found = forward(
            tensor(shape),
            tensor(expression),
            rotation=tensor(pose[:, :3]),
            neck=tensor(pose[:, 3:6]),
            jaw=tensor(pose[:, 6:9]),
            eyes=tensor(pose[:, 9:]),
            translation=tensor(translation),
        )
        rows = slice(None) if vertices is None else vertices
        np.testing.assert_allclose(found.numpy(), wanted[:, rows], atol=1e-5)


def test_missing_coefficients_are_zero_and_too_many_refused(flame):
    forward = ForwardModel(flame_head_model(flame, NOWHERE))
    found = forward(torch.zeros(1, 10), torch.zeros(1, 0))
    np.testing.assert_allclose(found[0].numpy(), flame.v_template, atol=1e-6)
    with pytest.raises(ValueError, match="101 coefficients"):
        forward(torch.zeros(1, 101), torch.zeros(1, 50))


@pytest.mark.parametrize(
    ("yaw", "row"), [(0, 0), (10, 10), (39, 39), (60, 39), (-1, 40), (-39, 78), (-60, 78)]
)
def test_contour_moves_with_yaw(yaw, row):
    rotation = Rotation.from_euler("y", yaw, degrees=True).as_matrix()
    assert contour_row(rotation.reshape(1, 3, 3)) == [row]


def test_the_encoder_agrees_with_the_original_without_flame(capsys):
    assert parity.main([str(golden("deca"))]) == 0
    assert capsys.readouterr().out.count(" ok\n") == 2


def test_agrees_with_the_original(shared, capsys):
    if not (shared / "golden" / "deca").exists():
        pytest.skip("needs the original's outputs: ../shared/golden/deca")
    assert parity.main([str(shared / "golden" / "deca")]) == 0
    out = capsys.readouterr().out
    for name in (
        "vertices",
        "landmarks_68_moving_contour",
        "landmarks_68_full",
        "deca_features",
        "deca_code",
    ):
        assert name in out


def test_parity_notices_a_difference(shared, tmp_path, capsys):
    source = shared / "golden" / "deca"
    with np.load(source / "golden.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["vertices"] = arrays["vertices"] + 2e-5
    rows = parity.compare_flame(arrays, shared / "flame")
    assert [name for name, difference, tolerance, _ in rows if difference > tolerance] == ["vertices"]
    assert parity.main([str(tmp_path)]) == 2
    assert "cannot compare" in capsys.readouterr().err

"""Optional shapes that close the eyes: read, evaluated, fitted; and the key that tells models apart."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from multitalk.fit_flame.fit import fit_clip
from multitalk.fit_flame.heads.flame_file import FlameArrays, flame_head_model, read_eyelids
from multitalk.fit_flame.heads.head_model import HeadModelError, LandmarkEmbedding
from multitalk.fit_flame.parameters.decode import ForwardModel, decode, project_vertices
from multitalk.fit_flame.parameters.motion import MotionError
from multitalk.fit_flame.parameters.synthetic import landmarks_of, speaking
from multitalk.ground import landmark_layout as layout

NOWHERE = LandmarkEmbedding(np.zeros(0, np.int64), np.zeros((0, 3), np.int64), np.zeros((0, 3), np.float32))


@pytest.fixture(scope="module")
def flame():
    rng = np.random.default_rng(1)
    rows = np.full((5, 5023), 1 / 5023)
    weights = np.tile([1.0, 0, 0, 0, 0], (5023, 1))
    bases = [rng.normal(0, 1e-3, (5023, 3, k)).astype(np.float32) for k in (400, 36)]
    faces = np.zeros((9976, 3), np.int64)
    return FlameArrays(rng.normal(0, 0.1, (5023, 3)), faces, *bases, rows, weights, "flame")


@pytest.fixture(scope="module")
def lids():
    return np.random.default_rng(2).normal(0, 1e-3, (5023, 3, 2))


def test_they_follow_the_expression(flame, lids):
    head = flame_head_model(flame, NOWHERE, eyelids=lids)
    assert head.expression_size == 52
    coefficients = torch.zeros(2, 52)
    coefficients[0, 50], coefficients[1, 51] = 1, 0.5
    moved = ForwardModel(head)(torch.zeros(2, 0), coefficients).numpy() - head.v_template
    np.testing.assert_allclose(moved[0], lids[..., 0], atol=1e-6)
    np.testing.assert_allclose(moved[1], 0.5 * lids[..., 1], atol=1e-6)


def test_other_eyelids_are_another_model_and_refuse_its_coefficients(flame, lids):
    plain = flame_head_model(flame, NOWHERE, "flame_2020")
    heads = [plain, *(flame_head_model(flame, NOWHERE, "flame_2020", eyelids=e) for e in (lids, 2 * lids))]
    heads.append(flame_head_model(replace(flame, sha256="other"), NOWHERE, "flame_2023_open"))
    assert len({head.key for head in heads}) == 4
    with pytest.raises(MotionError, match=r"flame_2020:.* not to flame_2023_open:"):
        decode(speaking(plain, 2), heads[-1])


def test_files_beside_the_model(tmp_path, lids):
    assert read_eyelids(tmp_path) is None
    for k, side in enumerate("lr"):
        np.save(tmp_path / f"{side}_eyelid.npy", lids[..., k])
    np.testing.assert_array_equal(read_eyelids(tmp_path), lids)
    np.save(tmp_path / "r_eyelid.npy", lids[:100, :, 0])
    with pytest.raises(HeadModelError, match="r_eyelid"):
        read_eyelids(tmp_path)
    np.save(tmp_path / "r_eyelid.npy", np.array([print], object))
    with pytest.raises(HeadModelError, match="cannot be read"):
        read_eyelids(tmp_path)
    (tmp_path / "r_eyelid.npy").write_bytes(b"")
    with pytest.raises(HeadModelError, match="cannot be read"):
        read_eyelids(tmp_path)


def test_a_blink_is_fitted(head):
    """Lids that only the eyelid shapes can close: each eye's coefficient follows its own blinks."""
    shapes = np.zeros((*head.v_template.shape, 2), np.float32)
    for k, ring in enumerate((layout.LEFT_EYE, layout.RIGHT_EYE)):
        lower, upper = np.array(ring[1:8]), np.array(ring[:8:-1])
        shapes[upper, :, k] = head.v_template[lower] - head.v_template[upper]
    lidded = replace(head, expressiondirs=np.concatenate([head.expressiondirs, shapes], axis=2))
    truth = speaking(lidded, 30)
    t = np.arange(30)
    truth.expression[:, -2] = np.exp(-(((t - 8) / 2) ** 2))
    truth.expression[:, -1] = np.exp(-(((t - 20) / 2) ** 2))
    found = fit_clip(landmarks_of(truth, lidded), truth.valid, lidded).motion
    for k in (-2, -1):
        assert np.corrcoef(found.expression[:, k], truth.expression[:, k])[0, 1] > 0.9
    wanted, drawn = project_vertices(truth, lidded), project_vertices(found, lidded)
    for upper, lower in layout.EYELID_PAIRS:
        gaps = [np.linalg.norm(p[:, upper] - p[:, lower], axis=1) for p in (wanted, drawn)]
        assert np.abs(gaps[0] - gaps[1]).max() < 1.5

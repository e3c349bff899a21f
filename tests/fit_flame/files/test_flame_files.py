"""FLAME's motion in others' files, read back by readers that know the formats' conventions and none of our code."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from multitalk.fit_flame.files.flame_files import (
    VHAP_VERTICES,
    write_artalk,
    write_smirk,
    write_tracker_frames,
    write_vhap,
)
from multitalk.fit_flame.heads.head_model import HeadModel, HeadModelError
from multitalk.fit_flame.parameters.decode import project_vertices
from multitalk.fit_flame.parameters.motion import Motion

FRAMES = 3


@pytest.fixture(scope="module")
def flame(head) -> HeadModel:
    """A head of as many vertices as FLAME has, the first of which are the canonical face; the jaw is theirs."""
    count = 5023

    def filled(array: np.ndarray) -> np.ndarray:
        whole = np.zeros((count, *array.shape[1:]), np.float32)
        whole[: len(array)] = array
        return whole

    weights = filled(head.skinning_weights)
    weights[len(head.v_template) :, 0] = 1
    return replace(
        head,
        name="flame_2023_open",
        v_template=filled(head.v_template),
        shapedirs=filled(head.shapedirs[:, :, :300]),
        expressiondirs=filled(head.expressiondirs),
        posedirs=filled(head.posedirs),
        joint_regressor=filled(head.joint_regressor.T).T.copy(),
        skinning_weights=weights,
    )


@pytest.fixture(scope="module")
def motion(flame) -> Motion:
    rng = np.random.default_rng(0)
    return Motion(
        head_model=flame.key,
        fps=25.0,
        shape=rng.normal(0, 0.5, flame.shape_size).astype(np.float32),
        expression=rng.normal(0, 0.5, (FRAMES, flame.expression_size)).astype(np.float32),
        jaw=np.zeros((FRAMES, 3), np.float32),
        eyes=rng.normal(0, 0.2, (FRAMES, 6)).astype(np.float32),
        rotation=rng.normal(0, 0.2, (FRAMES, 3)).astype(np.float32),
        translation=rng.normal([0, 0, -0.7], 0.02, (FRAMES, 3)).astype(np.float32),
        camera=np.array([1100, 250, 260], np.float32),
        valid=np.ones(FRAMES, bool),
        residual=np.zeros(FRAMES, np.float32),
    )


def _shaped(flame: HeadModel, shape: np.ndarray, expression: np.ndarray) -> np.ndarray:
    """(V, 3) of coefficients as they lie in a file, padded to its size."""
    directions = np.concatenate([flame.shapedirs, flame.expressiondirs], axis=2).astype(float)
    known = np.concatenate([shape[: flame.shape_size], expression[: flame.expression_size]])
    return flame.v_template + directions @ known


def test_vhap_poses_the_head_before_a_still_camera(motion, flame, tmp_path):
    assert write_vhap(motion, flame, tmp_path) == FRAMES
    scene = json.loads((tmp_path / "transforms.json").read_text())
    wanted = project_vertices(motion, flame)
    for t, frame in enumerate(scene["frames"]):
        stored = np.load(tmp_path / frame["flame_param_path"])
        sizes = {
            "translation": (1, 3),
            "rotation": (1, 3),
            "neck_pose": (1, 3),
            "jaw_pose": (1, 3),
            "shape": (300,),
        }
        sizes |= {"eyes_pose": (1, 6), "expr": (1, 100), "static_offset": (1, VHAP_VERTICES, 3)}
        assert {name: stored[name].shape for name in stored.files} == sizes
        shaped = _shaped(flame, stored["shape"], stored["expr"][0])
        root = flame.joint_regressor[0] @ shaped
        turn = Rotation.from_rotvec(stored["rotation"][0].astype(float)).as_matrix()
        world = (shaped - root) @ turn.T + root + stored["translation"][0]
        to_camera = np.linalg.inv(np.array(frame["transform_matrix"]))
        seen = world @ to_camera[:3, :3].T + to_camera[:3, 3]
        u = frame["cx"] + frame["fl_x"] * seen[:, 0] / -seen[:, 2]
        v = frame["cy"] - frame["fl_y"] * seen[:, 1] / -seen[:, 2]
        face = slice(0, 468)  # further vertices are eyes, which turn, and filling
        np.testing.assert_allclose(np.stack([u, v], 1)[face], wanted[t][face], atol=0.02)
    canonical = np.load(tmp_path / "canonical_flame_param.npz")
    assert canonical["jaw_pose"].tolist() == [[pytest.approx(0.3), 0, 0]]
    assert not canonical["expr"].any()


def test_tracker_frames_move_the_camera_about_a_still_head(motion, flame, tmp_path):
    assert write_tracker_frames(motion, flame, tmp_path) == FRAMES
    wanted = project_vertices(motion, flame)
    for t in range(FRAMES):
        frame = torch.load(tmp_path / f"{t:05d}.frame", weights_only=False)
        still = _shaped(flame, frame["flame"]["shape"][0], frame["flame"]["exp"][0])[:468]
        cv = frame["opencv"]
        seen = (still @ cv["R"][0].T + cv["t"][0]) @ cv["K"][0].T
        np.testing.assert_allclose(seen[:, :2] / seen[:, 2:], wanted[t][:468], atol=0.02)
        # PyTorch3D: x to the left, y up, row vectors; normalised coordinates run to the left and up, too.
        camera = frame["camera"]
        seen = still @ camera["R"][0] + camera["t"][0]
        at = camera["fl"][0] * seen[:, :2] / seen[:, 2:] + camera["pp"][0]
        np.testing.assert_allclose(256 - 256 * at, wanted[t][:468], atol=0.02)
        rows = frame["flame"]["eyes"].reshape(2, 2, 3)
        eyes = Rotation.from_rotvec(motion.eyes[t].reshape(2, 3)).as_matrix()
        np.testing.assert_allclose(rows, eyes[:, :2], atol=1e-5)
        assert frame["flame"]["jaw"].tolist() == [[1, 0, 0, 0, 1, 0]]


def test_dictionaries_of_smirk_and_arrays_of_artalk(motion, flame, tmp_path):
    assert write_smirk(motion, flame, tmp_path / "a.npz") == FRAMES
    stored = np.load(tmp_path / "a.npz")
    assert stored["expression_params"].shape == (FRAMES, 50)
    assert stored["shape_params"].shape == (FRAMES, 300)
    np.testing.assert_array_equal(stored["pose_params"], motion.rotation)
    assert write_artalk(motion, flame, tmp_path / "a.npy") == FRAMES
    values = np.load(tmp_path / "a.npy")
    assert values.shape == (FRAMES, 106)
    size = min(100, flame.expression_size)
    np.testing.assert_array_equal(values[:, :size], motion.expression[:, :size])
    np.testing.assert_array_equal(values[:, 100:103], motion.rotation)


def test_other_heads_are_told_to_be_converted(motion, head, tmp_path):
    with pytest.raises(HeadModelError, match="multitalk convert --to flame"):
        write_vhap(replace(motion, head_model=head.key), head, tmp_path)
    assert not list(tmp_path.iterdir())

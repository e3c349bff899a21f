import zipfile

import numpy as np
import pytest

from multitalk.fit_flame.heads import canonical
from multitalk.fit_flame.heads.canonical import canonical_head_model
from multitalk.fit_flame.heads.canonical_mesh import read_canonical_mesh
from multitalk.fit_flame.heads.head_model import JAW, HeadModelError
from multitalk.ground import landmark_layout as layout


def test_mesh_is_the_known_one(task_file):
    mesh = read_canonical_mesh(task_file)
    assert mesh.vertices.shape == (468, 3)
    assert mesh.faces.shape == (898, 3)
    eyes = mesh.vertices[layout.RIGHT_EYE_OUTER] - mesh.vertices[layout.LEFT_EYE_OUTER]
    assert np.linalg.norm(eyes) == pytest.approx(0.0889, abs=2e-4)  # metres
    assert mesh.vertices[1, 2] > mesh.vertices[234, 2]  # the nose is nearer than the ear


def test_two_builds_are_equal_and_share_a_key(task_file, head):
    again = canonical_head_model(task_file)
    assert again.key == head.key
    np.testing.assert_array_equal(again.expressiondirs, head.expressiondirs)


def test_skinning_and_joints(head):
    np.testing.assert_allclose(head.skinning_weights.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(head.joint_regressor.sum(axis=1), 1, atol=1e-5)
    jaw = head.skinning_weights[:468, JAW]
    assert jaw[[14, 17, 152]].min() == 1  # lower lip and chin
    assert jaw[[13, 0, 1, 10, 33]].max() == 0  # upper lip, nose, forehead, eye
    assert 0.2 < jaw[61] < 0.8  # mouth corner
    joint = head.joint_regressor @ head.v_template
    assert joint[3, 0] > 0 > joint[4, 0]  # the left eye lies right in the picture


def test_expression_does_not_do_the_jaws_or_the_necks_work(head):
    points = head.v_template[:468].astype(np.float64)
    basis = head.expressiondirs[:468].astype(np.float64).reshape(-1, head.expression_size)
    share = head.skinning_weights[:468, JAW].astype(np.float64)
    hinge = (head.joint_regressor[JAW] @ head.v_template).astype(np.float64)
    opening = (share[:, None] * np.cross([1.0, 0, 0], points - hinge)).ravel()
    turn = np.cross([0, 1.0, 0], points - points.mean(axis=0)).ravel()
    for field in (opening, turn, np.tile([0, 0, 1.0], 468)):
        overlap = np.abs(field @ basis) / (np.linalg.norm(field) * np.linalg.norm(basis, axis=0))
        assert overlap.max() < 1e-3


def test_mouth_and_eyes_are_open(head):
    rings = [set(layout.INNER_LIPS), set(layout.LEFT_EYE), set(layout.RIGHT_EYE)]
    assert not any(set(face) <= ring for face in head.faces.tolist() for ring in rings)


@pytest.mark.parametrize("damage", ["no zip", "no member", "cut short"])
def test_other_files_are_refused(tmp_path, task_file, damage):
    path = tmp_path / "face_landmarker.task"
    if damage == "no zip":
        path.write_bytes(b"not a zip")
    else:
        name = "geometry_pipeline_metadata_landmarks.binarypb"
        data = zipfile.ZipFile(task_file).read(name)
        with zipfile.ZipFile(path, "w") as bundle:
            bundle.writestr(name if damage == "cut short" else "other", data[:5000])
    with pytest.raises(HeadModelError, match=r"multitalk assets fetch|468"):
        canonical_head_model(path)


def test_what_the_coefficients_mean_is_as_old_as_the_recipe_says(head):
    """Stored motion decodes only with the very basis it was fitted on: who changes it must rename the recipe."""
    assert canonical.RECIPE == "canonical-3"
    ramp = np.arange(478)[:, None] + 500 * np.arange(3)
    for basis, columns, wanted in (
        (head.shapedirs, (1, 40, 99, 121, 379), (7.73, 12.82, -0.38, -0.15, -0.64)),
        (head.expressiondirs, (1, 25, 33, 60, 99), (-0.95, -0.29, -2.65, -0.70, 0.08)),
    ):
        moments = [(basis[..., k] * ramp).sum() for k in columns]
        np.testing.assert_allclose(moments, wanted, atol=0.02)
    assert head.skinning_weights[:, JAW].sum() == pytest.approx(88.2476, rel=1e-4)

"""The two layouts beside each other: where their points lie on a head, and what is measured with them."""

import numpy as np
import pytest

from multitalk.assets.fetch import require
from multitalk.fit_flame.heads.canonical_mesh import read_canonical_mesh
from multitalk.fit_flame.landmarks.embedding import CONTOUR_LANDMARKS
from multitalk.ground.face_layout import IBUG_68, MEDIAPIPE_478, distance, face_boxes, layout_of, overlap
from multitalk.ground.landmark_layout import LANDMARK_COUNT

# iBUG's points from left to right in the picture, and their mirror images.
MIRROR = [
    *range(16, -1, -1),
    *range(26, 16, -1),
    *(27, 28, 29, 30, 35, 34, 33, 32, 31),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65),
]


@pytest.fixture(scope="module")
def mesh():
    return read_canonical_mesh(require("face_landmarker")).vertices


def test_every_ibug_point_is_another_vertex_and_mirrored_where_its_partner_is(mesh):
    assert len(set(IBUG_68.mediapipe)) == 68
    points = mesh[list(IBUG_68.mediapipe)]
    np.testing.assert_allclose(points * [-1, 1, 1], points[MIRROR], atol=0.0015)  # metres


def test_ibug_points_lie_where_flames_embedding_has_them(mesh):
    """The canonical mesh, bent over FLAME's mean face by the 105 landmarks whose place is known on both."""
    from pathlib import Path

    from scipy.interpolate import RBFInterpolator

    from multitalk.eval.ground_truth import read_template
    from multitalk.fit_flame.landmarks.embedding import read_contour_embedding

    flame = Path(__file__).parents[2].parent / "shared" / "flame"
    if not flame.is_dir():
        pytest.skip("needs FLAME's mean face: ../shared/flame")
    head = read_template(flame / "templates.pkl")
    lines = (flame / "head_template.obj").read_text().splitlines()
    faces = np.array([[int(p.split("/")[0]) - 1 for p in x.split()[1:4]] for x in lines if x[:2] == "f "])
    with np.load(flame / "mediapipe_landmark_embedding.npz") as known:
        ids, first = np.unique(known["landmark_indices"].astype(int), return_index=True)
        corners = head[faces[known["lmk_face_idx"].astype(int)[first]]]
        places = (corners * known["lmk_b_coords"][first][..., None]).sum(axis=1)
    bent = RBFInterpolator(mesh[ids], places, smoothing=1e-6)(mesh)
    embedding = read_contour_embedding(flame / "landmark_embedding.npy", faces)
    wanted = (head[faces[embedding.full_faces]] * embedding.full_barycentric[..., None]).sum(axis=1)
    apart = np.linalg.norm(bent[list(IBUG_68.mediapipe)] - wanted, axis=1)
    inner = np.delete(apart, [*range(17), 17, 26])  # the outline, and the outer ends of the brows, are taste
    assert inner.max() < 0.009
    assert inner.mean() < 0.004


def test_both_rooms_mean_the_same_points():
    assert IBUG_68.mediapipe[:17] == CONTOUR_LANDMARKS
    assert len(MEDIAPIPE_478.mediapipe) == LANDMARK_COUNT


def test_the_layout_is_told_by_the_number_of_points():
    assert layout_of(np.zeros((5, 478, 3))) is MEDIAPIPE_478
    assert layout_of(np.zeros((68, 2))) is IBUG_68
    for shape in ((5, 98, 3), (68,), (5, 68, 4)):
        with pytest.raises(ValueError, match=r"N 478 \(mediapipe-478\) or 68 \(ibug-68\)"):
            layout_of(np.zeros(shape))


def test_rows_keep_the_order_and_leave_out_what_is_not_there():
    assert IBUG_68.rows((14, 10, 13)) == [66, 62]
    assert IBUG_68.pairs([(13, 14), (10, 152), (33, 263)]) == [(62, 66), (36, 45)]
    assert MEDIAPIPE_478.rows((14, 10, 13)) == [14, 10, 13]


@pytest.mark.parametrize("roll", [-0.4, 0.0, 0.3])
def test_a_face_has_the_same_box_and_eyes_in_both(mesh, roll):
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    points = np.pad(mesh * [2000, -2000, -2000], ((0, 10), (0, 0)))
    points[468:] = points[:1]
    points[:, :2] = points[:, :2] @ turn.T + 256
    few = points[list(IBUG_68.mediapipe)]
    assert overlap(face_boxes(points), face_boxes(few)) > 0.88
    assert distance(few, (33, 263)) == distance(points, (33, 263))

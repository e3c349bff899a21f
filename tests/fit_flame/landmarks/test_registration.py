import numpy as np
import pytest

from multitalk.fit_flame.heads.canonical_mesh import read_canonical_mesh
from multitalk.fit_flame.heads.surface import Surface, closest_barycentric, skin
from multitalk.fit_flame.landmarks.embedding import read_mediapipe_embedding
from multitalk.fit_flame.landmarks.registration import register, write_registration
from multitalk.fit_flame.parity import golden_flame
from multitalk.ground import landmark_layout as layout


@pytest.fixture(scope="module")
def flame(shared):
    return golden_flame(shared / "flame")


@pytest.fixture(scope="module")
def registration(flame, task_file):
    return register(read_canonical_mesh(task_file), flame.v_template, flame.faces)


def test_lands_where_the_published_points_are(shared, flame, registration):
    theirs = read_mediapipe_embedding(shared / "flame" / "mediapipe_landmark_embedding.npz", flame.faces)
    wanted = (flame.v_template[theirs.vertices] * theirs.barycentric[..., None]).sum(axis=1)
    points = registration.points(flame.v_template, flame.faces)[theirs.landmarks]
    apart = 1000 * np.linalg.norm(points - wanted, axis=1)
    regions = layout.regions()[theirs.landmarks]
    assert apart.mean() < 2
    assert apart[regions == "lips"].mean() < 1
    assert apart[regions == "eyes"].mean() < 1.5
    assert apart.max() < 8  # brows have no edge on a mesh


def test_the_bent_mesh_lies_on_the_skin_and_keeps_left_and_right(flame, registration):
    assert registration.distance.max() < 1e-3
    points = registration.points(flame.v_template, flame.faces)
    eyeballs = np.setdiff1d(np.arange(5023), np.unique(skin(flame.v_template, flame.faces).faces))
    assert not np.isin(flame.faces[registration.triangles], eyeballs).any()
    for right, left in ((33, 263), (61, 291), (234, 454), (70, 300)):
        mirrored = points[left] * [-1, 1, 1]
        assert np.linalg.norm(points[right] - mirrored) < 0.005


def test_each_lip_has_its_own_points(flame, registration):
    """The mean's lips overlap: what opens the mouth must part every pair, so no two share a vertex."""
    for upper, lower in layout.INNER_LIP_PAIRS:
        corners = flame.faces[registration.triangles[[upper, lower]]]
        assert not set(corners[0]) & set(corners[1])


def test_another_mean_gives_nearly_the_same_places(flame, task_file, registration):
    """Releases differ by millimetres: the embedding follows the topology, not the coordinates."""
    stretched = flame.v_template * [1.03, 0.98, 1.01] + [0.002, 0.01, -0.02]
    again = register(read_canonical_mesh(task_file), stretched, flame.faces)
    apart = np.linalg.norm(
        again.points(flame.v_template, flame.faces) - registration.points(flame.v_template, flame.faces),
        axis=1,
    )
    assert np.median(apart) < 0.001


def test_written_as_the_published_file_is(tmp_path, flame, registration):
    write_registration(registration, tmp_path / "own.npz")
    read = read_mediapipe_embedding(tmp_path / "own.npz", flame.faces)
    np.testing.assert_array_equal(read.landmarks, np.arange(468))
    np.testing.assert_array_equal(read.vertices, flame.faces[registration.triangles])
    assert [place.name for place in tmp_path.iterdir()] == ["own.npz"]


@pytest.mark.parametrize(
    ("point", "weights"),
    [
        ((0.2, 0.3, 5), (0.5, 0.2, 0.3)),  # above the inside
        ((-1, -1, 0), (1, 0, 0)),  # beyond a corner
        ((0.5, -2, 1), (0.5, 0.5, 0)),  # beside an edge
        ((1, 1, 0), (0, 0.5, 0.5)),
    ],
)
def test_closest_point_of_a_triangle(point, weights):
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], float)
    np.testing.assert_allclose(closest_barycentric(np.array(point, float), corners), weights, atol=1e-12)


def test_what_faces_the_other_way_is_passed_over():
    up = np.array([[-1, -1, 0], [2, -1, 0], [-1, 2, 0]], float)
    down = up[::-1] + np.array([0, 0, 0.004])  # nearer
    surface = Surface(
        np.zeros((2, 3), int), np.arange(2), np.stack([up, down]), np.array([[0, 0, 1.0], [0, 0, -1]])
    )
    found = surface.nearest(np.array([[0, 0, 0.006]]), np.array([[0, 0, 1.0]]))
    np.testing.assert_allclose(found.points, [[0, 0, 0]], atol=1e-12)

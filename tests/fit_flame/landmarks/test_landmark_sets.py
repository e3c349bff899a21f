"""A fit to iBUG's 68 points of a head whose motion is known, beside the fit to all that MediaPipe gives."""

from dataclasses import replace

import numpy as np
import pytest

from multitalk.fit_flame.fit import fit_clip
from multitalk.fit_flame.landmarks.embedding import detected_embedding
from multitalk.fit_flame.parameters.decode import project_vertices
from multitalk.fit_flame.parameters.synthetic import landmarks_of, speaking
from multitalk.ground.face_layout import IBUG_68, MEDIAPIPE_478

FEW = list(IBUG_68.mediapipe)


@pytest.fixture(scope="module")
def head_68(head):
    return replace(head, embedding=detected_embedding(head.embedding, IBUG_68.mediapipe))


def test_68_points_find_the_head_and_the_speech(head, head_68):
    truth = speaking(head)
    landmarks = landmarks_of(truth, head)
    found = fit_clip(landmarks[:, FEW], truth.valid, head_68)
    every = fit_clip(landmarks, truth.valid, head)
    assert found.landmark_error < max(0.002, 1.5 * every.landmark_error)
    assert found.landmark_error_lips < 0.002
    assert found.interocular_px == every.interocular_px
    turned = found.motion.rotation - truth.rotation
    assert np.abs(turned - turned.mean(axis=0)).max() < np.radians(2)
    assert np.corrcoef(found.motion.jaw[:, 0], truth.jaw[:, 0])[0, 1] > 0.95
    # The points that were not shown come out where they are, too, if not as well.
    apart = np.linalg.norm(project_vertices(found.motion, head) - landmarks, axis=-1)[:, :468]
    assert apart.mean() < 0.03 * found.interocular_px
    assert not found.motion.eyes.any()  # 68 points tell nothing of where the eyes look


def test_the_embedding_says_what_it_was_made_for(head, head_68):
    truth = speaking(head, 4)
    landmarks = landmarks_of(truth, head)
    for model, points, wanted in ((head, landmarks[:, FEW], 478), (head_68, landmarks, 68)):
        with pytest.raises(ValueError, match=rf"must be \(4, {wanted}, 2 or 3\)"):
            fit_clip(points, truth.valid, model)


def test_points_without_a_known_place_are_left_out(head):
    assert detected_embedding(head.embedding, MEDIAPIPE_478.mediapipe) is head.embedding
    part = detected_embedding(head.embedding, (470, 33, 263, 14))  # an iris has no place on the skin
    assert part.landmarks.tolist() == [1, 2, 3]
    assert part.vertices[:, 0].tolist() == [33, 263, 14]
    assert part.iris_vertices is None


def test_flames_own_68_lie_on_its_mean_face(shared):
    from multitalk.eval.ground_truth import read_template
    from multitalk.fit_flame.landmarks.embedding import ibug_embedding, landmarks_68, read_contour_embedding

    flame = shared / "flame"
    face = read_template(flame / "templates.pkl")
    lines = (flame / "head_template.obj").read_text().splitlines()
    faces = np.array([[int(p.split("/")[0]) - 1 for p in x.split()[1:4]] for x in lines if x[:2] == "f "])
    contour = read_contour_embedding(flame / "landmark_embedding.npy", faces)
    embedding = ibug_embedding(contour, faces, IBUG_68.mediapipe)
    points = (face[embedding.vertices] * embedding.barycentric[..., None]).sum(axis=1)
    np.testing.assert_allclose(points, landmarks_68(face[None], faces, contour, None)[0], atol=1e-6)

"""Mouth and eyes of a portrait in full view and under a hand, a microphone and dark glasses."""

import numpy as np
import pytest

from multitalk.assets.fetch import require
from multitalk.extract.faces.landmarks import DetectedFace, MediaPipeDetector
from multitalk.filters.appearance import FaceAppearance, face_appearance
from multitalk.filters.visibility import SEEN, confidence, landmark_trust
from multitalk.ground.landmark_layout import LEFT_EYE, LIPS, RIGHT_EYE
from tests.filters.covers import glasses, hand, microphone


@pytest.fixture(scope="module")
def seen_in(portrait):
    detector = MediaPipeDetector(require("face_landmarker"))

    def look(picture):
        (face,) = detector.find(np.ascontiguousarray(picture))
        return confidence([face], [face_appearance(picture, face)])[0]

    (face,) = detector.find(portrait)
    return lambda cover: look(portrait if cover is None else cover(portrait, face))


@pytest.mark.parametrize(
    ("cover", "mouth", "eyes"),
    [(None, True, True), (hand, False, True), (microphone, False, True), (glasses, True, False)],
)
def test_what_is_covered_is_not_seen(seen_in, cover, mouth, eyes):
    assert (seen_in(cover) >= SEEN).tolist() == [mouth, eyes]


def face(spread=None):
    return DetectedFace(np.zeros((478, 3), np.float32), spread=spread)


def test_the_spread_counts_between_the_frames_in_which_it_was_measured():
    clear, unsteady = (0.008, 0.008), (0.08, 0.008)
    faces = [face(clear), face(), face(), face(unsteady), face(), face(unsteady), None, face()]
    look = FaceAppearance(0.5, 0.5, mouth_outline=0.9, eye_lightness=-20.0)
    found = confidence(faces, [look if f else None for f in faces])
    assert found[0, 0] > 0.9
    assert (np.diff(found[:4, 0]) < 0).all()
    assert (found[3:, 0] < 0.5).all()
    assert (found[[0, 1, 5], 1] > 0.9).all()
    assert found[6].tolist() == [0, 0]


def test_without_a_spread_the_look_alone_tells():
    looks = [FaceAppearance(0.5, 0.5, outline) for outline in (0.9, 0.3)]
    found = confidence([face(), face()], looks)
    assert (found[:, 0] >= SEEN).tolist() == [True, False]
    assert (found[:, 1] >= SEEN).all()


def test_landmarks_are_trusted_as_their_region_is_seen():
    points = np.full((3, 478, 3), 300, np.float32)
    points[:, [33, 263], 0] = [[-50, 50]]
    points[:, [*LIPS, 199], 0] = 0
    points[:, 1, 0] = 80
    trust = landmark_trust(points, np.array([[1, 1], [0.25, 0.6], [0.9, 0]], np.float32))
    assert trust[:, LIPS[0]].tolist() == [1, 0.5, 1]
    assert (
        trust[:, RIGHT_EYE[0]].tolist()
        == trust[:, LEFT_EYE[3]].tolist()
        == trust[:, 470].tolist()
        == [1, 1, 0]
    )
    assert trust[:, 199].tolist() == [1, 0.5, 1]  # of the chin, covered with the mouth
    assert (trust[:, 1] == 1).all()
    assert landmark_trust(points[:, :68], np.ones((3, 2), np.float32)).shape == (3, 68)

import numpy as np

from multitalk.fit_flame.draw import LANDMARK_COLOUR, draw_overlay, facing

FACES = np.array([[0, 1, 2]])
FRONT = np.array([[100, 200], [200, 200], [150, 100]], np.float32)  # counter-clockwise with y up


def test_hidden_triangles_are_not_drawn():
    frame = np.zeros((256, 256, 3), np.uint8)
    assert facing(FRONT, FACES).tolist() == [True]
    assert draw_overlay(frame, None, FRONT, FACES).any()
    assert not draw_overlay(frame, None, FRONT, FACES[:, ::-1]).any()
    assert not frame.any()


def test_landmarks_are_dots_where_they_are_and_nan_is_skipped():
    frame = np.zeros((512, 512, 3), np.uint8)
    points = np.array([[50, 60, 0], [np.nan, np.nan, np.nan]], np.float32)
    drawn = draw_overlay(frame, points, None, FACES)
    assert drawn[60, 50].tolist() == list(LANDMARK_COLOUR)
    touched = np.argwhere(drawn.any(axis=2))
    assert np.ptp(touched, axis=0).max() <= 4

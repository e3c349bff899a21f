"""What is drawn over a face in a picture, so that mouth or eyes can not be seen."""

import numpy as np


def microphone(picture, face):
    import cv2

    mouth, size = mouth_of(face)
    covered = picture.copy()
    x, y = round(mouth[0]), round(mouth[1] + 0.1 * size)
    cv2.ellipse(covered, (x, y), (round(0.38 * size), round(0.42 * size)), 10, 0, 360, (35, 35, 38), -1)
    cv2.rectangle(
        covered,
        (x - round(0.1 * size), y + round(0.3 * size)),
        (x + round(0.1 * size), len(picture)),
        (60, 60, 60),
        -1,
    )
    return covered


def hand(picture, face):
    """Three fingers in the colour of the face's own skin, darker along their edges."""
    import cv2

    mouth, size = mouth_of(face)
    cheeks = np.round(face.points[[50, 280, 205, 425], :2]).astype(int)
    skin = np.median(picture[cheeks[:, 1], cheeks[:, 0]], axis=0)
    covered = picture.copy()
    for finger in range(3):
        y = mouth[1] + (finger - 1) * 0.22 * size
        ends = [(round(mouth[0] + side * 0.6 * size), round(y - side * 0.07 * size)) for side in (-1, 1)]
        cv2.line(covered, *ends, tuple(skin * 0.72), round(0.25 * size))
        cv2.line(covered, *ends, tuple(skin * 0.97), round(0.19 * size))
    return covered


def mouth_of(face):
    size = float(np.linalg.norm(face.points[33, :2] - face.points[263, :2]))
    return face.points[[13, 14, 61, 291], :2].mean(axis=0), size


def glasses(picture, face):
    import cv2

    covered = picture.copy()
    size = float(np.linalg.norm(face.points[33, :2] - face.points[263, :2]))
    for corners in ((33, 133), (263, 362)):
        middle = tuple(int(value) for value in face.points[list(corners), :2].mean(axis=0))
        cv2.ellipse(covered, middle, (int(0.28 * size), int(0.2 * size)), 0, 0, 360, (15, 15, 20), -1)
    return covered

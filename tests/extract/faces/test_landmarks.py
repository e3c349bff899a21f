"""Faces on pictures of a real face (scikit-image's portrait), moved around."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from multitalk.assets.fetch import require
from multitalk.extract.crop import crop_box
from multitalk.extract.errors import ClipError, ErrorCode
from multitalk.extract.faces.face_networks import FaceNetworks
from multitalk.extract.faces.landmarks import LandmarkSettings, MediaPipeDetector
from multitalk.extract.pictures import picture_landmarker

OUTER_EYES = (33, 263)


@pytest.fixture(scope="module")
def detector():
    return MediaPipeDetector(require("face_landmarker"))


def faces_of(detector, clip):
    return [seen.faces for seen in detector.faces(clip)]


def test_points_follow_a_moving_face_in_pixels(detector, portrait, write_clip):
    moves = [(0, 0), (30, 0), (0, -25)]
    found = faces_of(detector, write_clip([portrait(dx, dy) for dx, dy in moves]))
    assert [len(faces) for faces in found] == [1, 1, 1]
    points = np.stack([faces[0].points for faces in found])
    assert points.shape == (3, 478, 3)
    assert points.dtype == np.float32
    np.testing.assert_allclose((points - points[0]).mean(axis=1)[:, :2], moves, atol=3)
    # The outer corners of her eyes, read off the picture by hand.
    np.testing.assert_allclose(points[0, OUTER_EYES, :2], [[213, 186], [321, 190]], atol=6)
    # Her nose is nearer to the camera than her ears, by about as much as her eyes are apart.
    assert -1.5 < (points[0, 1, 2] - points[0, 234, 2]) / 108 < -0.5


def test_frames_come_with_their_index_and_picture(detector, portrait, write_clip):
    pictures = [portrait(0, 0), portrait(60, 0)]
    seen = list(detector.faces(write_clip(pictures)))
    assert [frame.index for frame in seen] == [0, 1]
    for frame, picture in zip(seen, pictures, strict=True):
        assert frame.frame.shape == (512, 512, 3)
        assert np.abs(frame.frame.astype(int) - picture).mean() < 4


def test_two_faces_and_none(detector, portrait, two_portraits, write_clip):
    nobody = np.full((512, 512, 3), 90, np.uint8)
    found = faces_of(detector, write_clip([portrait(0, 0), two_portraits, nobody]))
    assert [len(faces) for faces in found] == [1, 2, 0]


def test_a_clip_does_not_depend_on_the_one_before(portrait, two_portraits, write_clip):
    first, second = write_clip([two_portraits] * 3), write_clip([portrait(i, i) for i in range(3)])
    used = MediaPipeDetector(require("face_landmarker"))
    faces_of(used, first)
    after = faces_of(used, second)
    alone = faces_of(MediaPipeDetector(require("face_landmarker")), second)
    for one, other in zip(after, alone, strict=True):
        np.testing.assert_array_equal(one[0].points, other[0].points)


def test_stopping_early_leaves_no_thread_behind(detector, portrait, write_clip):
    import threading

    frames = detector.faces(write_clip([portrait(i, 0) for i in range(30)]))
    next(frames)
    frames.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "decode"]


def test_a_broken_clip_is_corrupt_media(detector, tmp_path):
    clip = tmp_path / "broken.mp4"
    clip.write_bytes(b"not a video" * 100)
    with pytest.raises(ClipError, match=r"broken\.mp4 can not be decoded") as caught:
        faces_of(detector, clip)
    assert caught.value.code is ErrorCode.CORRUPT_MEDIA


def test_a_missing_model_is_said_at_once(tmp_path):
    with pytest.raises(FileNotFoundError, match="no face landmark model"):
        MediaPipeDetector(tmp_path / "nowhere.task")


def test_mediapipe_is_quiet_and_others_are_heard(portrait, write_clip):
    clip = write_clip([portrait(0, 0)])
    program = (
        "import sys; from pathlib import Path; from multitalk.extract.faces.landmarks import MediaPipeDetector\n"
        "for seen in MediaPipeDetector(Path(sys.argv[1])).faces(Path(sys.argv[2])): print(len(seen.faces))\n"
        "print('heard', file=sys.stderr)"
    )
    arguments = [sys.executable, "-c", program, str(require("face_landmarker")), str(clip)]
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        arguments,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert done.stdout == "1\n"
    assert done.stderr == "heard\n"


def test_a_missing_library_says_how_to_get_it(portrait, write_clip, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ClipError, match=r"LiteRT can not be loaded.*pip install .*ai-edge-litert"):
        faces_of(MediaPipeDetector(require("face_landmarker")), write_clip([portrait(0, 0)]))


def test_points_are_those_of_mediapipe_in_image_mode(portrait, write_clip):
    detector = MediaPipeDetector(require("face_landmarker"), LandmarkSettings(min_detection_confidence=0.2))
    clip = write_clip([portrait(20 * i, -12 * i, 1 - 0.12 * i) for i in range(4)])
    with picture_landmarker(require("face_landmarker")) as look:
        for seen in detector.faces(clip):
            expected = look(seen.frame)
            np.testing.assert_allclose(seen.faces[0].points, expected.points, atol=0.15)
            assert seen.faces[0].presence > 0.99


def test_a_covered_face_is_followed_and_one_that_leaves_is_not(detector, portrait, write_clip):
    bright, nobody = portrait(0, 0), np.full((512, 512, 3), 90, np.uint8)
    dark = (bright * 0.06).astype(np.uint8)
    found = faces_of(detector, write_clip([bright, dark, dark, nobody, bright]))
    assert [len(faces) for faces in found] == [1, 1, 1, 0, 1]


def test_landmarks_that_a_second_look_denies_are_uncertain(portrait, write_clip, monkeypatch):
    """A place of which the detector is not sure, and landmarks that move when the crop is another."""
    clip = write_clip([portrait(0, 0)] * 2)
    doubtful = LandmarkSettings(min_detection_confidence=1.0)
    assert [
        face.certain for (face,) in faces_of(MediaPipeDetector(require("face_landmarker"), doubtful), clip)
    ] == [True, True]
    true, looks = FaceNetworks.landmarks, []

    def unsteady(self, frame, crop):
        points, presence = true(self, frame, crop)
        looks.append(crop)
        return points + np.float32(0.1 * (len(looks) % 2)) * np.ptp(points, axis=0), presence

    monkeypatch.setattr(FaceNetworks, "landmarks", unsteady)
    assert [
        face.certain for (face,) in faces_of(MediaPipeDetector(require("face_landmarker"), doubtful), clip)
    ] == [False, False]


SAMPLE = Path(__file__).parents[3].parent / "shared" / "sample"


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="needs the sample videos: ../shared/sample")
@pytest.mark.parametrize(
    ("video", "language", "faces"),
    [
        ("ruSyncedJJJ", "russian", 1),  # 200 px of a 1080x1920 picture
        ("enSyncedLow", "english", 1),  # enlarged from 209 px
        ("deTwoFaces0", "german", 2),  # the crop shows half of each
        ("enFullBody0", "english", 0),
        ("enNoFace000", "english", 0),
    ],
)
def test_real_videos(detector, write_clip, video, language, faces):
    import av
    import cv2

    annotation = json.loads((SAMPLE / "annotations" / f"{language}.json").read_text())[f"{video}_0"]
    with av.open(str(SAMPLE / "videos" / f"{video}.mp4")) as container:
        frames = [f.to_ndarray(format="rgb24") for f in itertools.islice(container.decode(video=0), 0, 75, 3)]
    crop = crop_box(annotation["bbox"], frames[0].shape[1], frames[0].shape[0])
    x, y, side = int(crop.x), int(crop.y), int(crop.width)
    clip = write_clip([cv2.resize(f[y : y + side, x : x + side], (512, 512)) for f in frames])
    found = faces_of(detector, clip)
    # The track takes care of single frames; at least a fifth of them must show what is there, and none more.
    counts = [len(seen) for seen in found]
    assert max(counts) == faces
    assert counts.count(faces) >= len(frames) / 5

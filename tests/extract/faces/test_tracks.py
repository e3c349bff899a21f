"""Tracks from faces whose places are known: ovals of points that move, vanish, double and cross a cut."""

import tracemalloc

import numpy as np
import pytest

from multitalk.extract.crop import crop_box
from multitalk.extract.errors import ClipError, ErrorCode
from multitalk.extract.faces.landmarks import DetectedFace
from multitalk.extract.faces.shots import ShotDetector
from multitalk.extract.faces.tracks import (
    TrackSettings,
    _continues,
    box_in_clip,
    choose_track,
    follow,
)
from multitalk.ground.face_layout import overlap

WHOLE = np.array([0, 0, 512, 512], np.float32)
OVAL = np.random.default_rng(0).uniform(-0.5, 0.5, (478, 3)).astype(np.float32)
OVAL[:2] = [[-0.5, -0.5, 0], [0.5, 0.5, 0]]


def face(x, y, size=150.0):
    return DetectedFace(OVAL * np.float32(size) + np.array([x, y, 0], np.float32))


def choose(faces, box=WHOLE, **settings):
    return choose_track(faces, box, TrackSettings(**settings), "clip_0")


def test_a_face_that_moves_is_one_track_whatever_its_index():
    one = [face(100 + 5 * i, 200) for i in range(20)]
    other = [face(400 - 5 * i, 400, 100) for i in range(20)]
    faces = [[a, b] if i % 2 else [b, a] for i, (a, b) in enumerate(zip(one, other, strict=True))]
    assert len(follow(faces, TrackSettings())) == 2
    track = choose(faces)
    assert track.face_index.tolist() == [0 if i % 2 else 1 for i in range(20)]
    np.testing.assert_array_equal(track.landmarks, [f.points for f in one])
    assert track.landmarks.dtype == np.float32
    assert track.valid.all()
    assert not track.interpolated.any()
    assert track.face_count.tolist() == [2] * 20


def test_the_annotated_box_says_which_face_is_meant():
    faces = [[face(120, 200), face(380, 200)]] * 5
    left, right = np.array([20, 60, 240, 330], np.float32), np.array([280, 60, 500, 330], np.float32)
    assert choose(faces, left).face_index.tolist() == [0] * 5
    assert choose(faces, right).face_index.tolist() == [1] * 5


def test_a_smaller_face_is_followed_when_the_box_means_it():
    large, small = face(150, 250, 260), face(420, 150, 90)
    frames = [[large, small] if i % 3 else [large] for i in range(12)]
    track = choose(frames, np.array([370, 100, 470, 200], np.float32))
    assert track.face_index.tolist() == [1 if i % 3 else -1 for i in range(12)]
    assert track.interpolated.tolist() == [i % 3 == 0 and i > 0 for i in range(12)]
    assert track.face_count.tolist() == [2 if i % 3 else 1 for i in range(12)]


def test_short_gaps_are_interpolated_and_long_ones_stay():
    seen = [True] * 5 + [False] * 3 + [True] * 5 + [False] * 4 + [True] * 5
    faces = [[face(100 + 4 * i, 200)] if s else [] for i, s in enumerate(seen)]
    track = choose(faces)
    assert track.interpolated.tolist() == [False] * 5 + [True] * 3 + [False] * 14
    assert track.valid.tolist() == [True] * 13 + [False] * 4 + [True] * 5
    np.testing.assert_allclose(track.landmarks[6], face(124, 200).points, atol=1e-3)
    assert np.isnan(track.landmarks[~track.valid]).all()
    assert track.coverage == pytest.approx(15 / 22)
    assert choose(faces, max_gap=0).valid.tolist() == seen


@pytest.mark.parametrize("strange", [face(200, 290), face(200, 200, 110), face(200, 200, 190)])
def test_what_leaps_away_and_back_is_no_face(strange):
    faces = [[face(200, 200)]] * 8 + [[strange]] * 2 + [[face(204, 200)]] * 8
    track = choose(faces)
    assert track.valid.tolist() == [True] * 8 + [False] * 2 + [True] * 8
    assert np.isnan(track.landmarks[~track.valid]).all()
    assert track.coverage == pytest.approx(16 / 18)


def test_uncertain_landmarks_are_not_valid_but_their_face_counts():
    doubtful = DetectedFace(face(200, 200).points, certain=False)
    track = choose([[face(200, 200)]] * 4 + [[doubtful]] * 2 + [[face(200, 200)]] * 4)
    assert track.valid.tolist() == [True] * 4 + [False] * 2 + [True] * 4
    other = DetectedFace(face(420, 300).points, certain=False)
    left = np.array([100, 100, 300, 300], np.float32)
    assert choose([[face(200, 200), other]] * 12, left).face_count.tolist() == [2] * 12


def test_fast_turns_steps_towards_the_camera_and_cuts_are_no_leaps():
    turn = [[face(100 + 25 * i, 200)] for i in range(5)]
    nearer = [[face(200, 200, 150 * 1.15**i)] for i in range(4)]
    cut = [[face(100, 200)]] * 5 + [[face(160, 200)]] * 5
    for faces in (turn + turn[::-1], nearer + nearer[::-1], cut):
        assert choose(faces).valid.all()


def test_a_gap_at_an_end_is_not_invented():
    track = choose([[], *[[face(200, 200)]] * 5, []])
    assert track.valid.tolist() == [False] + [True] * 5 + [False]


def test_a_face_that_comes_back_is_joined_but_not_another_person():
    here, there = [face(130, 200)], [face(400, 200)]
    back = choose([here] * 10 + [[]] * 8 + [[face(150, 210)]] * 6)
    assert back.coverage == pytest.approx(16 / 24)
    other = choose([here] * 10 + [[]] * 4 + [there] * 6)
    assert other.coverage == pytest.approx(10 / 20)
    smaller = choose([here] * 10 + [[]] * 4 + [[face(130, 200, 60)]] * 6)
    assert smaller.coverage == pytest.approx(10 / 20)


def test_small_faces_and_doubles_do_not_count():
    main, double, poster, friend = face(200, 250), face(205, 252), face(450, 60, 30), face(420, 250, 90)
    assert choose([[main, double]] * 5).face_count.tolist() == [1] * 5
    assert choose([[main, poster]] * 5).face_count.tolist() == [1] * 5
    assert choose([[poster, main, friend]] * 5).face_count.tolist() == [2] * 5


@pytest.mark.parametrize(
    ("faces", "message"),
    [
        ([[]] * 10, "no face in any of its 10 frames"),
        ([[face(200, 200)]] * 4 + [[]] * 6, "seen in 4 of 10 frames, fewer than 50%"),
    ],
)
def test_no_usable_face(faces, message):
    with pytest.raises(ClipError, match=message) as caught:
        choose(faces)
    assert caught.value.code is ErrorCode.NO_FACE


def test_annotated_box_in_the_clip():
    bbox = {"top": 0.2, "bottom": 0.8, "left": 0.3, "right": 0.6}
    crop = crop_box(bbox, 1280, 720)
    box = box_in_clip(bbox, crop, 1280, 720)
    # The widened box is x 358..794, y 130..590; the crop its middle square of 436 pixels, from (358, 142) on.
    in_crop = np.array([384 - 358, 144 - 142, 768 - 358, 576 - 142])
    np.testing.assert_allclose(box, in_crop * 512 / 436, atol=1e-3)
    assert box_in_clip({**bbox, "left": 0.0}, crop, 1280, 720)[0] == 0  # what was cut away is not in the clip


def test_overlap():
    box = np.array([0, 0, 10, 10], np.float32)
    assert overlap(box, box) == 1
    assert overlap(box, box + 10) == 0
    assert overlap(box, np.array([5, 0, 15, 10], np.float32)) == pytest.approx(1 / 3)


def cuts(frames):
    shots = ShotDetector()
    for frame in frames:
        shots.add(np.ascontiguousarray(frame))
    return shots.cuts()


@pytest.fixture(scope="module")
def room():
    from skimage import data

    return np.ascontiguousarray(data.coffee()[:400, :400])


def test_cuts_are_found_where_they_are(portrait, room):
    talking = [portrait(i % 4, i % 3) for i in range(20)]
    elsewhere = [np.roll(room, i, axis=1) for i in range(15)]
    assert cuts(talking) == []
    assert cuts(talking + elsewhere) == [20]
    assert cuts(talking + elsewhere + talking) == [20, 35]
    assert cuts(talking[:2] + elsewhere) == [2]
    assert cuts([*talking, elsewhere[0]]) == [20]
    large = [frame.repeat(3, axis=0).repeat(3, axis=1) for frame in talking + elsewhere]
    assert cuts(large) == [20]


def test_what_is_no_cut(portrait):
    talking = [portrait(i % 4, i % 3) for i in range(20)]
    light = np.full((512, 512, 3), 255, np.uint8)
    assert cuts([*talking[:10], light, *talking[10:]]) == []
    assert cuts([*talking[:10], light, light, *talking[10:]]) == []
    assert cuts([portrait(60 * i - 240, 0) for i in range(9)]) == []  # a fast pan
    assert cuts([]) == []
    assert cuts(talking[:1]) == []


def test_what_is_taken_for_a_face_for_a_moment_does_not_count():
    main, ghost = face(256, 256), face(60, 60)
    frames = [[main, ghost] if 40 <= f < 49 else [main] for f in range(100)]
    assert choose(frames).face_count.max() == 1
    frames = [[main, ghost] if 40 <= f < 50 else [main] for f in range(100)]
    assert choose(frames).face_count.max() == 2


def test_a_long_clip_needs_little_memory():
    """Frames of two tracks are not compared all with all: at a quarter of an hour that took gigabytes."""
    faces = [[face(200, 200)]] * 20_000
    index = np.full(20_000, -1, np.int32)
    index[:10_000] = 0
    tracemalloc.start()
    assert _continues(dict.fromkeys(range(10_000, 20_000), 0), index, faces)
    assert not _continues(dict.fromkeys(range(9_999, 20_000), 0), index, faces)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10e6

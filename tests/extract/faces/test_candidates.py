from itertools import pairwise

import numpy as np
import pytest

from multitalk.extract.crop import crop_box
from multitalk.extract.faces.candidates import (
    CandidateSettings,
    SampledFrame,
    SpeechActivity,
    clip_box,
    clip_intervals,
    find_candidates,
    one_face_stretches,
)

SIZE = (1280, 720)
FACE = (500.0, 200.0, 700.0, 440.0)
SETTINGS = CandidateSettings()


def sampled_frame(frame, *boxes, yaw=0.0, pitch=0.0):
    count = len(boxes)
    return SampledFrame(
        frame,
        np.asarray(boxes, np.float32).reshape(-1, 4),
        np.full(count, yaw, np.float32),
        np.full(count, pitch, np.float32),
    )


def speech(*intervals, frames=500):
    heard = np.zeros(frames, np.float32)
    for start, end in intervals:
        heard[int(start) : int(end)] = 0.9
    return SpeechActivity(intervals, heard)


def spans(sampled_frames, spoken, cuts=(), frames=500):
    found = find_candidates(sampled_frames, cuts, frames, spoken, SIZE, SETTINGS)
    return [(c.start_frame, c.start_frame + c.frame_count) for c in found]


ALONE = [sampled_frame(frame, FACE) for frame in range(0, 500, 5)]


def test_a_clip_holds_speech_and_a_little_silence():
    assert spans(ALONE, speech((100, 200))) == [(95, 205)]


def test_near_sentences_make_one_clip_and_far_ones_two():
    assert spans(ALONE, speech((100, 160), (170, 240))) == [(95, 245)]
    assert spans(ALONE, speech((100, 160), (200, 260))) == [(95, 165), (195, 265)]


def test_long_speech_is_parted_at_its_longest_pause():
    assert spans(ALONE, speech((50, 180), (186, 290), (300, 420))) == [(45, 295), (295, 425)]
    between_frames = speech((50, 180), (186, 290.4), (300.4, 420))
    assert spans(ALONE, between_frames) == [(45, 296), (296, 425)]


def test_speech_without_a_pause_is_parted_where_it_is_least_heard():
    spoken = speech((20, 440))
    spoken.probability[233] = 0.2
    (first, second) = spans(ALONE, spoken)
    assert first[1] == second[0] == 233
    assert all(end - start <= 300 for start, end in (first, second))


def test_speech_too_short_for_two_clips_makes_one():
    settings = CandidateSettings(min_clip_sec=8)
    (found,) = find_candidates(ALONE, (), 500, speech((20, 345)), SIZE, settings)
    assert 8 * 25 <= found.frame_count <= 12 * 25


def test_hours_of_speech_without_a_pause_are_parted():
    frames = 2 * 3600 * 25
    alone = [sampled_frame(frame, FACE) for frame in range(0, frames, 25)]
    found = find_candidates(alone, (), frames, speech((0, frames), frames=frames), SIZE, SETTINGS)
    assert found[0].start_frame == 0
    assert all(a.start_frame + a.frame_count == b.start_frame for a, b in pairwise(found))
    assert found[-1].start_frame + found[-1].frame_count == frames


def test_the_shortest_clip_is_shorter_than_the_longest():
    with pytest.raises(ValueError, match="min_clip_sec: must be less"):
        CandidateSettings(min_clip_sec=12)


def test_short_speech_makes_no_clip():
    assert spans(ALONE, speech((100, 120))) == []


def test_a_cut_parts_clips_and_speech_across_it_is_left_out():
    spoken = speech((30, 120), (130, 170), (176, 260))
    assert spans(ALONE, spoken, cuts=[150]) == [(25, 125), (173, 265)]


@pytest.mark.parametrize(
    "bad",
    [
        sampled_frame(150),
        sampled_frame(150, FACE, (900, 200, 1050, 400)),
        sampled_frame(150, FACE, yaw=60),
        sampled_frame(150, FACE, pitch=-50),
        sampled_frame(150, (500, 200, 570, 290)),
        sampled_frame(150, (100, 200, 300, 440)),
    ],
    ids=["none", "two", "profile", "looking down", "small", "elsewhere"],
)
def test_a_clip_needs_the_same_single_usable_face_throughout(bad):
    seen = [bad if other.frame == 150 else other for other in ALONE]
    assert spans(seen, speech((20, 140), (160, 280))) == [(15, 145), (155, 285)]
    assert spans(seen, speech((20, 280))) == []


def test_a_small_face_in_the_background_does_not_count():
    seen = [sampled_frame(frame, FACE, (900, 200, 950, 260)) for frame in range(0, 500, 5)]
    assert spans(seen, speech((100, 200))) == [(95, 205)]


def test_times_that_nobody_looked_at_hold_no_clip():
    seen = [other for other in ALONE if not 100 < other.frame < 200]
    assert [(s.start, s.end) for s in one_face_stretches(seen, [], 500, SETTINGS)] == [(0, 101), (200, 500)]


def test_a_stretch_reaches_to_the_cut_and_to_the_end_of_the_video():
    seen = [sampled_frame(frame, FACE) for frame in range(0, 48, 5)]
    first, second = one_face_stretches(seen, [23], 49, SETTINGS)
    assert (first.start, first.end, second.start, second.end) == (0, 23, 23, 49)


def test_margins_never_reach_into_other_speech():
    stretch = one_face_stretches(ALONE, [], 500, SETTINGS)[0]
    (clip,) = clip_intervals(stretch, speech((90, 97), (100, 200), (202, 206)), SETTINGS)
    assert clip == (85, 211)


@pytest.mark.parametrize("size", [(1280, 720), (1080, 1920), (224, 224)])
def test_the_crop_of_a_box_holds_the_face(size):
    width, height = size
    rng = np.random.default_rng(0)
    for _ in range(200):
        side = rng.uniform(0.1, 0.6) * min(size)
        left, top = rng.uniform(0, width - side), rng.uniform(0, height - side)
        box = np.asarray([[left, top, left + 0.8 * side, top + side]], np.float32)
        bbox = clip_box(box, size, SETTINGS.box_scale)
        assert bbox is not None
        crop = crop_box(bbox.as_dict(), width, height)
        slack = 0.1 * side + 1
        assert crop.x - slack <= left and left + 0.8 * side <= crop.x + crop.width + slack
        assert crop.y - slack <= top and top + side <= crop.y + crop.height + slack
        assert crop.width >= min(1.9 * side, *size) - 2


def test_a_face_that_wanders_gets_a_wider_box():
    still = np.asarray([FACE] * 2, np.float32)
    wandering = np.asarray([FACE, [c + (300 if i % 2 == 0 else 0) for i, c in enumerate(FACE)]], np.float32)
    narrow, wide = (clip_box(boxes, SIZE, 2.0) for boxes in (still, wandering))
    assert wide.right - wide.left > narrow.right - narrow.left


@pytest.mark.parametrize(("start", "end"), [(100.7, 400.3), (100.7, 399.9), (100, 400)])
def test_speech_as_long_as_the_longest_clip_makes_one(start, end):
    """Also where it begins and ends between frames."""
    ((first, last),) = spans(ALONE, speech((start, end)))
    assert last - first == 300
    assert (first, last) == (100, 400)


def test_the_shortest_clips_are_two_frames():
    with pytest.raises(ValueError, match="min_clip_sec"):
        CandidateSettings(min_clip_sec=0.02)
    settings = CandidateSettings(min_clip_sec=0.08, max_clip_sec=0.1)
    spoken = SpeechActivity([(10.0, 200.0)], np.r_[np.zeros(12), np.ones(488)].astype(np.float32))
    found = find_candidates(ALONE, (), 500, spoken, SIZE, settings)
    assert found
    assert {clip.frame_count for clip in found} == {2}

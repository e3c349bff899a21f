"""Text near a face, found by the real detector in pictures whose text is drawn."""

import cv2
import numpy as np
import pytest

from multitalk.assets.fetch import require
from multitalk.filters.screen_text import SIDE, ScreenText, near_face

EYES, MOUTH = (33, 263), (13, 14)


@pytest.fixture(scope="module")
def detector() -> ScreenText:
    return ScreenText(require("text_detector"))


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    """A face in the middle of 512 x 512, its eyes 130 px apart."""
    landmarks = np.full((478, 3), 256, np.float32)
    landmarks[EYES, 0] = 191, 321
    landmarks[EYES, 1] = 200
    landmarks[MOUTH, 1] = 300
    return landmarks


def picture(text: str, height: int) -> np.ndarray:
    shade = np.linspace(60, 160, 512)[:, None] + np.linspace(0, 40, 512)
    frame = np.repeat(shade[..., None], 3, axis=2).astype(np.uint8)
    for colour, thick in (((0, 0, 0), 6), ((255, 255, 255), 2)):
        cv2.putText(frame, text, (90, height), cv2.FONT_HERSHEY_SIMPLEX, 0.9, colour, thick, cv2.LINE_AA)
    return frame


@pytest.mark.parametrize(("height", "near"), [(305, True), (460, True), (60, False)])
def test_a_line_counts_where_it_is_near_the_lower_face(detector, points, height, near):
    text = detector.text(picture("what she said then", height))
    assert text.mean() > 0.005
    assert (near_face(text, points, (512, 512)) > 0.005) == near


def test_a_picture_without_text_has_none(detector, points):
    assert near_face(detector.text(picture("", 0)), points, (512, 512)) == 0


def test_text_is_measured_in_three_frames_in_which_the_face_is_seen(detector, points, tmp_path):
    import av

    place = tmp_path / "clip.mp4"
    with av.open(str(place), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = 512, 512, "yuv420p"
        for number in range(12):
            frame = picture("what she said then" if number > 4 else "", 305)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode(None))
    landmarks = np.repeat(points[None], 12, axis=0)
    assert detector.measure(place, landmarks) > 0.005  # two frames of the three
    landmarks[[2, 6]] = np.nan
    assert detector.measure(place, landmarks) > 0.005
    landmarks[10] = np.nan
    assert detector.measure(place, landmarks) is None


def test_the_share_is_that_of_the_whole_picture(points):
    everywhere = np.ones((SIDE, SIDE), bool)
    share = near_face(everywhere, points, (512, 512))
    assert share == pytest.approx(2 * 1.2 * 130 / 512 * (0.6 * 130 + 212) / 512, abs=0.01)

"""A clip with a real face and speech through the networks: scikit-image's astronaut."""

import av
import cv2
import numpy as np
import pytest

from multitalk.assets.fetch import require
from multitalk.filters.persons.describe import PersonDescriber

# Corners of the eyes and base of the nose in the picture of 512 px, as MediaPipe finds them.
POINTS = {
    263: (255.3, 103.8),
    362: (236.4, 104.9),
    33: (195.3, 100.6),
    133: (213.6, 103.6),
    2: (223.5, 133.4),
}
FRAMES = 9


@pytest.fixture(scope="module")
def describer():
    return PersonDescriber(require("face_descriptor"), require("voice_encoder"))


@pytest.fixture
def clip(tmp_path):
    """Make a clip of the astronaut, turned and scaled: its file and its landmarks (T, 478, 3)."""
    from skimage import data

    picture = np.ascontiguousarray(data.astronaut())

    def make(name: str, turned: float = 0.0, scale: float = 1.5, light: float = 1.0):
        way = cv2.getRotationMatrix2D((225, 115), turned, scale) + np.array([[0, 0, 31], [0, 0, 141]])
        frame = (cv2.warpAffine(picture, way, (512, 512)) * light).astype(np.uint8)
        place = tmp_path / f"{name}.mp4"
        with av.open(str(place), "w") as file:
            stream = file.add_stream("libx264", rate=25)
            stream.width = stream.height = 512
            stream.pix_fmt = "yuv420p"
            for _ in range(FRAMES):
                file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            file.mux(stream.encode(None))
        points = np.zeros((FRAMES, 478, 3), np.float32)
        for landmark, at in POINTS.items():
            points[:, landmark, :2] = way @ [*at, 1]
        return place, points

    return make


def test_a_face_is_the_same_in_other_light_size_and_position(describer, clip, german):
    speech, valid = [(0, len(german))], np.ones(FRAMES, bool)
    first = describer.describe(*clip("a"), valid, german, speech)
    again = describer.describe(
        *clip("b", turned=25, scale=0.9, light=0.6), valid, german[: len(german) // 2], speech
    )
    assert np.linalg.norm(first.face - again.face) < 0.35
    assert first.voice @ again.voice > 0.85
    assert first.sound_print.shape == (FRAMES,)
    assert first.voice_sec == pytest.approx(len(german) / 16_000)


def test_what_is_not_seen_or_heard_is_not_described(describer, clip, german):
    nobody = describer.describe(*clip("c"), np.zeros(FRAMES, bool), german, [])
    assert (nobody.face, nobody.voice, nobody.voice_sec) == (None, None, 0.0)

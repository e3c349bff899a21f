"""Clips of a real face: the portrait that scikit-image carries, moved around."""

from fractions import Fraction

import numpy as np
import pytest

SIDE = 512


@pytest.fixture(scope="session")
def portrait():
    """Return the picture (512, 512, 3) of the astronaut's head, moved right and down by so many pixels."""
    import cv2
    from skimage import data

    head = cv2.resize(data.astronaut()[0:280, 80:360], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)

    def moved(dx=0, dy=0, scale=1.0):
        # Scaled about the nose.
        transform = np.array([[scale, 0, (1 - scale) * 258 + dx], [0, scale, (1 - scale) * 220 + dy]])
        return cv2.warpAffine(head, transform, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)

    return moved


@pytest.fixture(scope="session")
def two_portraits(portrait):
    """Two heads of half the size side by side."""
    half = portrait(0, 0, 0.75)[:, 128:384]
    return np.concatenate([half, half[:, ::-1]], axis=1)


@pytest.fixture
def write_clip(tmp_path):
    """Return a function that writes pictures to a clip of 25 frames a second, nearly without loss."""
    import av

    def write(pictures):
        path = tmp_path / f"clip_{len(list(tmp_path.iterdir()))}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"crf": "10", "preset": "ultrafast"})
            stream.width = stream.height = SIDE
            stream.pix_fmt = "yuv420p"
            stream.time_base = Fraction(1, 25)
            for picture in pictures:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return write

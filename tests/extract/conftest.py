"""What several tests share: a bad server, and clips of the portrait that scikit-image carries."""

import threading
from fractions import Fraction

import av
import numpy as np
import pytest

from tests.extract.bad_server import BadServer

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


@pytest.fixture(scope="session")
def video_bytes(tmp_path_factory) -> bytes:
    """A real video of 2 s with sound, its index in front, of about 300 kB."""
    path = tmp_path_factory.mktemp("source") / "video.mp4"
    noise = np.random.default_rng(0)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        picture = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "20"})
        picture.width, picture.height, picture.pix_fmt = 160, 120, "yuv420p"
        sound = container.add_stream("aac", rate=16000, layout="mono")
        for _ in range(50):
            frame = av.VideoFrame.from_ndarray(
                noise.integers(0, 255, (120, 160, 3), np.uint8), format="rgb24"
            )
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        for _ in range(32):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.int16), format="s16", layout="mono")
            samples.sample_rate = 16000
            container.mux(sound.encode(samples))
        container.mux(sound.encode())
    return path.read_bytes()


@pytest.fixture(scope="session")
def server(video_bytes):
    server = BadServer(video_bytes)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()

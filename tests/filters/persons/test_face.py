import numpy as np
import pytest

from multitalk.assets.fetch import require
from multitalk.filters.persons.face import FaceDescriptor, aligned, looks
from multitalk.ground.face_layout import IBUG_68


@pytest.fixture(scope="module")
def describer():
    return FaceDescriptor(require("face_descriptor"), "cpu")


def face_at(x: float, y: float, size: float, turned: float = 0.0) -> np.ndarray:
    """Landmarks (478, 3) of which corners of eyes and base of nose lie as dlib's mean face has them, turned by rad."""
    places = {
        263: (0.86, 0.2135),
        362: (0.646, 0.229),
        33: (0.1206, 0.2137),
        133: (0.334, 0.229),
        2: (0.49, 0.628),
    }
    points = np.zeros((478, 3), np.float32)
    around = np.exp(1j * turned)
    for landmark, (u, v) in places.items():
        at = complex(x, y) + size * around * complex(u - 0.5, v - 0.5)
        points[landmark, :2] = at.real, at.imag
    return points


def test_descriptors_are_those_of_dlib(describer):
    """Numbers of dlib 20.0.1, `face_recognition_model_v1.compute_face_descriptor`, of the same picture."""
    y, x = np.mgrid[:150, :150]
    waves = [127 + 100 * np.sin(x / (9 + 3 * c) + y / (17 - 2 * c)) for c in range(3)]
    found = describer.describe(np.stack(waves, axis=-1).astype(np.uint8)[None])[0]
    expected = [-0.0754, 0.1496, 0.06566, -0.03071, -0.06112, -0.04416, -0.09535, 0.01497]
    np.testing.assert_allclose(found[:8], expected, atol=2e-5)
    assert np.linalg.norm(found) == pytest.approx(1.26503, abs=1e-4)


def test_a_face_is_cut_out_upright_wherever_and_however_it_lies():
    frame = np.zeros((512, 512, 3), np.uint8)
    face = face_at(300, 200, 160, turned=0.6)
    x, y = face[2, :2].round().astype(int)
    frame[y - 6 : y + 7, x - 6 : x + 7] = 255
    rows, columns = np.nonzero(aligned(frame, face)[..., 0] > 128)
    # the base of the nose: (0.49 + 0.25) / 1.5 and (0.628 + 0.25) / 1.5 of the side
    assert rows.mean() == pytest.approx(0.585 * 150, abs=1.5)
    assert columns.mean() == pytest.approx(0.4934 * 150, abs=1.5)


def test_landmarks_of_either_detector_cut_the_same():
    frame = np.random.default_rng(0).integers(0, 256, (512, 512, 3)).astype(np.uint8)
    face = face_at(250, 260, 200)
    np.testing.assert_array_equal(aligned(frame, face), aligned(frame, face[list(IBUG_68.mediapipe)]))


def test_looks_lie_apart_where_the_face_looks_at_the_camera():
    clip = np.stack([face_at(256, 256, 150)] * 30)
    clip[:, 2, 0] += 20  # turned away
    clip[[4, 15, 22], 2, 0] -= 20
    valid = np.ones(30, bool)
    assert looks(clip, valid) == [4, 15, 22]
    valid[15] = False
    clip[22] = np.nan
    assert not {15, 22} & set(looks(clip, valid))
    assert looks(clip, np.zeros(30, bool)) == []


def test_another_file_is_refused(tmp_path):
    whole = require("face_descriptor").read_bytes()
    for number, content in enumerate((b"", b"no network", whole[: len(whole) // 2])):
        place = tmp_path / f"{number}.dat"
        place.write_bytes(content)
        with pytest.raises(ValueError, match="does not hold the weights"):
            FaceDescriptor(place)

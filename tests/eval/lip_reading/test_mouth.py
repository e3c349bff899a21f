from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from multitalk.eval.drawing.camera import Camera
from multitalk.eval.lip_reading.mouth import MouthLandmarks, model_input, mouth_crops

SHARED = Path(__file__).parents[3].parent / "shared"
MEAN_FACE = np.array([[128.87, 137.30], [92.52, 94.37], [112.77, 94.94], [145.53, 94.53], [166.68, 93.57]])


def face(frames: int, transform=lambda p: p) -> MouthLandmarks:
    """Landmarks of the mean face, moved."""
    stable = transform(np.repeat(MEAN_FACE[None], frames, axis=0))
    return MouthLandmarks(stable, transform(np.full((frames, 2), [129.0, 158.0])))


def picture(seed: int = 0, size: int = 256) -> np.ndarray:
    """A smooth random picture."""
    noise = np.random.default_rng(seed).normal(size=(size, size))
    smooth = ndimage.gaussian_filter(noise, 3)
    grey = np.clip(128 + 60 * smooth / smooth.std(), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def test_a_mean_face_is_only_cut():
    frame = picture()
    crops = mouth_crops([frame] * 3, face(3))
    assert crops.shape == (3, 96, 96)
    expected = frame[158 - 48 : 158 + 48, 129 - 48 : 129 + 48, 0].astype(int)
    assert np.abs(crops[0].astype(int) - expected).max() <= 1


def test_size_turn_and_place_of_the_face_do_not_matter():
    frame = picture()
    angle, scale, shift = 0.3, 1.7, np.array([40.0, -10.0])
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def move(points):
        return points @ turn.T + shift

    inverse = np.linalg.inv(turn)[::-1, ::-1]  # from (x, y) to (row, column)
    moved = ndimage.affine_transform(
        frame[..., 0].astype(float), inverse, -inverse @ shift[::-1], (512, 512), order=3, mode="constant"
    )
    moved = np.repeat(np.clip(moved, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    straight, turned = (
        mouth_crops([f], l)[0].astype(int) for f, l in ((frame, face(1)), (moved, face(1, move)))
    )
    assert np.abs(straight - turned).mean() < 3


def test_crops_are_the_references():
    """The reference's way, with skimage, on landmarks that move: smoothing, warp of the whole frame, cut."""
    transform = pytest.importorskip("skimage.transform")
    rng = np.random.default_rng(0)
    frames = [picture(k, 300) for k in range(15)]
    move = rng.normal(scale=2, size=(15, 1, 2)) + np.array([20.0, 15.0])
    landmarks = MouthLandmarks(1.1 * MEAN_FACE + move, 1.1 * np.array([129.0, 158.0]) + move[:, 0])
    crops = mouth_crops(frames, landmarks)
    for k in range(15):
        first = min(k, 15 - 12)
        smoothed = landmarks.stable[first : first + 12].mean(axis=0)
        estimated = transform.estimate_transform("similarity", smoothed, MEAN_FACE)
        warped = (
            transform.warp(frames[k][..., 0], inverse_map=estimated.inverse, output_shape=(256, 256)) * 255
        )
        x, y = estimated(landmarks.centre[k])[0]
        expected = warped[round(y) - 48 : round(y) + 48, round(x) - 48 : round(x) + 48]
        assert np.abs(crops[k] - expected).max() <= 1.5


def test_frames_without_a_face_are_bridged():
    landmarks = face(10)
    whole = mouth_crops([picture()] * 10, landmarks)
    for array in (landmarks.stable, landmarks.centre):
        array[[0, 4, 5, 9]] = np.nan
    assert np.array_equal(mouth_crops([picture()] * 10, landmarks), whole)


def test_without_landmarks_the_whole_picture_is_scaled():
    landmarks = face(10)
    landmarks.centre[:8] = np.nan
    crops = mouth_crops([np.full((200, 100, 3), 77, np.uint8)] * 10, landmarks)
    assert crops.shape == (10, 96, 96)
    assert np.abs(crops.astype(int) - 77).max() <= 1
    with pytest.raises(ValueError, match="frames"):
        mouth_crops([], face(0))


def test_a_mouth_at_the_border_stays_in_the_picture():
    landmarks = face(2)
    landmarks.centre[:] = [10.0, 250.0]
    crop = mouth_crops([picture()] * 2, landmarks)[0].astype(int)
    assert np.abs(crop - picture()[160:256, 0:96, 0].astype(int)).max() <= 1


def test_input_is_the_middle_normalised():
    crops = np.zeros((2, 96, 96), np.uint8)
    crops[:, 4, 4] = 255
    values = model_input(crops)
    assert values.shape == (2, 88, 88)
    assert values[0, 0, 0] == pytest.approx((1 - 0.421) / 0.165)
    assert values[0, 1, 1] == pytest.approx(-0.421 / 0.165)


@pytest.mark.skipif(
    not (SHARED / "flame").exists(), reason="needs FLAME's mean face and landmarks: ../shared/flame"
)
def test_flames_vertices_are_those_of_the_68_landmarks():
    from multitalk.eval.lip_reading import mouth
    from multitalk.ground.untrusted.pickles import load_arrays

    template = load_arrays(SHARED / "flame/templates.pkl")["id"]
    faces = np.array(
        [
            [int(corner.split("/")[0]) - 1 for corner in line.split()[1:]]
            for line in (SHARED / "flame/head_template.obj").read_text().splitlines()
            if line.startswith("f ")
        ]
    )
    embedding = np.load(SHARED / "flame/landmark_embedding.npy", allow_pickle=True, encoding="latin1").item()
    corners = template[faces[embedding["full_lmk_faces_idx"][0]]]
    points = (corners * embedding["full_lmk_bary_coords"][0][..., None]).sum(axis=1)
    for table in (mouth._STABLE, mouth._MOUTH):
        distance = np.linalg.norm(points[list(table["ibug68"])] - template[list(table["flame"])], axis=1)
        assert distance.max() < 0.002
    camera = Camera.portrait(template, 512)
    landmarks = MouthLandmarks.of_mesh(template[None], camera)
    exact = camera.project(points[48:68]).mean(axis=0)
    np.testing.assert_allclose(landmarks.centre[0], exact, atol=1.5)

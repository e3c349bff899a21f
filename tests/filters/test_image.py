"""Picture metrics on the portrait of scikit-image: blurred, darkened, covered, and on a head turned by known angles."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from multitalk.assets.fetch import require
from multitalk.extract.faces.landmarks import DetectedFace, MediaPipeDetector
from multitalk.extract.faces.tracks import TrackSettings, choose_track
from multitalk.filters.appearance import FaceAppearance, face_appearance, sharpness
from multitalk.filters.image import landmark_jitter, measure_face
from multitalk.filters.pose import head_angles, head_rotation
from multitalk.fit_flame.heads.canonical import read_canonical_mesh
from multitalk.ground.face_layout import IBUG_68
from tests.filters.covers import hand, microphone, mouth_of

SIDE = 512
WHOLE = np.array([0, 0, SIDE, SIDE], np.float32)
POSES = [
    *((0, 0, 0), (15, 0, 0), (-15, 0, 0), (30, 0, 0), (-30, 0, 0)),
    *((0, 15, 0), (0, -15, 0), (0, 25, 0), (0, -25, 0), (0, 0, 20), (0, 0, -20), (20, -10, 10)),
]


def blur(picture, sigma):
    import cv2

    return cv2.GaussianBlur(picture, (0, 0), sigma)


def enlarged(picture, factor):
    import cv2

    small = cv2.resize(picture, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def smaller(picture, factor):
    import cv2

    small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    margin = SIDE - len(small)
    return np.pad(
        small, ((margin // 2, margin - margin // 2), (margin // 2, margin - margin // 2), (0, 0)), "edge"
    )


def turned_head(texture, uv, mesh, angles):
    """The canonical mesh, turned by yaw, pitch and roll, with the portrait's face on it; far triangles first."""
    import cv2

    yaw, pitch, roll = angles
    turn = Rotation.from_euler("YXZ", [yaw, -pitch, roll], degrees=True).as_matrix()
    points = mesh.vertices @ turn.T + [0, 0, -0.9]
    pixels = (256 + 1500 * points[:, :2] * [1, -1] / -points[:, 2:]).astype(np.float32)
    picture = np.full((SIDE, SIDE, 3), 120, np.uint8)
    for triangle in mesh.faces[np.argsort(points[mesh.faces, 2].mean(axis=1))]:
        corners = pixels[triangle]
        (ax, ay), (bx, by) = corners[1] - corners[0], corners[2] - corners[0]
        if ax * by - ay * bx >= 0:  # seen from behind
            continue
        corners = corners + 0.08 * (corners - corners.mean(axis=0))  # no seams
        low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int) + 1
        fit = cv2.getAffineTransform(uv[triangle], (pixels[triangle] - low).astype(np.float32))
        patch = cv2.warpAffine(texture, fit, tuple((high - low).tolist()), borderMode=cv2.BORDER_REPLICATE)
        inside = np.zeros(patch.shape[:2], np.uint8)
        cv2.fillConvexPoly(inside, np.round(corners - low).astype(np.int32), 1)
        picture[low[1] : high[1], low[0] : high[0]][inside > 0] = patch[inside > 0]
    return picture


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Return a function that gives the frame and the faces of every picture."""
    import av

    detector = MediaPipeDetector(require("face_landmarker"))

    def detect(pictures):
        path = tmp_path_factory.mktemp("clip") / "clip.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"crf": "8", "preset": "ultrafast"})
            stream.width = stream.height = SIDE
            stream.pix_fmt = "yuv420p"
            stream.time_base = Fraction(1, 25)
            for picture in pictures:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return [(frame.frame, frame.faces) for frame in detector.faces(path)]

    return detect


@pytest.fixture(scope="module")
def her_face(portrait, seen):
    [(_, [face])] = seen([portrait])
    return face


@pytest.fixture(scope="module")
def mesh():
    return read_canonical_mesh(require("face_landmarker"))


def appearances(seen, pictures):
    found = seen(pictures)
    assert [len(faces) for _, faces in found] == [1] * len(pictures)
    return [face_appearance(frame, faces[0]) for frame, faces in found]


def test_sharpness_falls_with_blur_and_enlarging_but_not_with_size(portrait, seen):
    pictures = [portrait, blur(portrait, 1.5), blur(portrait, 3), blur(portrait, 6), enlarged(portrait, 6)]
    whole, *blurred, coarse = [a.sharpness for a in appearances(seen, pictures)]
    assert whole > blurred[0] + 0.03
    assert sorted(blurred, reverse=True) == blurred
    assert coarse < whole - 0.1
    [small] = appearances(seen, [smaller(portrait, 0.75)])
    assert small.sharpness == pytest.approx(whole, abs=0.06)


def test_sharpness_of_pictures_without_a_face():
    noise = np.random.default_rng(0).integers(0, 255, (100, 100), dtype=np.uint8)
    assert sharpness(noise) > 0.8
    assert sharpness(np.full((100, 100), 70, np.uint8)) == 0


def test_brightness_is_linear_in_luma(portrait, seen):
    full, half = appearances(seen, [portrait, portrait // 2])
    assert 0.4 < full.brightness < 0.7
    assert half.brightness == pytest.approx(full.brightness / 2, abs=0.02)


def test_a_covered_mouth_shows_no_outline(portrait, her_face, seen):
    from skimage import data

    cup = portrait.copy()
    mouth, size = mouth_of(her_face)
    x, y, reach = round(mouth[0]), round(mouth[1]), round(0.4 * size)
    cup[y - reach : y + 2 * reach, x - reach : x + reach] = data.coffee()[: 3 * reach, : 2 * reach]
    pictures = [portrait, microphone(portrait, her_face), hand(portrait, her_face), cup]
    free, *covered = [a.mouth_outline for a in appearances(seen, pictures)]
    assert free > 0.9
    assert max(covered) < 0.6


def test_68_points_show_what_478_do(portrait, her_face):
    few = DetectedFace(her_face.points[list(IBUG_68.mediapipe)])
    free, as_free = (face_appearance(portrait, face) for face in (her_face, few))
    assert as_free.sharpness == pytest.approx(free.sharpness, abs=0.02)
    assert as_free.brightness == pytest.approx(free.brightness, abs=0.02)
    assert as_free.mouth_outline > 0.85
    assert face_appearance(hand(portrait, her_face), few).mouth_outline < 0.65


def test_angles_of_a_turned_head(portrait, her_face, mesh, seen):
    uv = her_face.points[:468, :2]
    found = seen([turned_head(portrait, uv, mesh, angles) for angles in POSES])
    landmarks = np.stack([faces[0].points for _, faces in found])
    angles = head_angles(head_rotation(landmarks, mesh.vertices))
    np.testing.assert_allclose(angles, POSES, atol=3)


def test_rotation_is_exact_where_landmarks_are(mesh):
    truth = np.array([[0.2, -0.5, 0.1], [0, 0, 0], [-0.3, 0.4, -0.6]])
    turned = np.einsum("tij,vj->tvi", Rotation.from_rotvec(truth).as_matrix(), mesh.vertices)
    landmarks = (turned * [2000, -2000, -2000 / 1.15] + [250, 260, 0]).astype(np.float32)
    landmarks = np.pad(landmarks, ((0, 0), (0, 10), (0, 0)))  # irises, which do not count
    landmarks = np.concatenate([landmarks, np.full((1, 478, 3), np.nan, np.float32)])
    found = head_rotation(landmarks, mesh.vertices)
    np.testing.assert_allclose(found[:3], truth, atol=1e-4)
    assert np.isnan(found[3]).all()


def test_68_points_turn_as_478_do(mesh):
    truth = np.array([[0.2, -0.5, 0.1], [0, 0, 0], [-0.3, 0.4, -0.6]])
    points = mesh.vertices[list(IBUG_68.mediapipe)]
    turned = np.einsum("tij,vj->tvi", Rotation.from_rotvec(truth).as_matrix(), points)
    landmarks = (turned * [2000, -2000, -2000] + [250, 260, 0]).astype(np.float32)
    np.testing.assert_allclose(head_rotation(landmarks, mesh.vertices), truth, atol=1e-4)


def test_jitter_is_the_noise_and_not_the_motion(her_face):
    frames, size = 60, 110.0
    angle = 0.2 * np.sin(np.arange(frames) / 9)
    turn = np.stack([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    moving = np.repeat(her_face.points[None], frames, axis=0)
    moving[..., :2] = np.einsum("tij,tvj->tvi", turn, moving[..., :2]) * (1 + angle[:, None, None]) + 20
    assert landmark_jitter(moving, size) < 1e-5
    noise = np.random.default_rng(0).normal(0, 0.5, moving.shape).astype(np.float32)
    # The second difference of white noise has 6 times its variance, in x and in y; the alignment takes 4 of the
    # 20 degrees of freedom of ten points away.
    expected = 0.5 * math.sqrt(6 * 2 * 16 / 20) / size
    assert landmark_jitter(moving + noise, size) == pytest.approx(expected, rel=0.1)
    gaps = moving + noise
    gaps[::4] = np.nan
    assert landmark_jitter(gaps, size) == pytest.approx(expected, rel=0.3)
    assert landmark_jitter(gaps[::4], size) == 0


def measure(faces, looks, annotated=WHOLE, rotation=None):
    track = choose_track(faces, annotated, TrackSettings(), "clip_0")
    rotation = np.zeros((len(faces), 3), np.float32) if rotation is None else rotation
    changes = np.full(len(faces), 0.01)
    metrics, _ = measure_face(track, faces, looks, rotation, annotated, changes, [3])
    return metrics


def look(outline=1.0):
    return FaceAppearance(sharpness=0.5, brightness=0.4, mouth_outline=outline)


def test_metrics_of_a_clip(her_face):
    frames = 50
    gap = 10 + 8 * np.sin(np.arange(frames) / 3)
    faces, looks = [], []
    for frame in range(frames):
        points = her_face.points.copy()
        points[14, :2] = points[13, :2] + [0, gap[frame]]
        stranger = [DetectedFace(points * 0.5)] if 30 < frame < 45 else []
        faces.append([DetectedFace(points), *stranger] if frame % 10 else [])
        looks.append([look(0.1 if frame < 10 else 0.9), *[look()] * len(stranger)])
    yaw = np.linspace(-20, 20, frames)
    rotation = (np.radians(yaw)[:, None] * [0, 1, 0]).astype(np.float32)
    metrics = measure(faces, looks, rotation=rotation)
    size = float(np.linalg.norm(her_face.points[33, :2] - her_face.points[263, :2]))
    assert metrics.face_coverage == pytest.approx(0.9)
    assert metrics.face_count_max == 2
    assert metrics.face_size_px == pytest.approx(size)
    assert metrics.yaw_deg == pytest.approx([-18, 0, 18], abs=1)
    assert metrics.pitch_deg == pytest.approx([0, 0, 0], abs=1e-3)
    assert metrics.mouth_open_range == pytest.approx(16 / size, rel=0.05)
    assert metrics.mouth_visibility == pytest.approx(36 / 45)
    assert (metrics.sharpness, metrics.brightness, metrics.shot_changes) == (0.5, 0.4, 1)
    box = her_face.box
    assert metrics.bbox_iou == pytest.approx((box[2] - box[0]) * (box[3] - box[1]) / SIDE**2, rel=0.02)


def test_two_faces_in_the_picture_are_counted(portrait, seen):
    side = smaller(portrait, 0.5)[SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4]
    both = np.full_like(portrait, 90)
    both[128 : 128 + len(side)] = np.hstack([side, side[:, ::-1]])
    found = seen([both] * 5)
    faces = [faces for _, faces in found]
    metrics = measure(faces, [[look()] * len(frame) for frame in faces])
    assert metrics.face_count_max == 2
    assert metrics.face_coverage == 1


def test_a_second_face_in_two_frames_is_a_mistake(her_face):
    other = DetectedFace(her_face.points * np.float32(0.6))
    faces = [[her_face, other] if frame in (5, 6) else [her_face] for frame in range(40)]
    assert measure(faces, [[look()] * len(f) for f in faces]).face_count_max == 1

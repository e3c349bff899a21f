import sys

import numpy as np
import pytest

from multitalk.eval.drawing.camera import Camera
from multitalk.eval.drawing.render import MeshRenderer, RenderError
from multitalk.eval.drawing.talking_video import beside, write_head_video, write_side_by_side
from multitalk.eval.drawing.video import write_video
from multitalk.manifests.media import MediaError, read_frames, read_sound

pytest.importorskip("numba")

CAMERA = Camera(focal=100.0, center_x=40.0, center_y=24.0)


def square(x: float, y: float, side: float, z: float = -1.0) -> np.ndarray:
    corners = [[0, 0], [1, 0], [1, 1], [0, 1]]
    return np.array([[x + side * (i - 0.5), y + side * (j - 0.5), z] for i, j in corners], np.float32)


FACES = np.array([[0, 1, 2], [0, 2, 3]])


@pytest.fixture(scope="module")
def renderer():
    return MeshRenderer(FACES, 4, CAMERA, 64, 48)


def bounds(picture: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(picture.sum(axis=2) > 200)
    return columns.min(), columns.max() + 1, rows.min(), rows.max() + 1


def test_a_mesh_lands_where_the_camera_projects_it(renderer):
    mesh = square(0.05, 0.1, 0.1)
    pixels = CAMERA.project(mesh)
    assert pixels[0].tolist() == pytest.approx([40.0, 19.0])
    left, right, top, bottom = bounds(renderer.render(mesh))
    assert (left, right) == pytest.approx((pixels[:, 0].min(), pixels[:, 0].max()), abs=1)
    assert (top, bottom) == pytest.approx((pixels[:, 1].min(), pixels[:, 1].max()), abs=1)


def test_the_next_mesh_replaces_the_last(renderer):
    first = renderer.render(square(0, 0, 0.1))
    renderer.render(square(-0.2, -0.1, 0.05))
    assert np.array_equal(renderer.render(square(0, 0, 0.1)), first)
    assert bounds(renderer.render(square(0, 0, 0.2))) != bounds(first)


def test_over_a_picture_only_the_mesh_covers(renderer):
    picture = np.full((48, 64, 3), (0, 200, 0), np.uint8)
    drawn = renderer.render_over(square(0, 0, 0.1), picture, opacity=1.0)
    assert drawn[24, 40, 0] > 80
    assert drawn[2, 2].tolist() == [0, 200, 0]
    assert np.array_equal(renderer.render_over(square(0, 0, 0.1), picture, opacity=0.0), picture)


def test_the_ground_is_black_or_white():
    renderer = MeshRenderer(FACES, 4, CAMERA, 32, 32, ground="white")
    assert renderer.render(square(-5, 0, 0.1))[0, 31].tolist() == [255, 255, 255]


def test_smooth_edges_touch_only_edges():
    mesh = square(0.013, 0.007, 0.1) @ np.array([[0.8, 0.6, 0], [-0.6, 0.8, 0], [0, 0, 1]], np.float32)
    drawn = {}
    for smooth in (True, False):
        renderer = MeshRenderer(FACES, 4, CAMERA, 64, 48, smooth_edges=smooth)
        drawn[smooth] = renderer.render(mesh).astype(int)
    changed = np.abs(drawn[True] - drawn[False]).sum(axis=2) > 0
    inside = drawn[False].sum(axis=2) > 0
    assert 0 < changed.sum() < 0.5 * inside.sum()
    assert len(np.unique(drawn[True][changed])) > len(np.unique(drawn[False][changed]))


def test_unusable_meshes_are_refused(renderer):
    with pytest.raises(ValueError, match=r"\(5, 3\)"):
        renderer.render(np.zeros((5, 3)))
    with pytest.raises(ValueError, match="finite"):
        renderer.render(np.full((4, 3), np.nan))
    with pytest.raises(ValueError, match="4 vertices"):
        MeshRenderer(FACES + 3, 4, CAMERA)


def test_a_portrait_holds_the_whole_head():
    head = np.random.default_rng(0).uniform([-0.1, -0.2, -0.1], [0.1, 0.12, 0.08], (500, 3))
    pixels = Camera.portrait(head, 512).project(head)
    assert pixels.min() >= 10
    assert pixels.max() <= 502
    assert np.ptp(pixels[:, 1]) > 400
    assert pixels[:, 0].mean() == pytest.approx(256, abs=8)


def tone(seconds: float) -> np.ndarray:
    return (8000 * np.sin(2 * np.pi * 440 * np.arange(int(16000 * seconds)) / 16000)).astype(np.int16)


def test_a_talking_head_with_sound_is_a_video(tmp_path):
    template = square(0, 0, 0.2, z=0.0)
    vertices = np.repeat(template[None], 10, axis=0)
    vertices[5:, 2:, 1] += 0.02
    path = tmp_path / "new" / "head.mp4"
    assert write_head_video(path, vertices, FACES, template, sound=tone(0.4), size=64) == 10
    frames = list(read_frames(path))
    assert (len(frames), frames[0].shape) == (10, (64, 64, 3))
    assert bounds(frames[0])[2] > bounds(frames[9])[2], "the mesh grew upwards"
    sound = read_sound(path).astype(float)
    assert len(sound) == pytest.approx(6400, abs=1100)
    assert np.abs(np.fft.rfft(sound[:6000])).argmax() * 16000 / 6000 == pytest.approx(440, abs=5)
    assert [file.name for file in path.parent.iterdir()] == ["head.mp4"]


def test_models_and_the_real_video_stand_side_by_side(tmp_path):
    template = square(0, 0, 0.2, z=0.0)
    real = tmp_path / "real.mp4"
    write_video(real, [np.full((32, 32, 3), (200, 0, 0), np.uint8)] * 6)
    models = {"ours": np.repeat(template[None], 5, axis=0), "theirs": np.repeat(template[None], 9, axis=0)}
    path = tmp_path / "beside.mp4"
    assert write_side_by_side(path, models, FACES, template, real=real, size=64) == 5
    frame = next(read_frames(path))
    assert frame.shape == (64 + 40, 3 * 64, 3)
    red = frame[10:50, 10:50].astype(int).mean(axis=(0, 1))
    assert red[0] > red[1] + 100
    assert frame[64:].max() > 100, "names are written below"


def test_columns_end_with_the_first_one():
    pictures = [np.zeros((2, 40, 3), np.uint8)] * 3
    assert len(list(beside({"a": iter(pictures), "b": iter(pictures[:2])}))) == 2


def test_a_video_without_sound_or_without_frames_is_told(tmp_path):
    silent = tmp_path / "silent.mp4"
    write_video(silent, [np.zeros((16, 16, 3), np.uint8)] * 2)
    with pytest.raises(MediaError, match="no sound"):
        read_sound(silent)
    with pytest.raises(ValueError, match="no frame"):
        write_video(tmp_path / "empty.mp4", [])
    with pytest.raises(ValueError, match="even"):
        write_video(tmp_path / "odd.mp4", [np.zeros((15, 16, 3), np.uint8)])
    assert not list(tmp_path.glob(".*")), "nothing half-written stays"


def test_the_nearer_of_two_surfaces_is_seen_from_either_side():
    near, far = square(0, 0, 0.1, z=-0.9), square(0, 0, 0.3, z=-1.0)
    colours = np.repeat(np.array([[200, 0, 0], [0, 200, 0]], np.uint8), 4, axis=0)
    for turned in (FACES, FACES[:, ::-1]):
        faces = np.vstack([FACES + 4, turned])  # the farther one is drawn first, then last
        for order in (faces, faces[::-1]):
            drawn = MeshRenderer(order, 8, CAMERA, 64, 48, colours=colours).render(np.vstack([near, far]))
            assert drawn[24, 40].argmax() == 0
            assert drawn[13, 40].argmax() == 1


def test_light_falls_off_with_the_slant_of_the_surface():
    tilted = square(0, 0, 0.2)
    tilted[:, 2] += 0.1 * np.sin(np.radians(60)) * np.sign(tilted[:, 1])
    tilted[:, 1] *= np.cos(np.radians(60))
    white = np.full((4, 3), 200, np.uint8)
    renderer = MeshRenderer(FACES, 4, CAMERA, 64, 48, colours=white)
    assert renderer.render(square(0, 0, 0.2))[24, 40, 0] == pytest.approx(200 + 255 * 0.12, abs=1)
    assert renderer.render(tilted)[24, 40, 0] == pytest.approx(200 * (0.15 + 0.85 * 0.5), abs=2)


def test_what_is_behind_the_camera_is_not_drawn(renderer):
    assert not renderer.render(square(0, 0, 0.1, z=1.0)).any()


def test_without_numba_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(RenderError, match=r"multitalk\[eval\]"):
        MeshRenderer(FACES, 4, CAMERA)

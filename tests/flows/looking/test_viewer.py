import io
import re
import wave

import cv2
import numpy as np
import pytest

from multitalk.flows.commands.main import main
from multitalk.flows.looking.viewer import FAITHFUL, ShownHead, pack, write_page

FRAMES, FPS = 40, 25.0
FACES = np.array([[0, 1, 2], [0, 2, 3]])
HOSTILE = "</script><script>document.title = 'owned'</script>"


def _wav(seconds: float) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(np.zeros(int(16_000 * seconds), "<i2").tobytes())
    return content.getvalue()


def _picture(grey: int) -> bytes:
    return cv2.imencode(".png", np.full((8, 8, 3), grey, np.uint8))[1].tobytes()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A square that grows to the right, frame by frame, beside pictures that grow brighter by five."""
    square = np.array([[-0.1, -0.1, 0], [0.02, -0.1, 0], [0.02, 0.1, 0], [-0.1, 0.1, 0]], np.float32)
    vertices = np.repeat(square[None], FRAMES, axis=0)
    vertices[:, 1:3, 0] += 0.002 * np.arange(FRAMES, dtype=np.float32)[:, None]
    head = ShownHead(
        HOSTILE,
        FPS,
        vertices,
        FACES,
        values={"jawOpen": np.linspace(0, 1, FRAMES, dtype=np.float32)},
        pictures=[_picture(5 * k) for k in range(FRAMES)],
        sound=_wav(FRAMES / FPS),
    )
    silent = ShownHead("beside it", FPS, vertices[:10], FACES)
    place = tmp_path_factory.mktemp("view") / "view.html"
    write_page([head, silent], place)
    return place


@pytest.fixture(scope="module")
def tab(page, browser):
    tab = browser.new_page(viewport={"width": 500, "height": 500})
    tab.complaints = []
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.on("request", lambda asked: tab.complaints.append(asked.url) if asked.url[:4] == "http" else None)
    tab.goto(page.as_uri())
    tab.wait_for_function("panels[0].parts[0].images.every(image => image.complete)")
    yield tab
    assert tab.complaints == []


SEEN = """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => {
    const film = document.querySelector(".film"), head = document.querySelector(".head");
    const gl = head.getContext("webgl2"), pixels = new Uint8Array(4 * head.width);
    if (gl) gl.readPixels(0, head.height / 2, head.width, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    const skin = pixels.filter((value, i) => i % 4 === 0 && value > 80).length;
    done([clock.time, film.getContext("2d").getImageData(0, 0, 1, 1).data[0] / 5, skin / head.width, !!gl]);
})))"""


def test_what_is_seen_is_what_is_heard(tab):
    widths = []
    for frame in (0, 7, 31, 39):
        tab.evaluate(f"seek({frame})")
        time, picture, width, drawn = tab.evaluate(SEEN)
        assert abs(time - (frame + 0.5) / FPS) < 1e-3
        assert round(picture) == frame
        widths.append(width)
    assert not drawn or all(np.diff(widths) > 0), "the head moves on with the frames"
    tab.evaluate("seek(0)")
    tab.get_by_role("button", name="Play").click()
    seen = [tab.evaluate(SEEN)[:2] for _ in range(6)]
    tab.get_by_role("button", name="Pause").click()
    assert seen[-1][0] > seen[0][0], "the sound plays"
    off = [abs(picture - int(time * FPS)) for time, picture in seen]
    assert max(off) <= 1


def test_frame_by_frame_in_slow_motion_and_turned_by_the_mouse(tab):
    tab.evaluate("seek(5)")
    tab.get_by_role("button", name="One frame on").click()
    assert round(tab.evaluate(SEEN)[1]) == 6
    tab.keyboard.press("ArrowLeft")
    assert round(tab.evaluate(SEEN)[1]) == 5
    tab.get_by_label("Speed").select_option("0.25")
    assert tab.evaluate("clock.audio.playbackRate") == 0.25
    before = tab.evaluate(SEEN)[2]
    head = tab.locator(".head").first
    head.drag_to(head, source_position={"x": 20, "y": 20}, target_position={"x": 150, "y": 20})
    turned = tab.evaluate(SEEN)
    assert not turned[3] or turned[2] < before, "turned to the side it is narrower"


def test_titles_are_only_text_and_shorter_heads_wait(tab):
    assert tab.title().startswith("</script>")
    assert tab.locator("h2").first.inner_text() == HOSTILE
    tab.evaluate("seek(39)")
    tab.evaluate(SEEN)
    assert [part.get_attribute("data-frame") for part in tab.locator("section").all()] == ["39", "9"]


def test_few_directions_hold_a_motion():
    random = np.random.default_rng(0)
    course = np.cumsum(random.normal(size=(60, 5)), axis=0)
    vertices = (course @ random.normal(scale=2e-3, size=(5, 300))).reshape(60, 100, 3).astype(np.float32)
    mean, directions, found = pack(vertices)
    assert len(directions) <= 8
    shown = mean + np.tensordot(found, directions.astype(float), axes=1)
    assert np.abs(shown - vertices).max() < FAITHFUL
    still = pack(np.repeat(vertices[:1], 4, axis=0))
    assert len(still[1]) == 0
    np.testing.assert_allclose(still[0], vertices[0], atol=1e-6)


def test_clips_and_files_on_one_page(talking_dataset, tmp_path, capsys):
    from multitalk.manifests import open_dataset

    motion, file = open_dataset(talking_dataset).motion("video00_0"), tmp_path / "talk.npz"
    vertices = np.zeros((5, 478, 3), np.float32)
    np.savez(file, vertices=vertices, head_model=motion["head_model"])
    out = tmp_path / "view.html"
    assert main(["view", "video00_0", str(file), "--root", str(talking_dataset), "--out", str(out)]) == 0
    assert re.search(r"2 heads", capsys.readouterr().out)
    text = out.read_text()
    assert "video00_0 (german, canonical)" in text and "talk.npz" in text and "://" not in text
    np.savez(file, vertices=vertices)
    for wrong, message in ((["video99_0"], "no such clip"), ([str(file)], "does not say which head model")):
        command = ["view", *wrong, "--root", str(talking_dataset), "--out", str(out)]
        assert main(command) in (1, 2)
        assert message in capsys.readouterr().err

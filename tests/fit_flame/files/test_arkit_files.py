"""ARKit's weights in files, read back by readers that share nothing with the writers."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from multitalk.fit_flame.files.arkit_files import timecode, write_arkit, write_audio2face, write_live_link
from multitalk.fit_flame.parameters.motion import Motion, MotionError
from multitalk.ground.arkit_names import ARKIT

FRAMES = 26


@pytest.fixture
def motion() -> Motion:
    rng = np.random.default_rng(0)
    return Motion(
        head_model="anny:0123456789abcdef",
        fps=25.0,
        shape=np.zeros(3, np.float32),
        expression=rng.uniform(0, 1, (FRAMES, 52)).astype(np.float32),
        jaw=np.zeros((FRAMES, 3), np.float32),
        eyes=np.zeros((FRAMES, 6), np.float32),
        rotation=np.linspace([0, -0.3, 0], [0, 0.5, 0], FRAMES).astype(np.float32),
        translation=np.zeros((FRAMES, 3), np.float32),
        camera=np.array([1000, 256, 256], np.float32),
        valid=np.ones(FRAMES, bool),
        residual=np.zeros(FRAMES, np.float32),
    )


def test_live_link_reads_back(motion, tmp_path):
    place = tmp_path / "a.csv"
    assert write_live_link(motion, place) == FRAMES
    with place.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == FRAMES
    assert len(rows[0]) == 63
    assert list(rows[0])[:2] == ["Timecode", "BlendShapeCount"]
    assert list(rows[0])[16:20] == ["JawForward", "JawRight", "JawLeft", "JawOpen"]
    for frame in (0, 7, 25):
        assert rows[frame]["BlendShapeCount"] == "61"
        for k, name in enumerate(ARKIT):
            assert float(rows[frame][name[0].upper() + name[1:]]) == pytest.approx(
                motion.expression[frame, k], abs=1e-6
            )
        assert float(rows[frame]["HeadYaw"]) == pytest.approx(motion.rotation[frame, 1], abs=1e-5)
        assert float(rows[frame]["HeadPitch"]) == pytest.approx(0, abs=1e-6)
    assert rows[25]["Timecode"] == "00:00:01:00.000"


def test_it_is_resampled_on_request(motion, tmp_path):
    place = tmp_path / "a.csv"
    assert write_live_link(motion, place, fps=60) == 61
    with place.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[12]["JawOpen"]) == pytest.approx(motion.expression[5, ARKIT.index("jawOpen")], abs=1e-5)
    assert float(rows[30]["HeadYaw"]) == pytest.approx(0.1, abs=1e-4)


def test_a_plain_csv_reads_back(motion, tmp_path):
    place = tmp_path / "a.csv"
    assert write_arkit(motion, place) == FRAMES
    with place.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["time", *ARKIT]
    assert [float(row["time"]) for row in rows[:3]] == [0, 0.04, 0.08]
    read = [[float(row[name]) for name in ARKIT] for row in rows]
    np.testing.assert_allclose(read, motion.expression, atol=1e-6)
    assert write_arkit(motion, place, fps=50) == 2 * FRAMES - 1


def test_audio2face_reads_back(motion, tmp_path):
    place = tmp_path / "a.json"
    assert write_audio2face(motion, place) == FRAMES
    content = json.loads(place.read_text())
    assert content["facsNames"][17] == "jawOpen"
    assert (content["numPoses"], content["numFrames"], content["exportFps"]) == (52, FRAMES, 25.0)
    np.testing.assert_allclose(content["weightMat"], motion.expression, atol=1e-6)


@pytest.mark.parametrize("write", [write_arkit, write_live_link, write_audio2face])
def test_other_motion_is_refused(write, motion, tmp_path):
    place = tmp_path / "a.out"
    with pytest.raises(MotionError, match="anny"):
        write(replace(motion, head_model="flame_2023_open:0123456789abcdef"), place)
    with pytest.raises(MotionError, match="between 0 and 1"):
        write(replace(motion, expression=motion.expression + 1), place)
    assert not list(tmp_path.iterdir())


def test_a_rate_that_is_none_is_refused(motion, tmp_path):
    with pytest.raises(MotionError, match="frames a second"):
        write_live_link(motion, tmp_path / "a.csv", fps=0)


def test_timecodes_count_frames():
    assert timecode(0, 25) == "00:00:00:00.000"
    assert timecode(26, 25) == "00:00:01:01.000"
    assert timecode(25 * 3661, 25) == "01:01:01:00.000"

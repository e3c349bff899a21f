"""The square that is cut: MultiTalk's geometry, to the pixel."""

import json

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitalk.extract.annotations import BoundingBox
from multitalk.extract.ffmpeg import run_ffmpeg
from multitalk.extract.trim import crop_box
from tests.extract.barcodes import (
    annotation,
    trim_one,
)
from tests.golden import golden


def test_crop_equals_the_reference_on_every_case():
    cases = json.loads((golden("crop") / "cases.json").read_text())
    assert len(cases) == 120
    for case in cases:
        box = crop_box(case["bbox"], case["frame_width"], case["frame_height"])
        assert {"width": box.width, "height": box.height, "x": box.x, "y": box.y} == case["crop"]


@pytest.mark.parametrize(
    ("frame", "box", "expected"),
    [
        # Worked by hand: widened by 0.02, rounded, the shorter side made even, the centre kept.
        ((1000, 500), (0.2, 0.8, 0.3, 0.5), (240, 240, 280, 130)),
        ((640, 360), (0.1, 0.9, 0.4, 0.6), (154, 154, 243, 103)),
        ((101, 101), (0.0, 1.0, 0.0, 1.0), (100, 100, 0.5, 0.5)),
        ((1920, 1080), (0.0, 0.5, 0.0, 0.25), (518, 518, 0, 22)),
        ((100, 100), (0.5, 0.51, 0.5, 0.51), (4, 4, 48.5, 48.5)),
    ],
)
def test_crop_by_hand(frame, box, expected):
    crop = crop_box(BoundingBox(*box).as_dict(), *frame)
    assert (crop.width, crop.height, crop.x, crop.y) == expected


@given(
    st.integers(16, 5000),
    st.integers(16, 5000),
    *[st.tuples(st.floats(0, 1), st.floats(0, 1)) for _ in range(2)],
)
def test_crop_is_an_even_square_within_the_frame(width, height, vertical, horizontal):
    (top, bottom), (left, right) = sorted(vertical), sorted(horizontal)
    crop = crop_box({"top": top, "bottom": bottom, "left": left, "right": right}, width, height)
    assert crop.width == crop.height
    assert crop.width % 2 == 0
    assert crop.x >= 0
    assert crop.y >= 0
    assert crop.x + crop.width <= width
    assert crop.y + crop.height <= height


def test_the_very_pixels_of_the_crop_are_cut(tmp_path):
    """Half pixels too: the same as ffmpeg cuts for the reference's own numbers."""
    gradient = "geq=lum='X':cb=128:cr=128"
    source = tmp_path / "gradient.mkv"
    run_ffmpeg(
        ["-v", "error", "-f", "lavfi", "-i", f"color=s=256x200:r=25:d=0.4,{gradient}", "-f", "lavfi", "-i",
         "anullsrc=d=0.4", "-c:v", "ffv1", str(source)], 30,
    )  # fmt: skip
    box = BoundingBox(0.1, 0.6, 0.3, 0.655)
    result = trim_one(source, tmp_path, annotation(0, 5, box))
    assert result.crop.x % 1 == 0.5
    cut = tmp_path / "reference.mkv"
    crop = f"crop={result.crop.width}:{result.crop.height}:{result.crop.x}:{result.crop.y},scale=512:512"
    run_ffmpeg(["-v", "error", "-i", str(source), "-an", "-vf", crop, "-c:v", "ffv1", str(cut)], 30)
    with av.open(str(cut)) as reference, av.open(str(result.clip_path)) as ours:
        expected = next(reference.decode(video=0)).to_ndarray(format="gray").astype(float)
        found = next(ours.decode(video=0)).to_ndarray(format="gray").astype(float)
    assert np.abs(expected - found).mean() < 0.5  # one pixel aside would be 2
    assert result.source_scale == 512 / result.crop.width

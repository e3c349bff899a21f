"""High dynamic range becomes standard: what is no brighter than SDR's white looks as it does in SDR."""

from pathlib import Path

import av
import numpy as np
import pytest

from multitalk.extract.annotations import Annotation, BoundingBox
from multitalk.extract.ffmpeg import run_ffmpeg
from multitalk.extract.probe import probe
from multitalk.extract.source_frames import source_frames
from multitalk.extract.trim import TrimRequest, TrimResult, TrimSettings, trim_clips

SIDE = 96
# Greys, skin, and colours of middle saturation: R'G'B' of BT.709, as a viewer of SDR would see them.
PATCHES = np.array(
    [[32, 32, 32], [64, 64, 64], [118, 118, 118], [180, 180, 180], [200, 150, 120], [96, 64, 52],
     [70, 110, 160], [90, 140, 80]],
) / 255  # fmt: skip
TO_709 = np.array(
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]]
)
KR, KB = 0.2627, 0.0593  # BT.2020


def nits(rgb):
    """Light of each primary of BT.2020, where SDR's white has 203 cd/m2."""
    return 203 * (rgb**2.4) @ np.linalg.inv(TO_709).T


def pq(light):
    """SMPTE ST 2084, from its equation."""
    y = np.clip(light / 10000, 0, 1) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * y) / (1 + 2392 / 128 * y)) ** (2523 / 32)


def hlg(light):
    """ARIB STD-B67 for a display of 1,000 cd/m2, each colour for itself."""
    scene = np.clip(light / 1000, 0, 1) ** (1 / 1.2)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c)


def write_hdr(path: Path, coded: np.ndarray, transfer: str, seconds: float = 1.0) -> Path:
    """Write still columns of colours, given as R'G'B' of BT.2020, in 10 bits with sound."""
    luma = coded @ np.array([KR, 1 - KR - KB, KB])
    blue, red = (coded[:, 2] - luma) / (2 - 2 * KB), (coded[:, 0] - luma) / (2 - 2 * KR)

    def plane(values, side):
        row = values[np.arange(side) * len(values) // side]
        return np.broadcast_to(np.round(row), (side, side)).astype("<u2").tobytes()

    frame = (
        plane(64 + 876 * luma, SIDE) + plane(512 + 896 * blue, SIDE // 2) + plane(512 + 896 * red, SIDE // 2)
    )
    raw = path.with_suffix(".raw")
    raw.write_bytes(frame * round(25 * seconds))
    colours = [
        "-color_trc",
        transfer,
        "-color_primaries",
        "bt2020",
        "-colorspace",
        "bt2020nc",
        "-color_range",
        "tv",
    ]
    size = ["-f", "rawvideo", "-pix_fmt", "yuv420p10le", "-s", f"{SIDE}x{SIDE}", "-r", "25"]
    run_ffmpeg(
        ["-v", "error", *size, *colours, "-i", str(raw), "-f", "lavfi", "-i", "anullsrc=d=1", *colours,
         "-c:v", "libx264", "-crf", "4", "-preset", "ultrafast", "-c:a", "aac", "-shortest", str(path)], 60,
    )  # fmt: skip
    return path


def seen(source: Path, folder: Path, count: int) -> np.ndarray:
    """Cut a clip and return the R'G'B' of BT.709 in the middle of each column."""
    clip = Annotation("clip_0", "video", "german", 0.2, 0.6, 5, 10, BoundingBox(0, 1, 0, 1), "")
    request = TrimRequest(clip, folder / "clip_0.mp4", folder / "clip_0.wav")
    (result,) = trim_clips(source, probe(source), [request], TrimSettings(crf=4))
    assert isinstance(result, TrimResult), result
    with av.open(str(result.clip_path)) as container:
        frame = next(container.decode(video=0))
        assert frame.format.name == "yuv420p"
        planes = [np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[:, : p.width] for p in frame.planes]
    at = ((np.arange(count) + 0.5) / count * 512).astype(int)
    y = (planes[0][256, at].astype(float) - 16) / 219
    blue, red = ((plane[128, at // 2].astype(float) - 128) / 224 for plane in planes[1:])
    r, b = y + 1.5748 * red, y + 1.8556 * blue
    return np.stack([r, (y - 0.2126 * r - 0.0722 * b) / 0.7152, b], axis=1)


@pytest.mark.parametrize(
    ("transfer", "code", "curve"), [("smpte2084", "pq", pq), ("arib-std-b67", "hlg", hlg)]
)
def test_what_sdr_can_show_looks_the_same(tmp_path, transfer, code, curve):
    source = write_hdr(tmp_path / "hdr.mp4", curve(nits(PATCHES)), transfer)
    assert probe(source).transfer == code
    found = seen(source, tmp_path, len(PATCHES))
    assert np.abs(found - PATCHES).max() < 4 / 255


def test_highlights_are_rolled_off_and_stay_apart(tmp_path):
    light = np.array([150, 203, 300, 500, 1000, 4000.0])
    source = write_hdr(tmp_path / "hdr.mp4", pq(np.repeat(light[:, None], 3, axis=1)), "smpte2084")
    found = seen(source, tmp_path, len(light)).mean(axis=1)
    assert found[0] == pytest.approx((150 / 203) ** (1 / 2.4), abs=0.02)
    assert (np.diff(found[:5]) > 0.008).all()
    assert found[4] == pytest.approx(1, abs=0.02)
    assert found[5] == pytest.approx(1, abs=0.02)


def test_discovery_sees_them_so_too(tmp_path):
    source = write_hdr(tmp_path / "hdr.mp4", pq(nits(PATCHES)), "smpte2084")
    frame = next(iter(source_frames(source, probe(source)))).rgb()
    at = ((np.arange(len(PATCHES)) + 0.5) / len(PATCHES) * SIDE).astype(int)
    assert np.abs(frame[SIDE // 2, at] / 255 - PATCHES).max() < 8 / 255


def test_ten_bits_alone_are_no_high_dynamic_range(tmp_path):
    source = write_hdr(tmp_path / "sdr.mp4", PATCHES[:4], "bt709")
    assert probe(source).transfer == "sdr"
    assert np.abs(seen(source, tmp_path, 4) - PATCHES[:4]).max() < 4 / 255

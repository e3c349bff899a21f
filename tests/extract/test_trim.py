"""Cutting clips: geometry, exact frames and samples, hostile sources, and what happens to bad ones."""

import errno
import hashlib
import json
import wave
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import extract.trim
from extract.annotations import Annotation, BoundingBox, read_annotations
from extract.errors import ClipError, ErrorCode, Stage
from extract.ffmpeg import FfmpegError, run_ffmpeg
from extract.probe import probe
from extract.trim import TrimRequest, TrimResult, TrimSettings, crop_box, trim_clips

SHARED = Path(__file__).parents[3] / "shared"
WHOLE = BoundingBox(0, 1, 0, 1)
BITS = 12
QUICK = TrimSettings(preset="ultrafast")


# -- sources whose frames carry their number and whose sound clicks at each whole second


def barcode(number: int, width: int, height: int) -> np.ndarray:
    """Grey stripes of which each is one bit."""
    stripes = np.array([220 if number >> bit & 1 else 40 for bit in range(BITS)], np.uint8)
    row = stripes[np.arange(width) * BITS // width]
    return np.repeat(np.broadcast_to(row, (height, width))[..., None], 3, axis=2)


def read_barcodes(path: Path) -> list[int]:
    numbers = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            grey = frame.to_ndarray(format="gray")
            row = grey[grey.shape[0] // 2, [int((bit + 0.5) * grey.shape[1] / BITS) for bit in range(BITS)]]
            numbers.append(sum(int(value > 128) << bit for bit, value in enumerate(row)))
    return numbers


def make_source(
    path: Path,
    times: Sequence[Fraction],
    *,
    side: int = 192,
    sound_rate: int = 48000,
    sound_sec: float | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
) -> Path:
    """Write frames due at `times` (1/90000 s exact or rounded) and clicks of 1 ms at whole seconds."""
    seconds = float(times[-1]) + 0.04 if sound_sec is None else sound_sec
    base = Fraction(1, 90000)
    rate = round(1 / (times[1] - times[0]))
    with av.open(str(path), "w") as container:
        picture = container.add_stream(
            codec, rate=rate, options=options or {"preset": "ultrafast", "crf": "18"}
        )
        picture.width, picture.height, picture.pix_fmt = side, side, pix_fmt
        picture.codec_context.time_base = picture.time_base = base
        picture.codec_context.gop_size = 100
        sound = container.add_stream("pcm_s16le", rate=sound_rate, layout="mono") if seconds else None
        for number, due in enumerate(times):
            frame = av.VideoFrame.from_ndarray(barcode(number, side, side), format="rgb24")
            frame.pts, frame.time_base = round(due / base), base
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        if sound is not None:
            clicks = np.zeros(int(seconds * sound_rate), np.int16)
            for second in range(int(seconds)):
                clicks[second * sound_rate : second * sound_rate + sound_rate // 1000] = 20000
            samples = av.AudioFrame.from_ndarray(clicks[None], format="s16", layout="mono")
            samples.sample_rate, samples.pts = sound_rate, 0
            container.mux(sound.encode(samples))
            container.mux(sound.encode())
    return path


def regular(rate: str, seconds: float) -> list[Fraction]:
    step = 1 / Fraction(rate)
    return [number * step for number in range(int(seconds / step))]


def annotation(
    start_frame: int, frame_count: int, bbox: BoundingBox = WHOLE, clip_id: str = "clip_0"
) -> Annotation:
    start, end = start_frame / 25, (start_frame + frame_count) / 25
    return Annotation(clip_id, "video", "german", start, end, start_frame, frame_count, bbox, "")


def trim(source: Path, folder: Path, *annotations: Annotation, settings: TrimSettings = QUICK):
    requests = [
        TrimRequest(clip, folder / f"{clip.clip_id}.mp4", folder / f"{clip.clip_id}.wav")
        for clip in annotations
    ]
    return trim_clips(source, probe(source), requests, settings)


def trim_one(source: Path, folder: Path, clip: Annotation, settings: TrimSettings = QUICK) -> TrimResult:
    (result,) = trim(source, folder, clip, settings=settings)
    assert isinstance(result, TrimResult), result
    return result


def read_wav(path: Path) -> np.ndarray:
    with wave.open(str(path)) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (16000, 1, 2)
        return np.frombuffer(sound.readframes(sound.getnframes()), np.int16)


def clicks(samples: np.ndarray, rate: int = 16000) -> list[float]:
    """Seconds at which clicks begin: the middle of each burst less half its millisecond."""
    loud = np.flatnonzero(np.abs(samples.astype(int)) > 8000)
    bursts = np.split(loud, np.flatnonzero(np.diff(loud) > rate // 10) + 1) if len(loud) else []
    return [(burst[0] + burst[-1] + 1) / 2 / rate - 0.0005 for burst in bursts]


def aac_samples(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    return (np.concatenate(frames, axis=1).mean(axis=0) * 32767).astype(np.int16)


# -- geometry


@pytest.mark.skipif(not SHARED.exists(), reason="the reference's own numbers are not here")
def test_crop_equals_the_reference_on_every_case():
    cases = json.loads((SHARED / "golden/crop/cases.json").read_text())
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


# -- exact frames and samples


@pytest.mark.parametrize("rate", ["25", "30000/1001", "30", "50", "60", "24", "24000/1001", "48"])
def test_frames_and_samples_are_exact_from_any_rate(tmp_path, rate):
    source = make_source(tmp_path / "source.mov", regular(rate, 7))
    settings = QUICK.model_copy(update={"min_fps": 20})
    starts = (0, 26, 63, 101)
    counts = (50, 26, 40, 49)
    clips = [annotation(s, n, clip_id=f"clip_{s}") for s, n in zip(starts, counts, strict=True)]
    for clip, result in zip(clips, trim(source, tmp_path, *clips, settings=settings), strict=True):
        assert isinstance(result, TrimResult), result
        numbers = read_barcodes(result.clip_path)
        assert len(numbers) == clip.frame_count == result.frame_count
        due = [float(number / Fraction(rate)) for number in numbers]
        step = 1 / float(Fraction(rate))
        assert 0 <= due[0] - clip.start_sec <= step + 1e-6, "the first frame is never early"
        late = [sec - clip.start_sec - index / 25 for index, sec in enumerate(due)]
        assert min(late[1:]) > 0.02 - max(step, 0.04) - 1e-6
        assert max(late[1:]) <= max(0.02, step - 0.02) + 1e-6
        check_sound(clip, result)


def check_sound(clip: Annotation, result: TrimResult, shift: float = 0.0) -> None:
    samples = read_wav(result.audio_path)
    assert len(samples) == clip.frame_count * 640
    first = int(np.ceil(clip.start_sec - shift - 1e-9))
    expected = [second + shift - clip.start_sec for second in range(first, 100)]
    expected = [time for time in expected if 0 <= time < clip.frame_count / 25 - 0.002]
    for found in (clicks(samples), clicks(aac_samples(result.clip_path), 48000)):
        assert found == pytest.approx(expected, abs=0.001)


def test_clip_is_constant_25_fps_512_h264_with_aac(tmp_path):
    source = make_source(tmp_path / "source.mov", regular("30", 2))
    result = trim_one(source, tmp_path, annotation(5, 25))
    with av.open(str(result.clip_path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert (video.width, video.height, video.codec_context.pix_fmt) == (512, 512, "yuv420p")
        assert video.average_rate == 25
        assert abs(audio.duration * audio.time_base - 1) <= 1024 / 48000
        times = [packet.pts * packet.time_base for packet in container.demux(video) if packet.pts is not None]
    assert {b - a for a, b in pairwise(sorted(times))} == {Fraction(1, 25)}
    assert min(times) == 0
    assert result.duration_sec == 1


def test_variable_frame_rate(tmp_path):
    """Frames of 10 to 90 ms: each output frame shows the last one due half a frame after its time."""
    steps = np.random.default_rng(3).integers(10, 90, 200)
    times = [Fraction(int(ms), 1000) for ms in np.concatenate([[0], np.cumsum(steps)])]
    source = make_source(tmp_path / "source.mov", times)
    clip = annotation(51, 100)
    result = trim_one(source, tmp_path, clip, QUICK.model_copy(update={"min_fps": 10}))
    numbers = read_barcodes(result.clip_path)
    assert numbers == wanted([float(time) for time in times], clip)
    check_sound(clip, result)


def wanted(due: Sequence[float], clip: Annotation) -> list[int]:
    """Number of the frame to show at each 1/25 s, by the rule in words: never one from before the clip,
    else the last one due less than half a frame after."""
    times = np.array(due) + 1e-6
    first = int(np.flatnonzero(times >= clip.start_sec)[0])
    ends = [clip.start_sec + (index + 0.5) / 25 for index in range(clip.frame_count)]
    return [max(first, int(np.flatnonzero(times < end)[-1])) for end in ends]


CONTAINERS = {
    "a.mkv": ["-c:v", "copy", "-c:a", "flac"],
    "a.mp4": ["-c:v", "copy", "-c:a", "aac"],
    "a.ts": ["-c:v", "copy", "-c:a", "aac"],
    "a.flv": ["-c:v", "copy", "-c:a", "aac", "-ar", "44100"],
    "a.mpg": ["-c:a", "mp2"],
    "dash.mp4": ["-c:v", "copy", "-c:a", "aac", "-movflags", "dash+frag_keyframe"],
    "live.webm": ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-live", "1"],
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_other_containers(tmp_path, name):
    """Also those without an index or a length, where a seek may arrive late."""
    source = make_source(tmp_path / "source.mov", regular("25", 9))
    other = tmp_path / name
    run_ffmpeg(["-v", "error", "-i", str(source), *CONTAINERS[name], str(other)], 30)
    clip = annotation(137, 60)
    result = trim_one(other, tmp_path, clip)
    # Times are the file's own: some begin with the sound's priming, which moves pictures or sound.
    with av.open(str(other)) as container:
        origin = container.start_time / 1e6
        due = [frame.time - origin for frame in container.decode(video=0)]
    with av.open(str(other)) as container:
        frames = list(container.decode(audio=0))
    sound = np.concatenate([np.atleast_2d(frame.to_ndarray())[0] for frame in frames]).astype(float)
    loud = clicks(sound / np.abs(sound).max() * 20000, frames[0].sample_rate)
    heard = [second + frames[0].time - origin - clip.start_sec for second in loud]
    assert read_barcodes(result.clip_path) == wanted(due, clip)
    expected = [second for second in heard if 0 <= second < 2.4]
    # WebM rounds times to 1 ms, which comes on top.
    assert clicks(read_wav(result.audio_path)) == pytest.approx(
        expected, abs=0.002 if "webm" in name else 0.001
    )
    assert len(expected) == 2


def test_sound_is_whole_from_its_first_sample(tmp_path):
    """AAC needs the packet before: at the beginning, and where a clip begins on a key frame."""
    source = make_source(tmp_path / "source.mov", regular("25", 5))
    coded = tmp_path / "coded.mp4"
    codecs = ["-c:v", "libx264", "-g", "25", "-c:a", "aac", "-b:a", "256k"]
    run_ffmpeg(["-v", "error", "-i", str(source), *codecs, str(coded)], 30)
    for start in (0, 5, 25, 50, 100):
        clip = annotation(start, 25, clip_id=f"clip_{start}")
        result = trim_one(coded, tmp_path, clip)
        assert read_barcodes(result.clip_path) == list(range(start, start + 25))
        check_sound(clip, result)


def test_overlapping_clips_in_several_batches_keep_their_order(tmp_path):
    source = make_source(tmp_path / "source.mov", regular("25", 4))
    clips = [annotation(s, 20, clip_id=f"clip_{s}") for s in (60, 0, 50, 10, 30)]
    results = trim(source, tmp_path, *clips, settings=QUICK.model_copy(update={"clips_per_process": 2}))
    for clip, result in zip(clips, results, strict=True):
        assert result.clip_path.name == f"{clip.clip_id}.mp4"
        assert read_barcodes(result.clip_path) == list(range(clip.start_frame, clip.start_frame + 20))


def test_the_same_bytes_on_every_run(tmp_path):
    source = make_source(tmp_path / "source.mov", regular("30", 3))
    clips = [annotation(3, 40, clip_id="a"), annotation(10, 30, clip_id="b")]
    settings = TrimSettings()
    together = trim(source, tmp_path / "1", *clips, settings=settings)
    alone = [trim_one(source, tmp_path / "2", clip, settings) for clip in clips]
    for first, second in zip(together, alone, strict=True):
        assert first.clip_sha256 == second.clip_sha256
        assert first.clip_path.read_bytes() == second.clip_path.read_bytes()
        assert first.audio_path.read_bytes() == second.audio_path.read_bytes()


# -- odd sources


def reencoded(tmp_path: Path, *arguments: str, name: str = "odd.mp4", before: Sequence[str] = ()) -> Path:
    """Pass a barcode video of 4 s through ffmpeg with some arguments."""
    plain = make_source(tmp_path / "plain.mov", regular("25", 4))
    odd = tmp_path / name
    run_ffmpeg(["-v", "error", *before, "-i", str(plain), *arguments, str(odd)], 60)
    return odd


def test_rotation_is_undone_and_sizes_are_the_viewers(tmp_path):
    odd = reencoded(tmp_path, "-vf", "scale=320:240,transpose=2", "-c:a", "aac", name="turned.mp4")
    turned = tmp_path / "rotated.mp4"
    run_ffmpeg(["-v", "error", "-display_rotation", "-90", "-i", str(odd), "-c", "copy", str(turned)], 30)
    video = probe(turned)
    assert (video.width, video.height) == (320, 240)
    result = trim_one(turned, tmp_path, annotation(10, 20))
    assert result.crop.width == 240
    # The crop holds the middle three quarters of the barcode's width.
    with av.open(str(result.clip_path)) as container:
        grey = next(container.decode(video=0)).to_ndarray(format="gray")
    stripes = [int(grey[256, int((bit + 0.5) * 320 / BITS - 40) * 512 // 240] > 128) for bit in range(2, 10)]
    assert stripes == [10 >> bit & 1 for bit in range(2, 10)]


def test_pixels_that_are_not_square_are_made_so(tmp_path):
    odd = reencoded(tmp_path, "-vf", "scale=144:192,setsar=4/3", "-c:a", "aac")
    video = probe(odd)
    assert (video.width, video.height, video.square_pixels) == (192, 192, False)
    result = trim_one(odd, tmp_path, annotation(10, 20))
    assert result.crop.width == 192
    assert read_barcodes(result.clip_path) == list(range(10, 30))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["-vf", "scale=181:183", "-pix_fmt", "yuv444p", "-c:a", "aac"], "odd_size.mp4"),
        (["-pix_fmt", "yuv420p10le", "-color_trc", "smpte2084", "-colorspace", "bt2020nc"], "hdr.mp4"),
        (["-vf", "tinterlace=merge,fieldorder=tff,scale=192:192", "-flags", "+ildct+ilme"], "lace.mp4"),
        (["-c:v", "mpeg4", "-c:a", "aac"], "old.mp4"),
        (["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"], "web.webm"),
    ],
)  # fmt: skip
def test_odd_pictures_become_plain_ones(tmp_path, arguments, name):
    odd = reencoded(tmp_path, *arguments, name=name)
    result = trim_one(odd, tmp_path, annotation(10, 25), QUICK.model_copy(update={"min_fps": 10}))
    with av.open(str(result.clip_path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.frames) == (512, 512, 25)
        assert stream.codec_context.pix_fmt == "yuv420p"
    numbers = read_barcodes(result.clip_path)
    if name != "lace.mp4":  # two frames are woven into one there
        assert numbers == list(range(10, 35))
    else:
        assert probe(odd).interlaced


def test_sound_that_begins_late_or_ends_early_is_filled_with_silence(tmp_path):
    source = make_source(tmp_path / "source.mov", regular("25", 4), sound_sec=2.5)
    clip = annotation(25, 75)
    result = trim_one(source, tmp_path, clip)
    samples = read_wav(result.audio_path)
    assert len(samples) == 75 * 640
    assert clicks(samples) == pytest.approx([0], abs=0.001)
    assert not samples[int(1.51 * 16000) :].any()

    late = tmp_path / "late.mov"
    run_ffmpeg(
        ["-v", "error", "-i", str(source), "-itsoffset", "0.5", "-i", str(source),
         "-map", "0:v", "-map", "1:a", "-c", "copy", str(late)], 30,
    )  # fmt: skip
    clip = annotation(0, 60, clip_id="late")
    result = trim_one(late, tmp_path, clip)
    assert clicks(read_wav(result.audio_path)) == pytest.approx([0.5, 1.5], abs=0.001)
    assert read_barcodes(result.clip_path) == list(range(60))


def test_picture_that_begins_late_is_held_back_in_time(tmp_path):
    source = make_source(tmp_path / "source.mov", regular("25", 4))
    late = tmp_path / "late.mov"
    run_ffmpeg(
        ["-v", "error", "-i", str(source), "-itsoffset", "0.48", "-i", str(source),
         "-map", "1:v", "-map", "0:a", "-c", "copy", str(late)], 30,
    )  # fmt: skip
    assert probe(late).video_start_sec == pytest.approx(0.48)
    result = trim_one(late, tmp_path, annotation(0, 50))
    assert read_barcodes(result.clip_path) == [0] * 12 + list(range(38))
    result = trim_one(late, tmp_path, annotation(30, 40))
    assert read_barcodes(result.clip_path) == list(range(18, 58))
    assert clicks(read_wav(result.audio_path)) == pytest.approx([0.8], abs=0.001)


# -- what can not be cut


def test_interval_outside_the_video(tmp_path):
    source = make_source(tmp_path / "source.mov", regular("25", 4))
    clips = [
        annotation(80, 20, clip_id="fits"),
        annotation(82, 20, clip_id="two_frames_short"),
        annotation(83, 20, clip_id="three_frames_short"),
        annotation(100, 2, clip_id="after"),
        annotation(5000, 100, clip_id="far_after"),
    ]
    fits, short, *outside = trim(source, tmp_path, *clips)
    assert read_barcodes(fits.clip_path) == list(range(80, 100))
    assert read_barcodes(short.clip_path) == [*range(82, 100), 99, 99]
    for error in outside:
        assert isinstance(error, ClipError)
        assert (error.code, error.stage) == (ErrorCode.INTERVAL_OUTSIDE_VIDEO, Stage.TRIM)
        assert "4.00 s" in str(error)


def test_no_audio_and_low_frame_rate(tmp_path):
    silent = make_source(tmp_path / "silent.mov", regular("25", 1), sound_sec=0)
    (error,) = trim(silent, tmp_path, annotation(0, 10))
    assert error.code is ErrorCode.NO_AUDIO
    film = make_source(tmp_path / "film.mov", regular("24000/1001", 1))
    (error,) = trim(film, tmp_path, annotation(0, 10))
    assert error.code is ErrorCode.FPS_TOO_LOW
    assert "23.98" in str(error)
    assert isinstance(trim_one(film, tmp_path, annotation(0, 10), TrimSettings(min_fps=23)), TrimResult)


def test_box_without_a_pixel(tmp_path):
    source = make_source(tmp_path / "source.mov", regular("25", 1), side=16)
    (error,) = trim(source, tmp_path, annotation(0, 10, BoundingBox(0, 0.001, 0, 0.001)))
    assert error.code is ErrorCode.INVALID_ANNOTATION


def test_damage_in_one_place_fails_that_clip_only(tmp_path):
    source = make_source(
        tmp_path / "source.mov", regular("25", 12), options={"preset": "ultrafast", "g": "25"}
    )
    with av.open(str(source)) as container:
        packets = [(p.pts * p.time_base, p.pos, p.size) for p in container.demux(video=0) if p.size]
    content = bytearray(source.read_bytes())
    for due, position, size in packets:
        if 4 <= due < 8:
            content[position : position + size] = b"\xff" * size
    source.write_bytes(content)
    clips = [annotation(s, 50, clip_id=f"clip_{s}") for s in (25, 120, 225)]
    before, damaged, after = trim(source, tmp_path, *clips)
    assert read_barcodes(before.clip_path) == list(range(25, 75))
    assert read_barcodes(after.clip_path) == list(range(225, 275))
    assert isinstance(damaged, ClipError)
    assert damaged.code is ErrorCode.CORRUPT_MEDIA
    assert {path.name for path in tmp_path.iterdir()} == {
        "source.mov", "clip_25.mp4", "clip_25.wav", "clip_225.mp4", "clip_225.wav",
    }  # fmt: skip


def test_hostile_files_are_no_videos(tmp_path):
    source = make_source(tmp_path / "source.mov", regular("25", 2))
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nsource.mov\n#EXT-X-ENDLIST\n"
    contents = {
        "playlist.mp4": playlist.encode(),
        "concat.mp4": b"ffconcat version 1.0\nfile source.mov\n",
        "text.mp4": b"#!/bin/sh\necho hello\n",
        "empty.mp4": b"",
        "cut.mov": source.read_bytes()[:-20_000],
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ClipError) as caught:
            probe(tmp_path / name)
        assert caught.value.code is ErrorCode.CORRUPT_MEDIA
        assert name in str(caught.value)


def test_file_names_reach_ffmpeg_as_they_are(tmp_path):
    folder = tmp_path / "it's; $(touch x) %d"
    folder.mkdir()
    source = make_source(folder / "-source: 'a'.mov", regular("25", 1))
    result = trim_one(source, folder, annotation(0, 10))
    assert result.clip_path.parent == folder
    assert not Path("x").exists()


def test_nothing_half_written_bears_a_name(tmp_path, monkeypatch):
    source = make_source(tmp_path / "source.mov", regular("25", 2))
    run = extract.trim.run_ffmpeg

    def fail_after_writing(arguments, timeout_sec):
        run(arguments, timeout_sec)
        raise FfmpegError(
            "ffmpeg ended with status 1",
            f"av_write: {__import__('os').strerror(errno.ENOSPC)}",
            timed_out=False,
        )

    monkeypatch.setattr(extract.trim, "run_ffmpeg", fail_after_writing)
    errors = trim(source, tmp_path / "out", annotation(0, 10, clip_id="a"), annotation(5, 10, clip_id="b"))
    assert [error.code for error in errors] == [ErrorCode.DISK_FULL, ErrorCode.DISK_FULL]
    assert list((tmp_path / "out").iterdir()) == []


def test_leftovers_of_a_killed_run_are_not_written_to(tmp_path):
    source = make_source(tmp_path / "source.mov", regular("25", 2))
    with (tmp_path / ".clip_0.mp4.part").open("wb") as orphan:
        result = trim_one(source, tmp_path, annotation(0, 20))
        orphan.write(b"late words of an ffmpeg that outlived its run")
    assert hashlib.sha256(result.clip_path.read_bytes()).hexdigest() == result.clip_sha256
    assert {path.name for path in tmp_path.iterdir()} == {"source.mov", "clip_0.mp4", "clip_0.wav"}


def test_time_limit(tmp_path):
    source = make_source(tmp_path / "source.mov", regular("25", 20))
    settings = TrimSettings(timeout_base_sec=0.05, timeout_per_clip_second=0, preset="slow")
    (error,) = trim(source, tmp_path / "out", annotation(0, 500), settings=settings)
    assert error.code is ErrorCode.INTERNAL
    assert error.code.transient
    assert "did not end within" in str(error)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason="the sample videos are not here")
def test_sample_videos_are_cut_or_refused_as_planted(tmp_path):
    expected = {
        "deNoAudio00": ErrorCode.NO_AUDIO, "itFilm24fps": ErrorCode.FPS_TOO_LOW,
        "ruLowFps000": ErrorCode.FPS_TOO_LOW, "jaTruncated": ErrorCode.CORRUPT_MEDIA,
    }  # fmt: skip
    clips = read_annotations(sorted((SHARED / "sample/annotations").glob("*.json"))).annotations
    for video_id in sorted({clip.video_id for clip in clips} - {"enGone40400"}):
        source = SHARED / "sample/videos" / f"{video_id}.mp4"
        try:
            results = trim(source, tmp_path, *(clip for clip in clips if clip.video_id == video_id))
        except ClipError as error:
            results = [error]
        for result in results:
            if video_id in expected:
                assert result.code is expected[video_id]
            else:
                assert isinstance(result, TrimResult), result
                assert result.audio_path.stat().st_size == 44 + result.frame_count * 1280
            if video_id == "enSyncedLow":
                assert result.source_scale > 2

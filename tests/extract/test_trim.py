"""Clips are exact to the frame and to the sample, from sources of any rate and container."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest

from multitalk.extract.annotations import BoundingBox
from multitalk.extract.ffmpeg import run_ffmpeg
from multitalk.extract.probe import probe
from multitalk.extract.trim import CropBox, TrimResult, TrimSettings
from multitalk.extract.trim_command import Cut, VideoEncoding, trim_command
from tests.extract.barcodes import (
    QUICK,
    annotation,
    check_sound,
    clicks,
    make_source,
    read_barcodes,
    read_wav,
    regular,
    trim,
    trim_one,
    wanted,
)


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


def test_two_faces_at_once_make_two_clips(tmp_path):
    """Other clips of the video are cut with them, and one box may bear two names."""
    source = make_source(tmp_path / "source.mov", regular("25", 4))
    left = BoundingBox(0, 1, 0, 0.5)
    clips = [
        annotation(10, 20, left, "left"), annotation(50, 20, left, "later"), annotation(10, 20, clip_id="whole"),
        annotation(10, 20, left, "again"), annotation(10, 21, left, "longer"),
    ]  # fmt: skip
    results = trim(source, tmp_path, *clips)
    for clip, result in zip(clips, results, strict=True):
        assert isinstance(result, TrimResult), result
        assert result.clip_path.name == f"{clip.clip_id}.mp4"
        assert result.frame_count == clip.frame_count
        check_sound(clip, result)
    assert read_barcodes(results[2].clip_path) == list(range(10, 30))
    assert results[0].clip_sha256 == results[3].clip_sha256 != results[2].clip_sha256


def test_the_most_clips_of_one_process_fit_its_command_line(tmp_path):
    """Linux takes 128 KiB for one argument, which here holds the filters of all clips."""
    source = make_source(tmp_path / "source.mov", regular("25", 1))
    video = replace(
        probe(source), transfer="hlg", interlaced=True, square_pixels=False, width=3840, height=2160
    )
    crop = CropBox(1234.5, 1234.5, 1234.5, 1234.5)
    cuts = [Cut(100_000 + i, 12_345, crop, tmp_path / f"{i}.mp4", tmp_path / f"{i}.wav") for i in range(32)]
    assert max(map(len, trim_command(source, video, cuts, VideoEncoding(23, "medium")))) < 128 * 1024
    with pytest.raises(ValueError, match="less than or equal to 32"):
        TrimSettings(clips_per_process=33)

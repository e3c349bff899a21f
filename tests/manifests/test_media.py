"""Reading media files: sound in any form, frames, and files that hold neither."""

import wave

import numpy as np
import pytest

from multitalk.ground.wav import read_wav
from multitalk.manifests.media import MediaError, frame_rate, read_frames, read_sound


def write_wav(path, samples, rate, channels=1):
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(np.repeat(samples, channels).tobytes())
    return path


def tone(rate):
    return np.round(8000 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype("<i2")


def test_a_clips_sound_is_the_same_with_and_without_a_decoder(tmp_path):
    path = write_wav(tmp_path / "a.wav", tone(16_000), 16_000)
    np.testing.assert_array_equal(read_wav(path), tone(16_000))
    np.testing.assert_array_equal(read_sound(path), tone(16_000))


def test_sound_of_another_rate_and_in_stereo_becomes_mono_at_16_khz(tmp_path):
    sound = read_sound(write_wav(tmp_path / "a.wav", tone(44_100), 44_100, channels=2))
    assert (sound.dtype, len(sound)) == (np.int16, pytest.approx(16_000, abs=2))
    middle = slice(100, 15_900)
    np.testing.assert_allclose(sound[middle], tone(16_000)[middle], atol=40)


def write_mp3(path, rate, layout):
    import av

    with av.open(str(path), "w", options={"id3v2_version": "0", "write_xing": "0"}) as container:
        stream = container.add_stream("mp3", rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(tone(rate)[None], format="s16", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(format=stream.format, layout=layout, rate=rate)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


def test_sound_that_changes_its_form_midway_is_read_to_its_end(tmp_path):
    whole = tmp_path / "whole.mp3"
    parts = [write_mp3(tmp_path / "a.mp3", 44_100, "stereo"), write_mp3(tmp_path / "b.mp3", 22_050, "mono")]
    whole.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert len(read_sound(whole)) == pytest.approx(32_000, abs=3000)


def test_a_title_in_another_encoding_refuses_no_sound(tmp_path):
    path = write_wav(tmp_path / "a.wav", tone(16_000), 16_000)
    title = b"LIST" + (16).to_bytes(4, "little") + b"INFOINAM" + (4).to_bytes(4, "little") + b"\xe9t\xe9\0"
    content = path.read_bytes()
    path.write_bytes(
        content[:4] + (len(content) + len(title) - 8).to_bytes(4, "little") + content[8:] + title
    )
    np.testing.assert_array_equal(read_sound(path), tone(16_000))


def test_what_is_not_there_is_said_with_the_files_name(tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing")
    sound = write_wav(tmp_path / "sound.wav", tone(16_000), 16_000)
    for read in (read_sound, frame_rate, lambda path: next(read_frames(path))):
        for path in (broken, tmp_path / "missing.mp4"):
            with pytest.raises(MediaError, match=rf"{path.name}: can not be opened"):
                read(path)
    for read in (frame_rate, lambda path: next(read_frames(path))):
        with pytest.raises(MediaError, match=r"sound\.wav: has no video"):
            read(sound)

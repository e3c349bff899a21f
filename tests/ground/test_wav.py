import wave

import numpy as np
import pytest

from multitalk.ground.wav import WavError, read_channels, read_wav, wav_form, write_wav

SAMPLES = np.arange(-800, 800, dtype=np.int16)


def other_form(path, rate, channels, width):
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(bytes(channels * width * 100))
    return path


def test_what_is_written_is_read(tmp_path):
    write_wav(tmp_path / "a.wav", SAMPLES)
    np.testing.assert_array_equal(read_wav(tmp_path / "a.wav"), SAMPLES)
    form = wav_form(tmp_path / "a.wav")
    assert form.is_ours and form.samples == 1600


@pytest.mark.parametrize(("rate", "channels", "width"), [(44100, 1, 2), (16000, 2, 2), (16000, 1, 1)])
def test_another_form_is_named_and_not_taken_for_ours(tmp_path, rate, channels, width):
    path = other_form(tmp_path / "a.wav", rate, channels, width)
    assert not wav_form(path).is_ours
    with pytest.raises(WavError, match=rf"a\.wav: is {rate} Hz, {channels} channels, {8 * width} bits"):
        read_wav(path)


def test_channels_come_one_beside_the_other(tmp_path):
    form, samples = read_channels(other_form(tmp_path / "a.wav", 44100, 2, 2))
    assert (form.rate, samples.shape) == (44100, (100, 2))
    with pytest.raises(WavError, match="8 bits a sample"):
        read_channels(other_form(tmp_path / "b.wav", 16000, 1, 1))


@pytest.mark.parametrize(
    "content", [b"", b"RIFF", b"no sound at all, and long enough to be read as a header"]
)
def test_what_is_no_wav_file_is_told_by_name(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(WavError, match=r"a\.wav: not a readable WAV file"):
        wav_form(tmp_path / "a.wav")
    with pytest.raises(FileNotFoundError):
        read_wav(tmp_path / "b.wav")

import numpy as np
import pytest

from multitalk.filters.persons.sound_print import BITS, sound_print
from multitalk.filters.speech import as_float


@pytest.fixture(scope="module")
def speech(german):
    return as_float(german)


def differing(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.bitwise_count(a ^ b).mean() / BITS)


def printed(sound: np.ndarray) -> np.ndarray:
    return sound_print(sound.astype(np.float32), len(sound) // 640)


def test_a_print_has_a_number_a_frame(speech):
    assert sound_print(speech, 30).shape == (30,)
    assert sound_print(speech[:100], 3).dtype == np.uint32


def test_loudness_noise_and_a_lost_band_leave_the_print(speech):
    from scipy.signal import butter, sosfilt

    of_it = printed(speech)
    assert differing(of_it, printed(speech * 0.1)) < 0.01
    noisy = speech + 0.003 * np.random.default_rng(0).standard_normal(len(speech))
    # in what is quiet the noise decides
    assert differing(of_it, printed(noisy)) < 0.25
    telephone = sosfilt(butter(4, (250, 3800), "bandpass", fs=16_000, output="sos"), speech)
    assert differing(of_it, printed(telephone)) < 0.1


def test_a_cut_between_frames_leaves_most_of_it(speech):
    assert differing(printed(speech)[1:-8], printed(speech[640 + 320 :])[: len(printed(speech)) - 9]) < 0.15


def test_other_speech_differs_by_half(speech, synthesise):
    other = as_float(
        synthesise("Heute geht es um etwas ganz anderes, nämlich um das Wetter von morgen früh.", "de")
    )
    frames = min(len(speech), len(other)) // 640
    assert 0.4 < differing(printed(speech)[:frames], printed(other)[:frames]) < 0.6

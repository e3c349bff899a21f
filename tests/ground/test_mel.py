import numpy as np

from multitalk.ground.mel import mel_spaced, speech_bands, speech_power, triangles


def test_triangles_rise_and_fall_between_their_corners():
    weights = triangles(np.array([0.0, 2.0, 4.0, 8.0]), np.arange(9.0))
    assert weights.tolist() == [[0, 0.5, 1, 0.5, 0, 0, 0, 0, 0], [0, 0, 0, 0.5, 1, 0.75, 0.5, 0.25, 0]]


def test_mel_spacing_ends_where_asked_and_widens():
    hertz = mel_spaced(60, 7600, 22)
    np.testing.assert_allclose(hertz[[0, -1]], (60, 7600))
    assert (np.diff(hertz, 2) > 0).all()


def test_a_tone_is_in_the_band_that_holds_it():
    tone = 8000 * np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    power = speech_power(tone.astype(np.int16)).mean(axis=0)
    assert power.argmax() == 1000 * 512 / 16_000
    band = (speech_bands() @ power).argmax()
    corners = mel_spaced(0, 8000, 28)
    assert corners[band] < 1000 < corners[band + 2]

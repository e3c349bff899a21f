import numpy as np

from multitalk.filters.persons.repeats import find_repeats
from multitalk.filters.persons.sound_print import sound_print
from multitalk.filters.speech import as_float

rng = np.random.default_rng(0)


def random_print(frames: int = 120) -> np.ndarray:
    return rng.integers(1, 2**32, frames, np.uint32)


def with_wrong_bits(found: np.ndarray, share: float) -> np.ndarray:
    wrong = np.packbits(rng.random((len(found), 32)) < share, axis=1).view(np.uint32)[:, 0]
    return found ^ wrong


def pairs(prints, video) -> list[tuple[int, int, int]]:
    found = find_repeats(prints, np.array(video))
    return list(zip(found.first.tolist(), found.second.tolist(), found.frames.tolist(), strict=True))


def test_a_recording_cut_elsewhere_and_coded_anew_is_found():
    whole = random_print(200)
    prints = [random_print(), whole[:120], random_print(), with_wrong_bits(whole[50:200], 0.08)]
    assert pairs(prints, [0, 1, 2, 3]) == [(1, 3, 70)]


def test_clips_of_one_video_and_short_or_no_sound_are_no_repeats():
    whole = random_print(200)
    silence = np.zeros(100, np.uint32)
    assert pairs([whole, whole], [0, 0]) == []
    assert pairs([whole[:120], whole[90:]], [0, 1]) == []
    assert pairs([silence, silence, np.zeros(0, np.uint32)], [0, 1, 2]) == []
    assert pairs([], []) == []


def test_real_speech_is_found_again_and_no_other(german, synthesise):
    speech = as_float(german)
    later = np.float32(0.3) * speech[640 * 9 + 300 :]  # between two frames, and quieter
    later = later + 0.002 * rng.standard_normal(len(later)).astype(np.float32)
    other = as_float(
        synthesise("Heute geht es um etwas ganz anderes, nämlich um das Wetter von morgen.", "de")
    )
    prints = [sound_print(sound, len(sound) // 640) for sound in (speech, other, later)]
    (found,) = pairs(prints, [0, 1, 2])
    assert found[:2] == (0, 2)
    assert found[2] >= len(prints[2]) - 3

import numpy as np
import pytest

from multitalk.filters.persons.cluster import Clips, tell_persons

rng = np.random.default_rng(0)


def person(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A face and a voice, as far from others' as those of real persons are: 0.78, and a product of 0.56."""
    own = np.random.default_rng(seed)
    face = own.standard_normal(128) * 0.55 / np.sqrt(128)
    voice = np.full(256, 1 / 16.0) + 0.9 * own.standard_normal(256) / 16
    return face, voice / np.linalg.norm(voice)


def described(*clips: tuple[int, int | None, int | None], seconds: float = 4.0, spread: float = 0.1) -> Clips:
    """Clips given by video, whose face and whose voice; None where there is none."""
    faces, voices = np.full((len(clips), 128), np.nan), np.full((len(clips), 256), np.nan)
    for row, (_, face, voice) in enumerate(clips):
        if face is not None:
            faces[row] = person(face)[0] + spread * rng.standard_normal(128) / np.sqrt(128)
        if voice is not None:
            heard = person(voice)[1] + 0.3 * rng.standard_normal(256) / 16
            voices[row] = heard / np.linalg.norm(heard)
    video = np.array([video for video, _, _ in clips], np.int64)
    heard = np.full(len(clips), seconds, np.float32)
    return Clips(video, faces.astype(np.float32), voices.astype(np.float32), heard)


def test_a_person_is_found_again_in_other_videos_and_named_by_the_first_clip():
    told = tell_persons(described((0, 7, 7), (0, 7, 7), (1, 8, 8), (2, 7, 7), (3, 8, 8), (3, 9, 9)))
    assert told.person.tolist() == [0, 0, 2, 0, 2, 5]


def test_a_video_with_several_persons_has_several():
    told = tell_persons(described((0, 1, 1), (0, 2, 2), (0, 1, 1), (0, 3, 3), (0, 2, 2)))
    assert told.person.tolist() == [0, 1, 0, 3, 1]
    assert told.voice_faces.tolist() == [1, 1, 1, 1, 1]


def test_a_dubbed_face_is_the_same_person_and_one_voice_of_several_faces_is_told_of():
    told = tell_persons(described((0, 1, 1), (1, 1, 5), (2, 2, 9), (2, 3, 9), (2, 4, 4)))
    assert told.person.tolist() == [0, 0, 2, 3, 4]
    assert told.voice_faces.tolist() == [1, 1, 2, 2, 1]


def test_without_a_face_nobody_is_told_and_of_little_speech_no_voice():
    told = tell_persons(described((0, None, 1), (0, 2, None), (1, 2, 2), seconds=1.0))
    assert told.person.tolist() == [-1, 1, 1]
    assert told.voice_faces.tolist() == [-1, -1, -1]
    assert tell_persons(described()).person.tolist() == []


def test_a_chain_of_likenesses_makes_no_person_of_many():
    """Faces on a line, each near the next: those at the ends are two persons' for all that."""
    step = 0.3 * person(1)[0] / np.linalg.norm(person(1)[0])
    faces = np.array([person(2)[0] + n * step for n in range(12)], np.float32)
    clips = Clips(np.arange(12), faces, np.full((12, 256), np.nan, np.float32), np.zeros(12, np.float32))
    told = tell_persons(clips).person
    for one in set(told.tolist()):
        members = faces[told == one]
        assert np.linalg.norm(members[0] - members[-1]) < 0.95
    assert len(set(told.tolist())) >= 4


@pytest.mark.parametrize("seed", range(3))
def test_more_videos_rename_nobody(seed):
    who = np.random.default_rng(seed).integers(0, 20, 60)
    clips = described(*((n, int(p), int(p)) for n, p in enumerate(who)))
    few = Clips(clips.video[:40], clips.face[:40], clips.voice[:40], clips.voice_sec[:40])
    whole = tell_persons(clips).person
    assert tell_persons(few).person.tolist() == whole[:40].tolist()
    assert len(set(whole.tolist())) == len(set(who.tolist()))

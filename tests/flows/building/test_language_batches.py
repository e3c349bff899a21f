"""Languages are told clip by clip, or for all clips of a video where the model takes many at once."""

import wave
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from multitalk.extract.faces.tracks import FaceTrack
from multitalk.filters.language import LanguageMetrics
from multitalk.filters.speech import SpeechDetector
from multitalk.flows.building.clip import ClipBuilder, ClipData
from multitalk.flows.building.settings import BuildSettings

FRAMES = 25


class Listener:
    """Answers with the annotated language, and remembers how many clips it was asked about at once."""

    def __init__(self, batch_size):
        self.batch_size, self.asked = batch_size, []

    def measure_all(self, clips):
        self.asked.append(len(clips))
        return [LanguageMetrics(detected_language=clip.language) for clip in clips]


def clip_data(folder: Path, language: str) -> ClipData:
    path = folder / f"{language}.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(np.zeros(640 * FRAMES, np.int16).tobytes())
    annotation = SimpleNamespace(clip_id=f"{language}_0", language=language, transcript="")
    here = np.ones(FRAMES, bool)
    landmarks = np.random.default_rng(0).normal(256, 50, (FRAMES, 478, 3)).astype(np.float32)
    count = np.ones(FRAMES, np.int32)
    data = ClipData(annotation, SimpleNamespace(audio_path=path), (512, 512), {})
    data.track = FaceTrack(landmarks, here, ~here, count, count - 1)
    return data


@pytest.mark.parametrize(("batch_size", "asked"), [(1, [1, 1, 1]), (16, [3])])
def test_languages_of_a_video(tmp_path, batch_size, asked):
    builder = ClipBuilder(BuildSettings(root=tmp_path, speaking_score=False))
    listener = Listener(batch_size)
    builder.__dict__ |= {"_language_identifier": listener, "_speech_detector": SpeechDetector()}
    clips = [clip_data(tmp_path, language) for language in ("german", "french", "thai")]
    for clip in clips:
        builder._measure_sound(clip)
    builder.pool_over_video(clips)
    assert [clip.row["detected_language"] for clip in clips] == ["german", "french", "thai"]
    assert listener.asked == asked
    assert all(clip.said is None for clip in clips)
    assert all(clip.row["speech_ratio"] == 0 for clip in clips)


def test_how_many_at_once_builds_nothing_anew():
    assert BuildSettings(language={"batch_size": 4}).fingerprint() == BuildSettings().fingerprint()

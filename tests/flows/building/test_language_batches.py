"""Languages are told clip by clip, or for all clips of a video where the model takes many at once."""

import wave
from pathlib import Path

import numpy as np
import pytest

from multitalk.assets.fetch import require
from multitalk.extract.annotations import Annotation, BoundingBox
from multitalk.extract.errors import Stage
from multitalk.filters.language import LanguageMetrics
from multitalk.filters.speech import SpeechDetector
from multitalk.flows.building.clip import ClipInWork, ClipStages
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.building.stages import stage_fingerprints
from multitalk.manifests.clip_row import ClipRow

FRAMES = 25


class Listener:
    """Answers with the annotated language, and remembers how many clips it was asked about at once."""

    def __init__(self, batch_size):
        self.batch_size, self.asked, self.words = batch_size, [], []

    def measure_all(self, said, *, transcribe):
        self.asked.append(len(said))
        self.words.append(transcribe)
        return [LanguageMetrics(detected_language=one.language, recognised_transcript="so") for one in said]


def clip_in_work(folder: Path, language: str, *, words: bool) -> ClipInWork:
    sound = folder / f"{language}.wav"
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(np.zeros(640 * FRAMES, np.int16).tobytes())
    annotation = Annotation(
        f"{language}_0", language, language, 0.0, 1.0, 0, FRAMES, BoundingBox(0.0, 1.0, 0.0, 1.0), ""
    )
    row = ClipRow(annotation.clip_id, annotation.video_id, language)
    return ClipInWork(annotation, row, folder / "none.mp4", sound, wants_words=words)


@pytest.mark.parametrize("words", [True, False])
@pytest.mark.parametrize(("batch_size", "asked"), [(1, [1, 1, 1]), (16, [3])])
def test_languages_of_a_video(tmp_path, batch_size, asked, words):
    stages = ClipStages(BuildSettings(root=tmp_path))
    listener = Listener(batch_size)
    stages.__dict__ |= {
        "_language_identifier": listener,
        "_speech_detector": SpeechDetector(require("silero_vad")),
    }
    clips = [clip_in_work(tmp_path, language, words=words) for language in ("german", "french", "thai")]
    for clip in clips:
        for stage in (Stage.SPEECH, Stage.LANGUAGE, Stage.TRANSCRIPT)[: 3 if words else 2]:
            stages.do(stage, clip)
    stages.tell_waiting_languages(clips)
    assert [clip.row.detected_language for clip in clips] == ["german", "french", "thai"]
    assert [clip.row.recognised_transcript for clip in clips] == ["so" if words else None] * 3
    assert listener.asked == asked  # words come with the language, in one pass
    assert set(listener.words) == {words}
    assert all(clip.language == "told" for clip in clips)
    assert all(clip.row.speech_ratio == 0 for clip in clips)


def test_how_many_at_once_builds_nothing_anew():
    at_once = BuildSettings(language={"batch_size": 4})
    assert stage_fingerprints(at_once) == stage_fingerprints(BuildSettings())

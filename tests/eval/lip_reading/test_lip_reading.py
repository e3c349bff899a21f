import json
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from multitalk.assets.fetch import find
from multitalk.eval.drawing.video import write_video
from multitalk.eval.ground_truth import FolderTruth
from multitalk.eval.lip_reading.clips import LayoutError, avlr_folder, read_valid_clips, recognised_references
from multitalk.eval.lip_reading.inputs import (
    rendered_mouths,
    true_mouth_crops,
    vertex_mouth_crops,
    video_mouth_crops,
)
from multitalk.eval.lip_reading.lip_reading import AUDIO_ONLY, SpokenClip, read_clips
from multitalk.eval.lip_reading.lip_reading_tables import lip_reading_figures, lip_reading_table, unread_table
from multitalk.eval.lip_reading.mouth import MouthLandmarks
from multitalk.eval.lip_reading.noise import RecordedNoise
from multitalk.eval.lip_reading.release import REAL_VIDEO, release_clips, release_mouth_crops
from multitalk.eval.settings import LipReadingSettings
from multitalk.manifests.media import MediaError

SAMPLE = Path(__file__).parents[3].parent / "shared/sample/videos"
NOISES = [
    RecordedNoise("dog", np.ones(100, np.int16)),
    RecordedNoise("music", np.arange(100, dtype=np.int16)),
]
SETTINGS = LipReadingSettings(bootstrap_draws=100)


class Reader:
    """Reads what its script says, and counts what it is asked."""

    name, version = "toy", "1"

    def __init__(self, script):
        self.script, self.seen, self.read_count = script, [], 0

    def encode_video(self, mouths):
        self.seen.append(float(mouths[0, 0, 0]))
        return torch.full((1, len(mouths), 1), float(mouths[0, 0, 0]))

    def read(self, samples, seen, *, beam, max_length):
        self.read_count += 1
        return self.script(None if seen is None else float(seen[0, 0, 0]))


@pytest.fixture
def clips(tmp_path):
    made = []
    for k, text in enumerate(["One two three four.", "Five six!"]):
        path = tmp_path / f"{k}.wav"
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes((1000 * np.sin(np.arange(6400))).astype("<i2").tobytes())
        made.append(SpokenClip(str(k), f"video{k}", path, text))
    return made


def crops(value):
    def see(clip_id):
        return np.full((10, 88, 88), value + int(clip_id), np.float32)

    return see


def script(seen):
    """Without lips nothing; the first clip right; of the second one word of two."""
    return {None: "", 0.0: "one two three four", 1.0: "five nix"}[seen]


def test_rates_by_protocol(clips, tmp_path):
    readings = read_clips(clips, {"model": crops(0)}, Reader(script), NOISES, SETTINGS, tmp_path / "r.jsonl")
    figures = {(f.row, f.snr_db, f.noise): f for f in lip_reading_figures(clips, readings, SETTINGS)}
    assert figures["model", -10.0, "all"].word_error_rate[0] == pytest.approx(1 / 6)
    assert figures["model", -7.5, "dog"].word_error_rate[0] == pytest.approx(1 / 6)
    assert figures[AUDIO_ONLY, -10.0, "all"].word_error_rate[0] == 1
    low, high = figures["model", -10.0, "all"].word_error_rate[1:]
    assert (low, high) == pytest.approx((0, 0.5))
    paper = LipReadingSettings(protocol="multitalk", noises=tmp_path, bootstrap_draws=100)
    means = {(f.row, f.snr_db, f.noise): f for f in lip_reading_figures(clips, readings, paper)}
    assert means["model", -10.0, "all"].word_error_rate[0] == pytest.approx((0 + 1 / 2) / 2)
    table = lip_reading_table(list(figures.values()), SETTINGS, detailed=False)
    assert len(table.rows) == 4
    assert "16.67" in table.text("markdown")


def test_pictures_are_encoded_once_a_clip(clips, tmp_path):
    reader = Reader(script)
    read_clips(clips, {"model": crops(0)}, reader, NOISES, SETTINGS, tmp_path / "r.jsonl")
    assert reader.seen == [0.0, 1.0]
    assert reader.read_count == 2 * 2 * 4  # clips, rows, conditions


def test_an_interrupted_run_goes_on(clips, tmp_path):
    record = tmp_path / "r.jsonl"
    whole = read_clips(clips, {"model": crops(0)}, Reader(script), NOISES, SETTINGS, record)
    lines = record.read_text().splitlines()
    record.write_text("\n".join(lines[:9]) + "\n" + lines[9][:20])  # killed while writing the tenth
    reader = Reader(script)
    again = read_clips(clips, {"model": crops(0)}, reader, NOISES, SETTINGS, record)
    assert reader.read_count == len(lines) - 9
    assert set(again.readings) == set(whole.readings)
    other = Reader(script)
    read_clips(
        clips, {"model": crops(0)}, other, NOISES, LipReadingSettings(beam=2, bootstrap_draws=100), record
    )
    assert other.read_count == len(lines), "another beam is another reading"
    assert all(json.loads(line) for line in record.read_text().splitlines() if line != lines[9][:20])


def test_rows_are_scored_on_the_clips_that_all_have(clips, tmp_path):
    def blind(clip_id):
        if clip_id == "1":
            raise LookupError("no prediction")
        return crops(0)(clip_id)

    rows = {"model": crops(0), "blind": blind}
    readings = read_clips(clips, rows, Reader(script), NOISES, SETTINGS, tmp_path / "r.jsonl")
    assert readings.skipped["blind"] == {"1": "no prediction"}
    figures = lip_reading_figures(clips, readings, SETTINGS)
    assert {f.clips for f in figures} == {1}
    assert next(f for f in figures if f.row == "model").word_error_rate[0] == 0


def test_nothing_read_is_an_error(clips, tmp_path):
    def blind(clip_id):
        raise LookupError("no prediction")

    settings = LipReadingSettings(audio_only=False, bootstrap_draws=100)
    with pytest.raises(ValueError, match="no prediction"):
        read_clips(clips, {"blind": blind}, Reader(script), NOISES, settings, tmp_path / "r.jsonl")


def test_multitalks_folders_are_found(tmp_path):
    for name in ("inputs/wav", "inputs/multitalk", "inputs/codetalker"):
        (tmp_path / name).mkdir(parents=True)
    found = avlr_folder(tmp_path, "de")
    assert list(found.models) == ["codetalker", "multitalk"]
    assert found.checkpoint == tmp_path / "checkpoints" / "de_avsr"
    with pytest.raises(LayoutError, match="inputs/wav"):
        avlr_folder(tmp_path / "inputs", "de")


def test_the_papers_protocol_is_greedy_with_its_noises():
    with pytest.raises(ValidationError, match="greedily"):
        LipReadingSettings(protocol="multitalk")
    with pytest.raises(ValidationError, match="greedily"):
        LipReadingSettings(protocol="multitalk", noises=Path("noise"), beam=5)


def test_a_list_of_valid_clips(tmp_path):
    (tmp_path / "valid.json").write_text('{"a": true, "b": false, "c": 1}')
    assert read_valid_clips(tmp_path / "valid.json") == {"a", "c"}
    (tmp_path / "valid.json").write_text("[1]")
    with pytest.raises(LayoutError, match="true or false"):
        read_valid_clips(tmp_path / "valid.json")


@pytest.mark.slow  # Whisper
@pytest.mark.skipif(not SAMPLE.exists(), reason="needs real speech: ../shared/sample")
def test_whisper_makes_references_once(tmp_path):
    whisper = find("whisper_base")
    if whisper is None:
        pytest.skip("Whisper base is not here: multitalk assets fetch whisper_base")
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    sounds = {"spoken": SAMPLE / "enAOCsynced.mp4", "broken": tmp_path / "broken.wav"}
    record = tmp_path / "references.json"
    heard = recognised_references(sounds, "en", whisper, record)
    assert set(heard) == {"spoken"}, "what can not be read has no reference"
    assert "our country" in heard["spoken"].lower()
    kept = json.loads(record.read_text("utf-8"))
    record.write_text(json.dumps({"spoken": ["as it was heard before", kept["spoken"][1]]}), "utf-8")
    for same in (tmp_path / "gone", sounds["spoken"]):
        again = recognised_references({"spoken": same}, "en", whisper, record)
        assert again == {"spoken": "as it was heard before"}


def test_a_folder_without_whisper_is_told_of(tmp_path):
    with pytest.raises(MediaError, match="no faster-whisper model"):
        recognised_references({"a": tmp_path / "a.wav"}, "en", tmp_path, tmp_path / "references.json")


def head(frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A grid of 478 vertices with MediaPipe's eyes, nose and mouth where a face has them."""
    grid = np.stack(np.meshgrid(np.linspace(-0.08, 0.08, 22), np.linspace(-0.1, 0.1, 22)), -1).reshape(-1, 2)[
        :478
    ]
    template = np.column_stack([grid, np.zeros(478)]).astype(np.float32)
    for vertex, place in {
        2: (0, 0),
        33: (-0.045, 0.05),
        133: (-0.017, 0.05),
        362: (0.017, 0.05),
        263: (0.045, 0.05),
    }.items():
        template[vertex] = (*place, 0.01)
    for vertex in (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87):
        template[vertex] = (0, -0.04, 0.01)
    faces = np.array([[k, k + 1, k + 22] for k in range(21 * 20) if k % 22 != 21])
    return np.repeat(template[None], frames, axis=0), faces, template


def test_vertices_become_mouth_pictures(tmp_path):
    pytest.importorskip("numba")
    vertices, faces, template = head(4)
    np.save(tmp_path / "clip.npy", vertices)
    see = vertex_mouth_crops(tmp_path, faces, template)
    mouths = see("clip")
    assert mouths.shape == (4, 88, 88)
    assert mouths.std() > 0
    assert np.array_equal(mouths, rendered_mouths(vertices, faces, template))
    with pytest.raises(LookupError, match="no prediction"):
        see("other")
    assert np.array_equal(true_mouth_crops(FolderTruth(tmp_path, template), faces)("clip"), mouths)
    with pytest.raises(LookupError, match="template"):
        true_mouth_crops(FolderTruth(tmp_path), faces)("clip")


def test_a_releases_clips_are_read_from_its_own_video(release_root, tmp_path):
    (clip,) = release_clips(release_root, "first", "german")
    assert (clip.source, clip.reference) == ("v", "Guten Tag!")
    assert release_clips(release_root, "first", "greek") == []
    rows = {REAL_VIDEO: release_mouth_crops(release_root, "german")}
    readings = read_clips(
        [clip], rows, Reader(lambda seen: "guten tag"), NOISES, SETTINGS, tmp_path / "r.jsonl"
    )
    figures = lip_reading_figures([clip], readings, SETTINGS)
    assert {f.row for f in figures} == {REAL_VIDEO, AUDIO_ONLY}
    assert all(f.word_error_rate[0] == 0 for f in figures)


@pytest.mark.parametrize(("count", "topology"), [(478, "mediapipe"), (68, "ibug68")])
def test_videos_become_mouth_pictures(tmp_path, count, topology):
    frames = [np.full((64, 64, 3), 40 * k, np.uint8) for k in range(5)]
    write_video(tmp_path / "clip.mp4", frames)
    points = np.full((5, count, 3), np.nan)
    mouths = video_mouth_crops(lambda clip: tmp_path / f"{clip}.mp4", lambda clip: points)("clip")
    assert mouths.shape == (5, 88, 88)
    assert np.all(np.diff(mouths.mean(axis=(1, 2))) > 0.5)
    assert MouthLandmarks.of(points, topology).stable.shape == (5, 5, 2)


def test_another_sound_is_read_anew(clips, tmp_path):
    record = tmp_path / "r.jsonl"
    whole = read_clips(clips, {"model": crops(0)}, Reader(script), NOISES, SETTINGS, record)
    with wave.open(str(clips[0].sound), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(9600))
    reader = Reader(script)
    read_clips(clips, {"model": crops(0)}, reader, NOISES, SETTINGS, record)
    assert reader.read_count == len(whole.readings) / len(clips)


def test_clips_in_which_nothing_is_said_are_told_of(clips, tmp_path):
    silent = [clips[0], replace(clips[1], reference="...")]
    readings = read_clips(silent, {"model": crops(0)}, Reader(script), NOISES, SETTINGS, tmp_path / "r.jsonl")
    table = unread_table(silent, readings, SETTINGS)
    assert table.rows == (("reference", "1", "nothing is said in it"),)

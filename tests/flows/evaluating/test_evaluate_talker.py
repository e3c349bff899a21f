"""`multitalk evaluate talker`: a release's clips spoken, timed, and their codes counted."""

import json

import numpy as np
import pytest

from multitalk.eval.vertex_files import find_vertex_files, read_vertices
from multitalk.flows.commands.main import main
from multitalk.training.presets import PRIORS


def test_a_split_is_spoken_and_timed(released, talking_models, tmp_path, capsys):
    arguments = [
        *talking_models,
        "--root",
        str(released),
        "--release",
        "v1",
        "--split",
        "train",
        "--format",
        "json",
    ]
    capsys.readouterr()
    assert main(["evaluate", "talker", *arguments, "--out", str(tmp_path / "spoken")]) == 0
    speed, codes = json.loads(capsys.readouterr().out)
    files = find_vertex_files(tmp_path / "spoken")
    frames = sum(len(read_vertices(file.paths[0])) for file in files.values())
    (row,) = speed["rows"]
    assert row["clips"] == len(files) > 3
    assert row["speech, s"] == pytest.approx(frames / 25)
    assert row["real-time factor"] == pytest.approx(25 / row["frames/s"])
    assert 0 < row["latency, s"] < 60
    true, talker = codes["rows"]
    assert (true["motion"], talker["motion"]) == ("true", "talker")
    entries = PRIORS["tiny"].model.codebook_size
    for used in (true, talker):
        assert 1 <= used["perplexity"] <= entries * used["share in use"] + 1e-6
    assert not np.isclose(true["perplexity"], talker["perplexity"])


def test_what_can_not_be_spoken_is_said(released, talking_models, tmp_path, capsys):
    arguments = ["--root", str(released), "--out", str(tmp_path / "spoken")]
    capsys.readouterr()
    assert main(["evaluate", "talker", *talking_models, *arguments]) == 2
    assert "release" in capsys.readouterr().err
    assert (
        main(["evaluate", "talker", *talking_models[:2], "--talker", "x.pt", *arguments, "--release", "v1"])
        == 2
    )
    assert "x.pt" in capsys.readouterr().err

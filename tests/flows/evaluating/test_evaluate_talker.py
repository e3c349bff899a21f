"""`multitalk evaluate talker`: a release's clips spoken, timed, and their codes counted."""

import json

import numpy as np
import pytest
import torch

from multitalk.assets.fetch import require
from multitalk.eval.vertex_files import find_vertex_files, read_vertices
from multitalk.fit_flame.heads.canonical import canonical_head_model
from multitalk.flows.commands.cli import main
from multitalk.flows.modelling.models import audio_encoder
from multitalk.training.model.model_files import PriorFile, TalkerFile, digest, save_prior, save_talker
from multitalk.training.model.motion_prior import MotionPrior
from multitalk.training.model.talker import Talker
from multitalk.training.presets import PRIORS, TALKERS


@pytest.fixture
def models(tmp_path):
    """A prior and a talker of random weights that belong together."""
    torch.manual_seed(0)
    head, ears = canonical_head_model(require("face_landmarker")), audio_encoder(None)
    still = torch.zeros(head.expression_size + 3)
    prior = MotionPrior(PRIORS["tiny"].model, still, still + 1)
    talker = Talker(TALKERS["tiny"].model, ears.width, prior.settings)
    save_prior(PriorFile(prior, head.key), tmp_path / "prior.pt")
    save_talker(TalkerFile(talker, digest(prior), ears.fingerprint), tmp_path / "talker.pt")
    return ["--prior", str(tmp_path / "prior.pt"), "--talker", str(tmp_path / "talker.pt")]


def test_a_split_is_spoken_and_timed(released, models, tmp_path, capsys):
    arguments = [*models, "--root", str(released), "--release", "v1", "--split", "train", "--format", "json"]
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


def test_what_can_not_be_spoken_is_said(released, models, tmp_path, capsys):
    arguments = ["--root", str(released), "--out", str(tmp_path / "spoken")]
    capsys.readouterr()
    assert main(["evaluate", "talker", *models, *arguments]) == 2
    assert "release" in capsys.readouterr().err
    assert main(["evaluate", "talker", *models[:2], "--talker", "x.pt", *arguments, "--release", "v1"]) == 2
    assert "x.pt" in capsys.readouterr().err

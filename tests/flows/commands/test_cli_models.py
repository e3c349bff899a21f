"""Commands about fits and models: what they take, what they refuse, and what they print."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from multitalk.assets.errors import AssetError
from multitalk.assets.fetch import require
from multitalk.flows.commands.main import main

CLIPS = {"german": ("deOne_0", "deTwo_0"), "french": ("frOne_0", "frTwo_0")}
OFFSET = 0.003
TALK = ["--language", "german", "--prior", "p.pt", "--talker", "t.pt"]


@pytest.fixture
def folders(tmp_path):
    """True motion on MediaPipe's mesh, and predictions that are off by 3 mm along x everywhere."""
    random = np.random.default_rng(0)
    for language, clip_ids in CLIPS.items():
        for clip_id in clip_ids:
            true = random.normal(0, 0.01, (20, 468, 3)).astype(np.float32)
            off = true + np.array([OFFSET, 0, 0], np.float32)
            for name, vertices in (("true", true), ("model", off)):
                place = tmp_path / name / language / f"{clip_id}.npz"
                place.parent.mkdir(parents=True, exist_ok=True)
                np.savez(place, vertices=vertices)
    return tmp_path


def evaluated(folders, capsys, *more):
    arguments = ["--predictions", str(folders / "model"), "--ground-truth", str(folders / "true"), *more]
    status = main(["evaluate", "motion", *arguments])
    return status, capsys.readouterr()


def test_a_constant_offset_is_measured_as_such(folders, capsys):
    status, printed = evaluated(folders, capsys, "--metrics", "lve_squared", "--format", "json")
    assert status == 0
    tables = {table["title"]: table["rows"] for table in json.loads(printed.out)}
    whole = [row for row in tables["Figures"] if row["group"] == "all" and row["pooling"] == "clip"]
    assert whole[0]["model"] == "model"
    assert whole[0]["clips"] == 4
    assert whole[0]["value"] == pytest.approx(OFFSET**2, rel=1e-3)


def test_models_are_called_what_the_user_calls_them(folders, capsys):
    true = folders / "true"
    arguments = ["--predictions", f"same={true}", f"off={folders / 'model'}", "--ground-truth", str(true)]
    status = main(["evaluate", "motion", *arguments, "--metrics", "lve_squared", "--format", "csv"])
    header = next(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert status == 0
    assert header[-2:] == ["same", "off"]


def test_a_model_of_which_nothing_is_known_ends_with_1_and_the_others_figures(folders, capsys):
    """A mistyped folder beside a right one: the table alone would be read past."""
    other = folders / "other" / "german"
    other.mkdir(parents=True)
    np.savez(other / "deNobody_0.npz", vertices=np.zeros((20, 468, 3), np.float32))
    true, model = folders / "true", folders / "model"
    arguments = ["--predictions", f"right={model}", f"wrong={other.parent}", "--ground-truth", str(true)]
    status = main(["evaluate", "motion", *arguments, "--metrics", "lve_squared", "--format", "json"])
    printed = capsys.readouterr()
    assert status == 1
    assert "no clip of wrong could be measured" in printed.err
    tables = {table["title"]: table["rows"] for table in json.loads(printed.out)}
    assert [row["model"] for row in tables["Models of which not one clip could be measured"]] == ["wrong"]
    assert {row["model"] for row in tables["Figures"]} == {"right"}


def test_what_was_skipped_is_said(folders, capsys):
    (folders / "model" / "german" / "deOne_0.npz").unlink()
    status, printed = evaluated(folders, capsys, "--metrics", "lve_squared")
    assert status == 0
    assert "deOne_0" in printed.out
    assert "no prediction" in printed.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evaluate", "motion", "--predictions", "x"], "ground truth or a release"),
        (["evaluate", "motion", "--predictions", "x", "--release", "v1"], "needs the dataset's root"),
        (["evaluate", "motion", "--ground-truth", "x"], "no predictions"),
        (["evaluate", "motion", "--predictions", "x/a", "y/a", "--ground-truth", "x"], "write NAME=DIR"),
        (["evaluate", "motion", "--predictions", "nowhere", "--ground-truth", "nowhere"], "no such folder"),
        (["preview", "clip", "--root", "nowhere", "--out", "clip.mp4"], "nowhere"),
        (["preview", "clip", "--root", "nowhere", "--out", "clip.avi"], "must end in .mp4"),
        (["train", "prior", "--root", "nowhere", "--preset", "tiny", "--out", "x"], "nowhere"),
        (
            [
                "talk",
                "a.wav",
                "--language",
                "german",
                "--prior",
                "p.pt",
                "--talker",
                "t.pt",
                "--out",
                "x.npz",
            ],
            "p.pt: no such file",
        ),
        (
            [
                "talk",
                "a.wav",
                "--language",
                "german",
                "--prior",
                "p.pt",
                "--talker",
                "t.pt",
                "--out",
                "x.obj",
            ],
            "must end in",
        ),
        (["talk", "a.wav", "b.wav", *TALK, "--out", "x.npz"], "several sounds need a folder"),
        (["talk", "a.wav", "x/a.mp3", *TALK, "--out", "x"], "several sounds are called a"),
        (["talk", "a.mp4", *TALK, "--out", "x/../a.mp4"], "would be overwritten"),
        (["talk", "a.mp4", "b.mp4", *TALK, "--out", ".", "--format", "mp4"], "a.mp4 is one of the sounds"),
    ],
)
def test_unusable_arguments_end_in_one_line(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.fixture
def reference_models(tmp_path):
    """A prior and a talker of the reference's architecture, as they are trained here: they name their head model."""
    from multitalk.fit_flame.heads.canonical import canonical_head_model
    from multitalk.training.model.model_files import (
        PriorFile,
        TalkerFile,
        save_prior,
        save_talker,
        weights_digest,
    )
    from multitalk.training.reference.prior import ReferencePrior
    from multitalk.training.reference.talker import ReferenceTalker
    from multitalk.training.settings import ReferencePriorSettings, ReferenceTalkerSettings, Wav2Vec2Settings

    head = canonical_head_model(require("face_landmarker"))
    sizes = {"vertex_values": head.v_template.size, "hidden": 16, "layers": 1, "heads": 2}
    codes = {"feed_forward": 16, "codes_per_frame": 4, "codebook_size": 8, "code_dim": 4}
    audio_sizes = {"conv_dim": 4, "hidden": 8, "layers": 1, "heads": 1, "feed_forward": 8}
    audio = Wav2Vec2Settings(**audio_sizes, position_kernel=8, position_groups=2)
    prior = ReferencePrior(ReferencePriorSettings(**sizes, **codes))
    talker = ReferenceTalker(
        ReferenceTalkerSettings(**sizes, latent=16, languages=("german", "japanese"), audio=audio)
    )
    save_prior(PriorFile(prior, head.key), tmp_path / "prior.pt")
    save_talker(TalkerFile(talker, weights_digest(prior), None), tmp_path / "talker.pt")
    return head, tmp_path / "prior.pt", tmp_path / "talker.pt"


def test_models_that_hold_their_audio_encoder_need_no_other(
    reference_models, talking_dataset, tmp_path, monkeypatch
):
    from multitalk.flows.evaluating.talker import _timed
    from multitalk.flows.modelling.settings import EvaluateTalkerSettings
    from multitalk.flows.modelling.trained_models import talk_to_files
    from multitalk.manifests.paths import audio_path
    from multitalk.training.talk import TalkSettings

    def gone(name):
        raise AssetError(f"{name} can not be downloaded")

    (head, prior, talker), out = reference_models, tmp_path / "said.npz"
    monkeypatch.setattr("multitalk.flows.modelling.trained_models.require", gone)
    sound = audio_path(talking_dataset, "german", "video00_0")
    monkeypatch.setattr("multitalk.flows.modelling.trained_models.load_head_model", lambda name: head)
    german = TalkSettings(languages={"german": 1})
    assert list(talk_to_files([sound], german, prior, talker, [out])) == [19]  # so many pairs of tokens
    files = {"prior": prior, "talker": talker}
    settings = EvaluateTalkerSettings(root=talking_dataset, release="v1", **files)
    ((_, said),) = _timed(settings, [("german", "video00_0")], head)
    assert len(said.vertices) == 19


def test_deployments_start_from_settings_that_are_valid():
    from multitalk.flows.evaluating.settings import EvaluateReleaseSettings
    from multitalk.flows.modelling.settings import TrainSettings

    content = yaml.safe_load((Path(__file__).parents[3] / "prefect.yaml").read_text("utf-8"))
    given = {
        deployment["name"]: deployment["parameters"]["settings"] for deployment in content["deployments"]
    }
    assert TrainSettings(**given["train-motion-prior"]) == TrainSettings(**given["train-talker"])
    assert EvaluateReleaseSettings(**given["evaluate"]).of_motion.baselines

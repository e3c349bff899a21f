"""Both evaluations of a release: what the report page gets, and what is missing."""

import json

import numpy as np
import pytest

from multitalk.flows.commands.main import main
from multitalk.manifests.media import MediaError
from multitalk.manifests.report.evaluations import read_evaluations


@pytest.fixture
def only_german(recognisers, tmp_path, monkeypatch):
    """A machine with a recogniser for German and for nothing else."""
    models = tmp_path / "models"
    models.mkdir()
    (models / "av_hubert_de").symlink_to(recognisers / "de_avsr")
    (recognisers / "de_avsr" / "dict.de.txt").write_bytes((recognisers / "hub" / "dict.de.txt").read_bytes())
    monkeypatch.setenv("MULTITALK_ASSETS", str(models))


def test_motion_and_lips_of_a_release_reach_the_report_page(release_of_talk, only_german, tmp_path, capsys):
    config = tmp_path / "settings.yaml"
    config.write_text("lip_reading: {snrs_db: [0], max_length: 3, bootstrap_draws: 100}\n")
    arguments = ["--root", str(release_of_talk), "--release", "v1", "--name", "first"]
    assert main(["evaluate", "all", *arguments, "--config", str(config), "--format", "json"]) == 0
    printed = {table["title"]: table for table in json.loads(capsys.readouterr().out)}
    (found,) = read_evaluations(release_of_talk)
    assert (found.name, found.complaint) == ("first", "")
    shown = {table.title: table for table in found.tables}
    motion = shown["Motion, all, mean over frames"]
    assert motion.columns[3:] == ("still", "mean", "shuffled")
    assert any(row[0] == "lve_squared" for row in motion.rows)
    # Vertices of the true motion are drawn; of the real video there is no file.
    lips = printed["Lip reading, german, protocol fair"]
    assert {(row["row"], row["clips"]) for row in lips["rows"]} == {("ground truth", 6), ("audio only", 6)}
    assert "6 annotated" in lips["note"] or "annotated transcripts" in lips["note"]
    assert {row["row"] for row in printed["Not read, german"]["rows"]} == {"video"}
    assert [row[0] for row in shown["No recogniser"].rows] == ["japanese"]
    assert "MuAViC has no recogniser for japanese" in str(shown["No recogniser"].rows[0][1])


def test_motion_is_measured_without_any_recogniser(release_of_talk, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MULTITALK_ASSETS", "")
    monkeypatch.setattr("multitalk.flows.evaluating.lip_reading.MUAVIC_LANGUAGES", {})
    assert main(["evaluate", "all", "--root", str(release_of_talk), "--release", "v1"]) == 0
    out = capsys.readouterr().out
    assert "lve_squared" in out
    assert "Lip reading: not done" in out


def test_one_clip_as_a_plot_and_as_a_video(release_of_talk, tmp_path, capsys):
    from multitalk.eval.ground_truth import ReleaseTruth
    from multitalk.eval.motion.baselines import write_baseline
    from multitalk.flows.modelling.head_models import load_head_model

    truth = ReleaseTruth(release_of_talk, "v1", load_head_model("canonical"))
    write_baseline("still", truth, tmp_path / "still")
    plot, video = tmp_path / "clip.png", tmp_path / "clip.mp4"
    arguments = ["--predictions", str(tmp_path / "still"), "--release", "v1", "--root", str(release_of_talk)]
    arguments += ["--metrics", "lve_squared", "--out", str(tmp_path / "tables")]
    views = ["--plot", "video00_0", str(plot), "--video", "video00_0", str(video)]
    assert main(["evaluate", "motion", *arguments, *views]) == 0
    assert plot.read_bytes().startswith(b"\x89PNG")
    from multitalk.manifests.media import read_frames

    frames = list(read_frames(video))
    assert len(frames) == 20
    assert frames[0].shape[1] == 2 * 512
    names = {path.name for path in (tmp_path / "tables").iterdir()}
    assert {"tables.md", "tables.tex", "tables.json", "figures.csv"} <= names
    capsys.readouterr()
    assert main(["evaluate", "motion", *arguments, "--plot", "other", str(plot)]) == 2
    assert "no such clip" in capsys.readouterr().err


def test_settings_come_from_a_file_under_those_of_the_command_line(release_of_talk, tmp_path, capsys):
    config = tmp_path / "settings.yaml"
    config.write_text(
        f"root: {release_of_talk}\nrelease: v1\nbaselines: true\nmeasures: {{metrics: [mve], bootstrap_draws: 100}}\n"
    )
    assert main(["evaluate", "motion", "--config", str(config), "--metrics", "lve_l2"]) == 0
    out = capsys.readouterr().out
    assert "lve_l2" in out
    assert "mve" not in out
    config.write_text("measures: 3\n")
    assert main(["evaluate", "motion", "--config", str(config), "--ground-truth", "x"]) == 2
    assert "measures" in capsys.readouterr().err


def test_what_was_measured_outlives_a_failure_of_lip_reading(release_of_talk, monkeypatch, capsys):
    def fail(*_):
        raise MediaError("a.wav: can not be opened")

    monkeypatch.setattr("multitalk.flows.evaluating.release.read_lips", fail)
    assert main(["evaluate", "all", "--root", str(release_of_talk), "--release", "v1"]) == 0
    (found,) = read_evaluations(release_of_talk)
    assert found.tables[-1].rows[0][0] == "a.wav: can not be opened"

    def die(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("multitalk.flows.evaluating.release.read_lips", die)
    arguments = ["--root", str(release_of_talk), "--release", "v1", "--name", "died"]
    assert main(["evaluate", "all", *arguments]) == 1
    assert "unforeseen RuntimeError: out of memory" in capsys.readouterr().err
    assert {found.name for found in read_evaluations(release_of_talk)} == {"died", "v1"}


def test_tables_come_before_a_plot_that_fails(release_of_talk, tmp_path, capsys):
    folder = tmp_path / "run=1"
    folder.mkdir()
    from multitalk.eval.ground_truth import ReleaseTruth
    from multitalk.flows.modelling.head_models import load_head_model

    clip = ReleaseTruth(release_of_talk, "v1", load_head_model("canonical")).load("video00_0")
    np.save(folder / "video00_0.npy", np.concatenate([clip.vertices, clip.vertices]))
    np.save(folder / "video01_0.npy", clip.vertices)
    arguments = ["--predictions", str(folder), "--release", "v1", "--root", str(release_of_talk)]
    arguments += ["--metrics", "lve_squared", "--plot", "video00_0", str(tmp_path / "clip.png")]
    assert main(["evaluate", "motion", *arguments]) == 2
    printed = capsys.readouterr()
    assert "run=1" in printed.out
    assert "video00_0: 40 frames" in printed.err
    assert main(["evaluate", "motion", "--predictions", "b=", "--release", "v1", "--root", "x"]) == 2
    assert "write NAME=DIR" in capsys.readouterr().err

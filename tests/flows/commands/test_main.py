"""The command line as its users meet it: help, exit statuses, mistakes told at once, and nothing heavy imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from multitalk.flows.commands.main import COMMANDS, main
from multitalk.manifests.store import commit_fragment

ALL = [command for commands in COMMANDS.values() for command in commands]
SEVERAL = {
    "evaluate": ["motion", "lip-reading", "talker", "all"],
    "assets": ["list", "fetch"],
    "head-model": ["embed"],
}
HEAVY = {"prefect", "torch", "pandas", "mediapipe", "scipy", "cv2", "numba", "duckdb"}


def run(capsys, *arguments):
    status = main([*map(str, arguments)])
    return status, *capsys.readouterr()


@pytest.fixture
def annotations(tmp_path):
    clip = {
        "youtube_id": "v", "duration": {"start_sec": 1, "end_sec": 2}, "language": "german",
        "bbox": {"top": 0, "bottom": 1, "left": 0, "right": 1},
    }  # fmt: skip
    path = tmp_path / "german.json"
    path.write_text(json.dumps({"v_0": clip}))
    return path


def test_help_lists_all_commands_in_the_order_of_the_work(capsys):
    status, out, err = run(capsys, "--help")
    assert status == 0 and not err
    titles = [
        "Build a dataset",
        "Look at it",
        "Release and hand on",
        "Train and talk",
        "Evaluate",
        "This machine",
    ]
    places = [out.index(title) for title in titles]
    assert places == sorted(places)
    listed = [line.split()[1] for line in out.splitlines() if line.startswith("│ ") and line[2] != " "]
    assert [name for name in listed if not name.startswith("-")] == [command.name for command in ALL]


@pytest.mark.parametrize("name", [c.name for c in ALL if c.name not in SEVERAL] + list(SEVERAL))
def test_every_command_explains_itself(capsys, name):
    status, out, err = run(capsys, *name.split(), "--help")
    assert status == 0 and not err
    assert f"Usage: multitalk {name}" in out
    for kind in SEVERAL.get(name, ()):
        assert kind in out
        status, inner, _ = run(capsys, name, kind, "--help")
        assert status == 0 and f"Usage: multitalk {name} {kind}" in inner


def test_descriptions_are_the_settings_own(capsys):
    from multitalk.flows.building.settings import BuildSettings

    _, out, _ = run(capsys, "build", "--help")
    flat = " ".join(out.replace("│", " ").split())
    for name in ("source_url", "limit", "workers", "keep_raw", "task_runner"):
        description = BuildSettings.model_fields[name].description.removesuffix(".")
        assert description.split(";")[0] in flat
    assert "--fit.smooth-face" not in out


def test_nothing_to_do_is_a_mistake_that_shows_the_help(capsys):
    for arguments in ([], ["evaluate"], ["assets"]):
        status, out, _ = run(capsys, *arguments)
        assert status == 2 and "Usage: multitalk" in out
    assert run(capsys, "--version")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["biuld"], 'Did you mean "build"'),
        (["evaluate", "motoin"], 'Did you mean "motion"'),
        (["build", "--rot", "x"], "Did you mean --root"),
        (["build", "--workers", "many"], '"many"'),
        (["build", "--workers", "0"], "workers: Input should be greater"),
        (["build", "--task-runner", "dsk"], 'Did you mean "dask"'),
        (["build", "--retry", "no_fase"], 'Did you mean "no_face"'),
        (["build", "nowhere.json"], "nowhere.json: no such annotation file"),
        (["build", "HERE", "--policy", "strikt"], "did you mean strict"),
        (["build", "HERE", "--head-model", "canonicl"], "did you mean canonical"),
        (["build", "HERE", "--language", "germann"], "did you mean german"),
        (["build", "HERE", "--root", "HERE/below"], "can not be made"),
        (["build", "HERE", "--source-url", "http://host/"], "needs {video_id}"),
        (["discover", "v.mp4"], "language is needed: --language"),
        (["filter", "--root", ".", "--policy", "strikt"], "did you mean strict"),
        (["query", "--root", ".", "x", "--format", "jsn"], 'Did you mean "json"'),
        (["assets", "fetch", "lr_sad"], "did you mean lr_asd"),
        (["train", "pior"], 'Did you mean "prior"'),
        (["train", "prior", "--root", "nowhere", "--out", "x"], "no dataset at nowhere"),
        (["train", "prior", "--root", "x", "--out", "x", "--preset", "tinny"], "did you mean tiny"),
        (["train"], "KIND is needed"),
        (["talk", "nowhere.wav"], "prior is needed: --prior"),
        (["preview", "v_0", "--root", "nowhere", "--out", "x.mp4"], "no dataset at nowhere"),
        (["evaluate", "motion", "--metrics"], "--metrics"),
        (["release", "--root", "x"], "--name is needed"),
        (["head-model", "embed", "flame_2002"], "did you mean flame_20"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)  # fmt: skip
def test_mistakes_are_told_with_the_nearest_right_name(
    arguments, said, annotations, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    given = [argument.replace("HERE", str(annotations)) for argument in arguments]
    status, out, err = run(capsys, *given)
    assert (status, out) == (2, "")
    assert err.startswith("multitalk: error: ") and said in err
    assert "Traceback" not in err


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_annotation_files_that_hold_no_clip(text, tmp_path, capsys):
    (tmp_path / "a.json").write_text(text)
    status, _, err = run(capsys, "build", tmp_path / "a.json", "--root", tmp_path / "data")
    assert status == 2 and "a.json" in err
    assert not (tmp_path / "data").exists()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no /proc here")
def test_a_root_that_can_not_be_made(annotations, capsys):
    status, _, err = run(capsys, "build", annotations, "--root", "/proc/dataset")
    assert status == 2 and len(err.splitlines()) == 1
    assert "/proc/dataset can not be made" in err


def test_mistakes_are_told_before_anything_heavy_is_imported(annotations, tmp_path):
    arguments = ["build", str(annotations), "--root", str(annotations / "below")]
    assert not loaded(*arguments) & HEAVY


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["build", "--help"],
        ["talk", "--help"],
        ["evaluate", "motion", "--help"],
        ["query", "--help"],
    ],
    ids=" ".join,
)
def test_help_imports_nothing_heavy(arguments):
    assert not loaded(*arguments) & HEAVY


def test_the_list_of_commands_needs_none_of_them():
    assert not loaded("--help") & {"pydantic", "numpy", "yaml", "pyarrow"}


def loaded(*arguments):
    """Top-level modules that a command imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "multitalk.flows.commands.main", *arguments],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode in (0, 2)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def test_what_nobody_has_thought_of_is_one_line_and_a_log(tmp_path, monkeypatch, capsys):
    def fails(*_, **__):
        raise KeyError("out of the blue")

    monkeypatch.setattr("multitalk.manifests.query.query", fails)
    commit_fragment(tmp_path, "german", "v", [{"clip_id": "v_0", "status": "ok"}], fingerprint="f")
    status, _, err = run(capsys, "query", "--root", tmp_path, "SELECT 1")
    assert status == 1 and len(err.splitlines()) == 1
    (log,) = (tmp_path / ".runs").glob("error-*.log")
    assert str(log) in err
    assert "out of the blue" in log.read_text() and "Traceback" in log.read_text()


def test_without_a_root_the_log_lies_in_the_users_cache(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MULTITALK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("multitalk.assets.fetch.statuses", lambda: 1 / 0)
    assert run(capsys, "assets", "list")[0] == 1
    (log,) = (tmp_path / "cache" / "logs").glob("error-*.log")
    assert "ZeroDivisionError" in log.read_text()


def test_ctrl_c_says_what_is_kept(tmp_path, monkeypatch, capsys):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("multitalk.flows.commands.build.run_build", stopped)
    monkeypatch.setattr("multitalk.flows.commands.build.check_annotations", lambda *_: None)
    status, _, err = run(capsys, "build", "--root", tmp_path / "data")
    assert status == 1
    assert err.strip() == (
        "multitalk: stopped; what was finished is kept, the same command goes on from there"
    )


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    rows = [{"clip_id": f"v_{number}", "status": "ok", "transcript": "x" * 500} for number in range(2000)]
    commit_fragment(tmp_path, "german", "v", rows, fingerprint="f")
    command = f"{sys.executable} -m multitalk.flows.commands.main query"
    command += f" --root {tmp_path} --format csv 'SELECT * FROM clips'"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{command} | head -1"],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_options(shell):
    from multitalk.flows.commands.main import application

    script = application().generate_completion(shell=shell)
    for word in ("build", "evaluate", "lip-reading", "task-runner"):
        assert word in script


def test_a_folder_that_was_only_tried_is_not_left(tmp_path):
    from multitalk.flows.commands.checks import check_root

    check_root(tmp_path / "new" / "dataset")
    assert not list(tmp_path.iterdir())
    check_root(tmp_path)
    assert tmp_path.is_dir()

"""Arguments, files and folders that are not as they should be: what is said, and what stays as it was."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from multitalk.flows.building.dataset_policy import apply_policy
from multitalk.flows.building.pending import pending_videos
from multitalk.flows.building.plan import annotated_videos, annotation_files
from multitalk.flows.building.settings import build_settings
from multitalk.flows.building.stages import stage_fingerprints
from multitalk.flows.commands import faults
from multitalk.flows.commands.main import main
from multitalk.flows.running import doctor
from multitalk.ground.settings import SettingsError, read_settings
from multitalk.manifests.paths import DatasetError
from multitalk.manifests.store import commit_fragment

CLIP = {
    "youtube_id": "v", "duration": {"start_sec": 1, "end_sec": 2}, "language": "german",
    "bbox": {"top": 0, "bottom": 1, "left": 0, "right": 1},
}  # fmt: skip


@pytest.fixture
def dataset(tmp_path):
    root = tmp_path / "dataset"
    row = {"clip_id": "v_0", "status": "ok", "duration_sec": 2.0}
    commit_fragment(root, "german", "v", [row], fingerprint="f")
    return root


@pytest.fixture
def annotations(tmp_path):
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps({"v_0": CLIP}))
    return str(path)


def test_the_demo_replaces_nothing_but_a_demo(tmp_path, capsys, monkeypatch):
    (tmp_path / "thesis.txt").write_text("years of work")
    for place in (tmp_path, Path("/")):
        assert main(["demo", "--root", str(place)]) == 2
        assert "holds what no demo made" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").exists()
    assert main(["demo", "--workers", "0"]) == 2


def test_filter_keeps_to_the_datasets_own_policy(dataset, capsys):
    apply_policy(dataset, "strict")
    kept = (dataset / "policy.yaml").read_text()
    assert main(["filter", "--root", str(dataset)]) == 0
    assert "strict" in capsys.readouterr().out
    assert (dataset / "policy.yaml").read_text() == kept


def test_a_damaged_manifest_is_not_built_anew(dataset, annotations):
    settings = build_settings(annotations=(annotations,), root=dataset)
    (part,) = (dataset / "manifest").rglob("*.parquet")
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(DatasetError, match="damaged"):
        pending_videos(annotated_videos(settings), stage_fingerprints(settings), settings)


def test_annotation_files_are_found_by_their_names(tmp_path, annotations):
    folder = tmp_path / "d [v2]"
    folder.mkdir()
    named = folder / "en.json"
    named.write_text(Path(annotations).read_text())
    assert annotation_files([str(named)]) == [named]
    assert annotation_files([str(tmp_path / "d*" / "*.json")]) == [named]


def test_languages_are_asked_for_in_any_case(annotations, tmp_path):
    settings = build_settings(annotations=(annotations,), root=tmp_path / "r", languages=("German",))
    assert len(annotated_videos(settings)) == 1


def test_annotations_without_a_clip(tmp_path):
    (tmp_path / "none.json").write_text("{}")
    with pytest.raises(SettingsError, match="no clip is annotated in"):
        annotated_videos(build_settings(annotations=(str(tmp_path / "none.json"),), root=tmp_path / "r"))


def test_retry_adds_to_what_may_have_been_transient(annotations, tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr(
        "multitalk.flows.commands.build.run_build",
        lambda settings, **_: asked.update(retry=settings.retry) or 0,
    )
    assert main(["build", annotations, "--root", str(tmp_path), "--retry", "video_unavailable"]) == 0
    assert {"video_unavailable", "rate_limited", "network"} <= set(asked["retry"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1: 2", "1 is no name"),
        ("on: true", "True is no name"),
        ("root: 2024-13-45", "not valid YAML"),
        ("[" * 3000, "not valid YAML"),
        ("\x07", "not valid YAML"),
    ],
)
def test_odd_yaml(tmp_path, text, said):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=said):
        read_settings(path)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_numbers_are_finite(value):
    with pytest.raises(SettingsError, match="video_timeout_sec"):
        build_settings(video_timeout_sec=value)
    with pytest.raises(SettingsError, match=r"download\.stall_timeout_sec"):
        build_settings(download={"stall_timeout_sec": value})


@pytest.mark.parametrize("command", [["filter"], ["report"]])
def test_a_root_that_is_a_file(command, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main([*command, "--root", str(tmp_path / "file")]) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_errors_of_the_system_name_the_file():
    error = IsADirectoryError(21, "Is a directory", "/tmp/.x.tmp", None, "/tmp/x")
    assert (faults.status_of(error), faults.message_of(error)) == (2, "/tmp/x: Is a directory")
    assert faults.status_of(OSError(28, "No space left on device", "/tmp/x")) == 1
    assert faults.status_of(FileNotFoundError(2, "No such file", "/tmp/x")) is None


def test_folders_of_the_users_are_not_taken_for_ours(tmp_path):
    for name in ("filters", "training", "eval", "flows"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('code of the user ran')")
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-m",
            "multitalk.flows.commands.main",
            "build",
            "none.json",
            "--root",
            "x",
            "--limit",
            "0",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "limit: Input should be greater than or equal to 1" in done.stderr


def test_an_argument_may_be_an_open_file(tmp_path):
    """As a shell gives one for `--config <(...)`."""
    (tmp_path / "config.yaml").write_text("limit: 0")
    with (tmp_path / "config.yaml").open() as config:
        done = subprocess.run(
            [sys.executable, "-m", "multitalk.flows.commands.main", "build", "--config", f"/dev/fd/{config.fileno()}"],
            pass_fds=[config.fileno()], capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert "limit: Input should be greater" in done.stderr


def test_doctor_reports_what_it_can_not_look_at(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    assert doctor._disk(tmp_path / "file").state == "missing"
    assert doctor._source("http://h:abc/{video_id}").state == "warning"
    assert doctor._source("http://[bad").state == "missing"
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "torch is not installed" in doctor._gpu().found

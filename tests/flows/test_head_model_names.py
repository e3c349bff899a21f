"""The head model that a dataset or a trained model names is a name, never a path."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from multitalk.assets.errors import AssetError
from multitalk.fit_flame.parameters.motion import MotionError
from multitalk.flows.modelling.head_models import head_model_names
from multitalk.flows.modelling.stored_heads import head_models_here, model_of
from multitalk.manifests.store import commit_fragment


class Pointers:
    def __reduce__(self):
        return np.ndarray, ((1,), np.dtype("O"), b"A" * 8)


def dataset(root, key):
    row = {
        "clip_id": "aaaaaaaaaaa_0",
        "status": "ok",
        "frame_count": 10,
        "duration_sec": 0.4,
        "head_model": key,
    }
    motion = {
        "clip_id": "aaaaaaaaaaa_0",
        "head_model": key,
        "fps": 25.0,
        "shape": np.zeros(10, np.float32),
        **{
            name: np.zeros((10, size), np.float32)
            for name, size in (("expression", 5), ("jaw", 3), ("eyes", 6))
        },
        **{name: np.zeros((10, 3), np.float32) for name in ("rotation", "translation")},
        "camera": np.array([900, 256, 256], np.float32),
        "valid": np.ones(10, bool),
        "residual": np.zeros(10, np.float32),
    }
    commit_fragment(root, "english", "aaaaaaaaaaa", [row], motion_rows=[motion], fingerprint="f")


@pytest.fixture
def traps(tmp_path, monkeypatch):
    """A folder to work in, with files that nothing may open."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "evil.pkl").write_bytes(pickle.dumps({"v_template": Pointers()}))
    os.mkfifo(tmp_path / "flame")
    os.mkfifo(tmp_path / "flame_2023_open")
    return tmp_path


KEYS = [
    "x/evil.pkl:y",
    "x/evil.pkl:00",
    "/dev/zero:x",
    "flame:00",
    "../x:00",
    "evil.pkl",
    "a\x1b[2J:00",
    ":",
    "whisper_base:00",
]


@pytest.mark.parametrize("key", KEYS, ids=ascii)
def test_a_datasets_name_is_no_path(traps, key):
    with pytest.raises(MotionError, match=r"names no head model|only you can name"):
        model_of(key)
    models, notes = head_models_here([key, None])
    assert not models
    assert len(notes) == 1


def test_an_assets_name_is_not_a_file_that_lies_here(traps):
    with pytest.raises(AssetError, match="flame_2023_open"):
        model_of("flame_2023_open:00")


def test_canonical_and_the_releases_of_flame_are_names():
    assert {"canonical", "flame_2020", "flame_2023_open"} <= set(head_model_names())
    assert "face_landmarker" not in head_model_names()
    key = model_of_canonical()
    assert model_of(key).key == key
    with pytest.raises(MotionError, match="which is not canonical"):
        model_of("canonical:0123")


def model_of_canonical():
    from multitalk.flows.modelling.head_models import load_head_model

    return load_head_model("canonical").key


@pytest.mark.parametrize("key", ["x/evil.pkl:y", "/dev/zero:x"])
def test_a_report_on_a_strangers_dataset_opens_none_of_its_files(traps, key):
    dataset(traps / "root", key)
    command = [
        sys.executable,
        "-m",
        "multitalk.flows.commands.main",
        "report",
        "--root",
        "root",
        "--out",
        "r.html",
    ]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100, env=environment)
    assert done.returncode == 0, done.stderr
    assert "names no head model" in done.stderr
    assert (traps / "r.html").stat().st_size > 1000

"""The embedding that needs no licensed file, from the command to the fit."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from multitalk.fit_flame.parity import golden_flame
from multitalk.flows.commands.main import main
from multitalk.flows.modelling import landmark_embedding
from multitalk.flows.modelling.head_models import load_head_model


@pytest.fixture(scope="module")
def flame_file(tmp_path_factory) -> Path:
    shared = Path(__file__).parents[3].parent / "shared" / "flame"
    if not shared.exists():
        pytest.skip("needs FLAME's mean face and landmarks: ../shared/flame")
    flame = golden_flame(shared)
    path = tmp_path_factory.mktemp("flame") / "flame2023_Open.pkl"
    content = {
        "v_template": flame.v_template,
        "f": flame.faces.astype(np.uint32),
        "shapedirs": flame.shapedirs,
        "posedirs": flame.posedirs,
        "J_regressor": scipy.sparse.csc_matrix(flame.joint_regressor),
        "weights": flame.weights,
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
    }
    path.write_bytes(pickle.dumps(content, 2))
    return path


@pytest.fixture
def nothing_licensed(monkeypatch, tmp_path):
    """No embedding of FLAME's is found; the cache is empty."""
    monkeypatch.setattr(landmark_embedding, "find", lambda name: None)
    monkeypatch.setattr(landmark_embedding, "cache_directory", lambda: tmp_path / "cache")


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_licensed")
def test_a_flame_file_alone_can_be_fitted(flame_file, tmp_path, capsys):
    automatic = load_head_model(str(flame_file))
    assert [p.suffix for p in (tmp_path / "cache" / "head_models").iterdir() if "468" in p.name] == [".npz"]

    picture = tmp_path / "look.png"
    assert main(["head-model", "embed", str(flame_file), "--picture", str(picture)]) == 0
    printed = capsys.readouterr().out
    beside = flame_file.with_name("flame2023_Open.mediapipe_468.npz")
    assert printed.startswith(f"{beside}\n")
    assert "bent mesh to the surface, most, mm" in printed
    assert picture.stat().st_size > 100_000

    chosen = load_head_model(str(flame_file))
    np.testing.assert_array_equal(chosen.embedding.landmarks, np.arange(468))
    np.testing.assert_array_equal(chosen.embedding.barycentric, automatic.embedding.barycentric)
    assert chosen.key == automatic.key


def test_the_outputs_suffix_is_checked_first(capsys):
    assert main(["head-model", "embed", "nowhere.pkl", "--out", "x.txt"]) == 2
    assert "must end in .npz" in capsys.readouterr().err

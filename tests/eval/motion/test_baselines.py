import numpy as np
import pytest

from multitalk.eval.ground_truth import FolderTruth
from multitalk.eval.motion.baselines import BASELINES, write_baseline
from multitalk.eval.vertex_files import VertexFileError, find_vertex_files, read_vertices

TEMPLATE = np.zeros((4, 3), np.float32)


def clip(seed: int, frames: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, 4, 3)).astype(np.float32)


@pytest.fixture
def truth(tmp_path):
    clips = {"german/a": clip(0, 5), "german/b": clip(1, 3), "greek/c": clip(2, 4)}
    for name, vertices in clips.items():
        path = tmp_path / "truth" / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, vertices)
    return FolderTruth(tmp_path / "truth", TEMPLATE)


def predictions(name, truth, folder):
    assert write_baseline(name, truth, folder) == 3
    return {clip: read_vertices(file.paths[0]) for clip, file in find_vertex_files(folder).items()}


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_are_as_long_as_the_clips(truth, tmp_path, name):
    made = predictions(name, truth, tmp_path / name)
    assert {clip: len(vertices) for clip, vertices in made.items()} == {"a": 5, "b": 3, "c": 4}
    assert find_vertex_files(tmp_path / name)["c"].language == "greek"


def test_still_and_mean_faces(truth, tmp_path):
    assert not predictions("still", truth, tmp_path / "still")["a"].any()
    expected = np.concatenate([clip(0, 5), clip(1, 3), clip(2, 4)]).mean(axis=0)
    mean = predictions("mean", truth, tmp_path / "mean")
    np.testing.assert_allclose(mean["a"][3], expected, atol=1e-6)


def test_a_mean_face_may_come_from_training_clips(truth, tmp_path):
    seen = tmp_path / "seen"
    seen.mkdir()
    np.save(seen / "d.npy", clip(3, 6))
    assert write_baseline("mean", truth, tmp_path / "mean", FolderTruth(seen, TEMPLATE)) == 3
    made = read_vertices(tmp_path / "mean/german/a.npy")
    np.testing.assert_allclose(made, np.repeat(clip(3, 6).mean(axis=0)[None], 5, axis=0), atol=1e-6)


def test_shuffled_motion_is_another_clips_of_the_language(truth, tmp_path):
    made = predictions("shuffled", truth, tmp_path / "shuffled")
    np.testing.assert_array_equal(made["b"], clip(0, 5)[:3])
    np.testing.assert_array_equal(made["a"], clip(1, 3)[[0, 1, 2, 1, 0]])
    np.testing.assert_array_equal(made["c"], clip(0, 5)[:4])


def test_what_a_baseline_needs(tmp_path):
    np.save(tmp_path / "a.npy", clip(0, 3))
    with pytest.raises(VertexFileError, match="template"):
        write_baseline("still", FolderTruth(tmp_path), tmp_path / "out")
    with pytest.raises(VertexFileError, match="two clips"):
        write_baseline("shuffled", FolderTruth(tmp_path), tmp_path / "out")

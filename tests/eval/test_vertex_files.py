import pickle

import numpy as np
import pytest

from multitalk.eval.ground_truth import FolderTruth, read_template
from multitalk.eval.vertex_files import VertexFileError, find_vertex_files, read_vertices, sources_of

CLIP = np.arange(4 * 5 * 3, dtype=np.float32).reshape(4, 5, 3)


@pytest.mark.parametrize("shape", [(4, 5, 3), (4, 15), (1, 4, 15), (1, 4, 5, 3)])
def test_every_layout_in_use_is_read(tmp_path, shape):
    np.save(tmp_path / "a.npy", CLIP.reshape(shape).astype(np.float64))
    vertices = read_vertices(tmp_path / "a.npy")
    np.testing.assert_array_equal(vertices, CLIP)
    assert vertices.dtype == np.float32


def test_one_frame_stays_one_frame(tmp_path):
    np.save(tmp_path / "a.npy", CLIP[:1])
    assert read_vertices(tmp_path / "a.npy").shape == (1, 5, 3)
    np.save(tmp_path / "b.npy", CLIP[:1].reshape(1, 15))
    assert read_vertices(tmp_path / "b.npy").shape == (1, 5, 3)


@pytest.mark.parametrize("name", ["verts", "vertices", "prediction", "anything"])
def test_npz_files_by_array_name(tmp_path, name):
    np.savez(tmp_path / "a.npz", **{name: CLIP})
    np.testing.assert_array_equal(read_vertices(tmp_path / "a.npz"), CLIP)


def test_millimetres(tmp_path):
    np.save(tmp_path / "a.npy", CLIP * 1000)
    np.testing.assert_allclose(read_vertices(tmp_path / "a.npy", 0.001), CLIP, rtol=1e-6)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 16)),
        np.zeros((0, 15)),
        np.zeros(15),
        np.zeros((4, 5, 3), int),
        np.full((4, 15), np.nan),
        np.array("x"),
    ],
)
def test_what_is_no_sequence_is_refused(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(VertexFileError, match=r"a\.npy"):
        read_vertices(tmp_path / "a.npy")


def test_files_are_never_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"x": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(VertexFileError, match="can not be read"):
        read_vertices(tmp_path / "a.npy")
    (tmp_path / "b.npz").write_bytes(pickle.dumps(CLIP))
    with pytest.raises(VertexFileError, match="can not be read"):
        read_vertices(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", x=CLIP, y=CLIP)
    with pytest.raises(VertexFileError, match="verts"):
        read_vertices(tmp_path / "c.npz")


def save(folder, *names):
    for name in names:
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, CLIP)


def test_clips_languages_and_samples_are_told_by_name(tmp_path):
    save(tmp_path, "Italian_abc_0", "xyz", "german/de1", "language=greek/el1", "q__sample0", "q__sample1")
    save(tmp_path, "vid_condition_FaceTalk_1")
    found = find_vertex_files(tmp_path)
    assert {name: file.language for name, file in found.items()} == {
        "Italian_abc_0": "italian",
        "xyz": "",
        "de1": "german",
        "el1": "greek",
        "q": "",
        "vid": "",
    }
    assert [path.stem for path in found["q"].paths] == ["q__sample0", "q__sample1"]


def test_a_clip_must_be_one_file(tmp_path):
    save(tmp_path, "german/a", "greek/a")
    with pytest.raises(VertexFileError, match="same clip"):
        find_vertex_files(tmp_path)
    with pytest.raises(VertexFileError, match="no such folder"):
        find_vertex_files(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(VertexFileError, match=r"no \.npy"):
        find_vertex_files(tmp_path / "empty")


def test_a_folder_is_a_ground_truth(tmp_path):
    save(tmp_path, "german/a", "german/b")
    (tmp_path / "wav").mkdir()
    (tmp_path / "wav" / "a.wav").touch()
    truth = FolderTruth(tmp_path, sounds=tmp_path / "wav")
    assert truth.clip_ids == ["a", "b"]
    assert truth.load("a").sound == tmp_path / "wav" / "a.wav"
    assert truth.load("b").sound is None
    assert truth.load("b").language == "german"


def test_templates_are_arrays_or_multitalks_pickle(tmp_path):
    np.save(tmp_path / "t.npy", CLIP[0])
    np.testing.assert_array_equal(read_template(tmp_path / "t.npy"), CLIP[0])
    (tmp_path / "templates.pkl").write_bytes(pickle.dumps({"id": CLIP[1]}))
    np.testing.assert_array_equal(read_template(tmp_path / "templates.pkl"), CLIP[1])
    (tmp_path / "templates.pkl").write_bytes(pickle.dumps({}))
    with pytest.raises(VertexFileError, match="template"):
        read_template(tmp_path / "templates.pkl")


@pytest.mark.parametrize("cut", [5, 60, 90, -40])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_damaged_file_is_named(tmp_path, suffix, cut):
    path = tmp_path / f"clip{suffix}"
    (np.save if suffix == ".npy" else np.savez_compressed)(path, np.zeros((4, 5, 3), np.float32))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(VertexFileError, match=f"clip{suffix}"):
        read_vertices(path)


def test_a_flipped_byte_is_named(tmp_path):
    path = tmp_path / "clip.npz"
    np.savez_compressed(path, np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(VertexFileError, match="can not be read"):
        read_vertices(path)


def test_the_language_of_multitalks_data_is_in_the_names(tmp_path):
    save(tmp_path / "npy", "Italian_x_0", "French_y_0")
    save(tmp_path / "greek", "Italian_z")
    languages = {clip: file.language for clip, file in find_vertex_files(tmp_path).items()}
    assert languages == {"Italian_x_0": "italian", "French_y_0": "french", "Italian_z": "greek"}


def test_sources_are_told_by_name_where_all_names_tell():
    assert sources_of(["a_0", "a_1", "b_x_0"]) == {"a_0": "a", "a_1": "a", "b_x_0": "b_x"}
    assert sources_of(["clip_001", "clip_002"]) == {"clip_001": "clip_001", "clip_002": "clip_002"}
    assert sources_of(["a_0", "a_1", "b"]) == {"a_0": "a_0", "a_1": "a_1", "b": "b"}

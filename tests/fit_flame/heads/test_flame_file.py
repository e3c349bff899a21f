"""Files as the publishers wrote them: chumpy objects, scipy's matrices under old and new paths, and traps."""

import os
import pickle
import sys
import types

import numpy as np
import pytest
import scipy.sparse

from multitalk.fit_flame.heads.flame_file import flame_head_model, read_flame, write_npz
from multitalk.fit_flame.heads.head_model import HeadModelError, LandmarkEmbedding
from multitalk.ground.untrusted.stored_arrays import dense_matrix

NOWHERE = LandmarkEmbedding(np.zeros(0, np.int64), np.zeros((0, 3), np.int64), np.zeros((0, 3), np.float32))


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    weights = rng.random((5023, 5))
    regressor = scipy.sparse.random(5, 5023, density=0.01, random_state=1, format="csc")
    return {
        "v_template": rng.normal(0, 0.1, (5023, 3)),
        "f": rng.integers(0, 5023, (9976, 3)).astype(np.uint32),
        "shapedirs": rng.normal(0, 1e-3, (5023, 3, 400)).astype(np.float16),
        "posedirs": rng.normal(0, 1e-3, (5023, 3, 36)),
        "J_regressor": regressor,
        "weights": weights / weights.sum(axis=1, keepdims=True),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


@pytest.fixture
def chumpy(monkeypatch):
    """Stands for the real package while a file is written; it is gone when the file is read."""

    class Ch:
        def __init__(self, x):
            self.x = x

        def __getstate__(self):
            return {"x": self.x, "_dirty_vars": set(), "_itr": None}

    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    package, module = types.ModuleType("chumpy"), types.ModuleType("chumpy.ch")
    module.Ch = package.ch = Ch
    monkeypatch.setitem(sys.modules, "chumpy", package)
    monkeypatch.setitem(sys.modules, "chumpy.ch", module)
    return Ch


def _write(path, content, protocol=2, scipy_path=None):
    data = pickle.dumps(content, protocol)
    if scipy_path is not None:
        new = scipy.sparse.csc_matrix.__module__.encode()
        assert new in data
        data = data.replace(b"c" + new + b"\n", b"c" + scipy_path + b"\n")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("scipy_path", [None, b"scipy.sparse.csc"], ids=["new scipy", "old scipy"])
def test_plain_file_as_2023_open(tmp_path, arrays, scipy_path):
    flame = read_flame(_write(tmp_path / "flame2023_Open.pkl", arrays, scipy_path=scipy_path))
    np.testing.assert_array_equal(flame.shapedirs, arrays["shapedirs"])
    np.testing.assert_allclose(flame.joint_regressor, arrays["J_regressor"].toarray())


def test_row_compressed_regressor(tmp_path, arrays):
    flame = read_flame(_write(tmp_path / "f.pkl", arrays | {"J_regressor": arrays["J_regressor"].tocsr()}))
    np.testing.assert_allclose(flame.joint_regressor, arrays["J_regressor"].toarray())


@pytest.mark.parametrize("protocol", [2, 4])
def test_chumpy_files_as_2017_to_2023(tmp_path, arrays, chumpy, monkeypatch, protocol):
    wrapped = {k: chumpy(arrays[k]) for k in ("v_template", "shapedirs", "posedirs", "weights")}
    path = _write(tmp_path / "generic_model.pkl", arrays | wrapped, protocol)
    monkeypatch.delitem(sys.modules, "chumpy.ch")
    monkeypatch.delitem(sys.modules, "chumpy")
    flame = read_flame(path)
    np.testing.assert_array_equal(flame.v_template, arrays["v_template"])
    np.testing.assert_array_equal(flame.shapedirs, arrays["shapedirs"])


class _Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "trap",
    [
        _Runs(os.system, "touch {}"),
        _Runs(eval, "open('{}', 'w')"),
        _Runs(__import__, "antigravity"),
        _Runs(getattr, np, "load"),
    ],
    ids=["system", "eval", "import", "getattr"],
)
def test_hostile_pickles_are_refused_and_run_nothing(tmp_path, arrays, trap):
    witness = tmp_path / "witness"
    function, arguments = trap.call
    trap.call = function, tuple(a.format(witness) if isinstance(a, str) else a.__name__ for a in arguments)
    path = _write(tmp_path / "generic_model.pkl", arrays | {"bs_type": trap})
    with pytest.raises(HeadModelError, match="refused"):
        read_flame(path)
    assert not witness.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"v_template": None}, "v_template"),
        ({"shapedirs": np.zeros((5023, 3, 150))}, "shapedirs"),
        ({"weights": np.zeros((5023, 5))}, "sum to 1"),
        ({"posedirs": np.full((5023, 3, 36), np.nan)}, "not finite"),
        ({"kintree_table": np.zeros((2, 5), np.uint32)}, "joints"),
        ({"kintree_table": np.array(0)}, "no table of joints"),
        ({"f": np.full((9976, 3), 5023)}, "triangles"),
        ({"v_template": [2**70] * 3}, "too large"),
    ],
)
def test_wrong_content_is_named(tmp_path, arrays, change, message):
    with pytest.raises(HeadModelError, match=message):
        read_flame(_write(tmp_path / "generic_model.pkl", arrays | change))


def test_a_missing_key_and_other_files_are_named(tmp_path, arrays):
    with pytest.raises(HeadModelError, match="lacks 'posedirs'"):
        read_flame(_write(tmp_path / "a.pkl", {k: v for k, v in arrays.items() if k != "posedirs"}))
    with pytest.raises(HeadModelError, match="list"):
        read_flame(_write(tmp_path / "b.pkl", [1, 2]))
    (tmp_path / "c.pkl").write_bytes(b"<html>sign in</html>")
    with pytest.raises(HeadModelError, match="refused"):
        read_flame(tmp_path / "c.pkl")
    with pytest.raises(HeadModelError, match="cannot read"):
        read_flame(tmp_path / "none.pkl")


def test_converted_once(tmp_path, arrays):
    path, cache = _write(tmp_path / "f.pkl", arrays), tmp_path / "cache"
    first = read_flame(path, cache)
    [kept] = cache.iterdir()
    assert first.sha256 in kept.name
    second = read_flame(path, cache)
    np.testing.assert_array_equal(first.posedirs, second.posedirs)
    kept.write_bytes(b"damaged")
    np.testing.assert_array_equal(read_flame(path, cache).posedirs, first.posedirs)
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("damage", ["empty", "lacks arrays"])
def test_a_damaged_copy_is_made_again(tmp_path, arrays, damage):
    path, cache = _write(tmp_path / "f.pkl", arrays), tmp_path / "cache"
    first = read_flame(path, cache)
    [kept] = cache.iterdir()
    whole = kept.read_bytes()
    if damage == "empty":
        kept.write_bytes(b"")
    else:
        np.savez(kept, f=first.faces)
    np.testing.assert_array_equal(read_flame(path, cache).posedirs, first.posedirs)
    assert kept.read_bytes() == whole


def test_an_array_file_bears_its_name_only_once_its_content_is_on_disk(tmp_path, monkeypatch):
    target, lengths = tmp_path / "a.npz", []

    def synced(descriptor):
        assert not target.exists()
        lengths.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fsync", synced)
    write_npz(target, {"a": np.arange(1000)})
    assert lengths == [target.stat().st_size]
    np.testing.assert_array_equal(np.load(target)["a"], np.arange(1000))


@pytest.mark.parametrize(
    "change",
    [
        {"indices": np.arange(3)},
        {"indices": np.array([1])},
        {"indices": np.array([0.0, 1.0, 2.0, 3.0])},
        {"data": np.ones(5)},
        {"data": np.array([{}] * 4)},
        {"starts": np.array([2, 4, 6])},
        {"starts": np.array([0, 5, 4])},
        {"starts": np.array([0, 4])},
    ],
)
def test_sparse_matrices_that_do_not_fit_are_refused(change):
    state = {"data": np.ones(4), "indices": np.arange(4), "starts": np.array([0, 2, 4])}
    assert dense_matrix((5, 2), **state, by_column=True).sum() == 4
    with pytest.raises(ValueError, match="sparse matrix"):
        dense_matrix((5, 2), **(state | change), by_column=True)


def test_releases_differ_in_key(tmp_path, arrays):
    a = flame_head_model(read_flame(_write(tmp_path / "a.pkl", arrays)), NOWHERE, "flame_2020")
    other = arrays | {"v_template": arrays["v_template"] + 0.001}
    b = flame_head_model(read_flame(_write(tmp_path / "b.pkl", other)), NOWHERE, "flame_2023_open")
    assert a.key != b.key
    assert a.shapedirs.shape[2] == 100
    assert a.expressiondirs.shape[2] == 50
    np.testing.assert_array_equal(a.expressiondirs, arrays["shapedirs"][:, :, 300:350])

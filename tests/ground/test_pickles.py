"""Pickles from strangers: what they are made to do elsewhere is refused here, and honest arrays are read."""

import collections
import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch

from multitalk.ground.untrusted.array_files import read_npy, read_npz
from multitalk.ground.untrusted.checkpoint_file import CheckpointError, read_checkpoint, read_content
from multitalk.ground.untrusted.files import UntrustedFileError, open_untrusted
from multitalk.ground.untrusted.pickle_builder import MOST_BYTES
from multitalk.ground.untrusted.pickle_records import MOST_STEPS
from multitalk.ground.untrusted.pickles import load_array_pickle, load_arrays, load_pickle

SHARED = Path(__file__).resolve().parents[3] / "shared"


class Calls:
    """Pickles as a call of a function, with a state if one is given."""

    def __init__(self, function, *arguments, state=None):
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


RECONSTRUCT = np.empty(0).__reduce__()[0]


def forged(dtype, shape, data):
    """Pickle an array whose state says what its maker likes."""
    return Calls(RECONSTRUCT, np.ndarray, (0,), b"b", state=(1, shape, dtype, False, data))


def written(tmp_path, content, protocol=2):
    path = tmp_path / "evil.pkl"
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f8", "<i8", ">u4", "i1", "bool"])
def test_arrays_come_out_as_they_went_in(tmp_path, dtype, protocol):
    array = np.arange(24).reshape(4, 6).astype(dtype)
    content = {
        "c": array,
        "f": np.asfortranarray(array),
        "empty": array[:0],
        "number": array[1, 1],
        "t": (1, [2.5]),
    }
    found = load_pickle(written(tmp_path, content, protocol))
    for key in ("c", "f", "empty"):
        np.testing.assert_array_equal(found[key], content[key])
        assert found[key].dtype == array.dtype
    assert found["number"] == array[1, 1]
    assert found["t"] == (1, [2.5])


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("kind", ["csc", "csr"])
def test_sparse_matrices_are_expanded(tmp_path, kind, protocol):
    matrix = scipy.sparse.random(5, 40, density=0.1, random_state=1, format=kind)
    np.testing.assert_array_equal(
        load_pickle(written(tmp_path, {"J": matrix}, protocol))["J"], matrix.toarray()
    )


POINTERS = [
    pytest.param(Calls(np.ndarray, (1,), np.dtype("O"), b"A" * 8), id="pointers"),
    pytest.param(Calls(np.ndarray, (2**40,), np.dtype("f8")), id="a huge array"),
    pytest.param(forged(np.dtype("O"), (1,), [Calls(os.getpid)]), id="objects that call"),
    pytest.param(forged(np.dtype("O"), (1,), [1]), id="objects"),
    pytest.param(forged(np.dtype([("a", "O")]), (1,), b"A" * 8), id="a compound of pointers"),
    pytest.param(forged(np.dtype(("f8", (2**20,))), (1,), b"A" * 8), id="a sub-array"),
    pytest.param(forged(np.dtype("f8"), (2**40,), b"A" * 8), id="a shape beyond its bytes"),
    pytest.param(forged(np.dtype("f8"), (-1,), b"A" * 8), id="a negative shape"),
    pytest.param(forged(np.dtype("f8"), (2**62, 8), b""), id="a shape that overflows"),
    pytest.param(forged(np.dtype("bool"), (1,), b"\x07"), id="no truth value"),
    pytest.param(Calls(np.dtype, "O8", False, True), id="a kind alone"),
]


@pytest.mark.parametrize("trap", POINTERS)
def test_arrays_that_are_none_are_refused(tmp_path, trap):
    if isinstance(trap, Calls) and trap.call[0] is np.dtype:
        trap = Calls(np.ndarray, (1,), trap, b"A" * 8)
    with pytest.raises(UntrustedFileError, match=r"evil\.pkl was refused"):
        load_arrays(written(tmp_path, {"v_template": trap}))


def memo_at(index):
    return b"\x80\x02]r" + struct.pack("<I", index) + b"."


def nested(count, key=False):
    deep = b"\x80\x02" + b")" + b"\x85" * count
    return b"\x80\x02}" + deep[2:] + b"Ns." if key else deep + b"."


def doubled(times):
    """Lists of twice the same list: 2 ** times values in a few bytes."""
    return b"\x80\x02]N" + b"a" + b"".join(b"q\x00]h\x00ah\x00a" for _ in range(times)) + b"."


def doubled_key(times):
    return b"\x80\x02})" + b"".join(b"q\x00h\x00\x86" for _ in range(times)) + b"Ns."


BOMBS = {
    "a memo index of 4 milliards": (memo_at(2**32 - 1), None),
    "a deep tuple": (nested(2_000_000), "in one another"),
    "a deep tuple as a key": (nested(2_000_000, key=True), "for a key"),
    "doubled lists": (doubled(60), "more than"),
    "a doubled key": (doubled_key(60), "for a key"),
    "a list that holds itself": (b"\x80\x02]q\x00h\x00a.", None),
    "steps": (b"\x80\x02" + b"N0" * (MOST_STEPS // 2) + b"N.", "steps"),
    "a huge number": (b"\x80\x02\x8b" + struct.pack("<i", 2**20) + b"\x01" * 2**20 + b".", "whole number"),
    "a huge number in digits": (b"L" + b"9" * 10**6 + b"L\n.", "whole number"),
    "bytes that are not there": (b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b".", "ends before"),
    "a frame that is not there": (b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"N.", None),
    "the registry of extensions": (b"\x80\x02\x82\x01.", "no place here"),
    "buffers outside": (b"\x80\x05\x97.", "no place here"),
    "something outside": (b"\x80\x02U\x010Q.", "outside"),
    "a call of a call": (b"\x80\x02cbuiltins\nset\n)R)R.", "no name of a class"),
    "a state of a list": (b"\x80\x02]}b.", "sets the state"),
    "a state of a class": (b"\x80\x02cnumpy\nndarray\n}U\x01aNsb.", "sets the state"),
    "an empty stack": (b"\x80\x020.", "damaged"),
    "no end": (b"\x80\x02N", "ends before"),
    "protocol 9": (b"\x80\x09N.", "protocol"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_in_little_time_and_memory(tmp_path, name):
    """In a process of its own, as most of them kill the one that opens them with Python's unpickler."""
    data, message = BOMBS[name]
    path = written(tmp_path, data)
    code = (
        "import resource, sys; from pathlib import Path; from multitalk.ground.untrusted.pickles import load_pickle\n"
        "resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (30, 30))\n"
        "try: print('read', type(load_pickle(Path(sys.argv[1]))).__name__)\n"
        "except ValueError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (message or "read") in done.stdout


def test_a_small_file_can_not_take_all_memory(tmp_path):
    side = int(MOST_BYTES**0.5)
    matrix = scipy.sparse.csc_matrix((side, 8))
    matrix._shape = (side, side)
    with pytest.raises(UntrustedFileError, match="take more than"):
        load_pickle(written(tmp_path, {"J": matrix}))


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**40)
    for path, message in [
        (tmp_path, "is a folder"),
        (Path("/dev/zero"), "is a device"),
        (tmp_path / "pipe", "is a pipe"),
        (tmp_path / "sparse", "was refused: it has 1,099,511,627,776 bytes"),
        (tmp_path / "none", "cannot read"),
    ]:
        for read in (load_pickle, load_array_pickle):
            with pytest.raises(UntrustedFileError, match=message):
                read(path)
        with pytest.raises(CheckpointError, match=message):
            read_content(path)
    with pytest.raises(UntrustedFileError), open_untrusted(Path("/dev/zero"), 10):
        pass


def saved(tmp_path, content, **options):
    path = tmp_path / "x.pt"
    torch.save(content, path, **options)
    return path


TENSORS = {
    "float": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "turned": torch.arange(6, dtype=torch.float64).reshape(2, 3).T,
    "part": torch.arange(20)[3:9:2],
    "half": torch.ones(3, dtype=torch.float16),
    "bfloat": torch.tensor([1.5, -2, 0], dtype=torch.bfloat16),
    "truth": torch.tensor([True, False]),
    "none": torch.zeros(0, 3),
    "one": torch.tensor(7, dtype=torch.int16),
    "parameter": torch.nn.Parameter(torch.ones(2, 2)),
}


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before torch 1.6"])
def test_tensors_come_out_as_they_went_in(tmp_path, new):
    content = {
        "state_dict": collections.OrderedDict(TENSORS),
        "best": np.float64(0.5),
        "epoch": 3,
        0: [None, (1,)],
    }
    found = read_content(saved(tmp_path, content, _use_new_zipfile_serialization=new))
    assert list(found["state_dict"]) == list(TENSORS)
    for name, tensor in TENSORS.items():
        assert found["state_dict"][name].dtype == tensor.dtype
        torch.testing.assert_close(found["state_dict"][name], tensor.detach())
    assert (found["best"], found["epoch"], found[0]) == (0.5, 3, [None, (1,)])


def test_a_modules_state_is_read(tmp_path):
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    network.load_state_dict(read_content(saved(tmp_path, network.state_dict())))


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize(
    "reach",
    [
        (0, (1000,), (1,)),
        (10**9, (1,), (1,)),
        (0, (2, 2), (1, 10**9)),
        (0, (10**9,), (0,)),
        (0, (-1,), (1,)),
        (-1, (1,), (1,)),
    ],
    ids=str,
)
def test_a_tensor_can_not_leave_its_storage(tmp_path, reach, new):
    class Reaching(torch.Tensor):
        def __reduce_ex__(self, _):
            offset, size, stride = reach
            storage = torch.storage.TypedStorage(
                wrap_storage=torch.zeros(4).untyped_storage(), dtype=torch.float32, _internal=True
            )
            return torch._utils._rebuild_tensor_v2, (storage, offset, size, stride, False, {})

    path = saved(tmp_path, {"model": Reaching(torch.zeros(4))}, _use_new_zipfile_serialization=new)
    with pytest.raises(CheckpointError, match=r"x\.pt: not a readable checkpoint \(PickleRefusedError: a "):
        read_content(path)


def test_a_checkpoint_of_objects_is_refused_by_name(tmp_path):
    path = saved(tmp_path, {"state_dict": {}, "hook": Calls(os.system, "true")})
    for read in (read_content, read_checkpoint):
        with pytest.raises(CheckpointError, match=r"x\.pt: refused: the file asks for posix\.system"):
            read(path)


def test_pointers_in_a_checkpoint_are_refused(tmp_path):
    path = saved(tmp_path, {"model": Calls(np.ndarray, (1,), np.dtype("O"), b"A" * 8)})
    with pytest.raises(CheckpointError, match=r"calls numpy\.ndarray"):
        read_checkpoint(path)


def test_zip_files_that_grow_are_refused(tmp_path):
    path = saved(tmp_path, TENSORS)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    with pytest.raises(CheckpointError, match="uncompressed"):
        read_content(path)
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", npy_bytes(np.zeros(2**20)))
    with pytest.raises(UntrustedFileError, match="more than"):
        read_npz(tmp_path / "bomb.npz", largest=2**20)
    assert read_npz(tmp_path / "bomb.npz")["a"].shape == (2**20,)


def npy_bytes(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize(
    "array",
    [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3)), np.array(3), np.zeros((0, 2)),
     np.array([True]), np.array(["a", "bc"])],
    ids=str,
)  # fmt: skip
def test_array_files_are_read(tmp_path, array):
    (tmp_path / "a.npy").write_bytes(npy_bytes(array))
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), array)
    np.savez_compressed(tmp_path / "a.npz", a=array, b=array)
    found = read_npz(tmp_path / "a.npz")
    assert list(found) == ["a", "b"]
    np.testing.assert_array_equal(found["b"], array)


@pytest.mark.parametrize(
    "content",
    [
        npy_bytes(np.array([{}])),
        npy_bytes(np.zeros(3, [("a", "f4")])),
        npy_bytes(np.zeros(3))[:-1],
        npy_bytes(np.zeros(3)).replace(b"(3,)", b"(9,)"),
        npy_bytes(np.zeros(3)).replace(b"'<f8'", b"'|O8'"),
        npy_bytes(np.array([True])).replace(b"\x01", b"\x07") + b"",
        b"\x93NUMPY\x01\x00\x10\x00" + b"(" * 16,
        b"",
    ],
    ids=range(8),
)
def test_array_files_of_anything_else_are_refused(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(UntrustedFileError, match=r"a\.npy was refused"):
        read_npy(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(UntrustedFileError, match=r"a\.npz was refused"):
        read_npz(tmp_path / "a.npz")


def test_an_array_of_one_dict_with_tensors_is_read(tmp_path):
    np.save(tmp_path / "e.npy", {"t": torch.arange(3), "a": np.ones((2, 2))}, allow_pickle=True)
    found = load_array_pickle(tmp_path / "e.npy")
    np.testing.assert_array_equal(found["t"], [0, 1, 2])
    np.testing.assert_array_equal(found["a"], np.ones((2, 2)))


@pytest.mark.skipif(not (SHARED / "flame").is_dir(), reason="needs FLAME's files: ../shared/flame")
def test_flames_own_files_are_read():
    masks = load_arrays(SHARED / "flame" / "FLAME_masks.pkl")
    assert all(ids.dtype.kind in "iu" and ids.max() < 5023 for ids in masks.values())
    assert load_arrays(SHARED / "flame" / "templates.pkl").popitem()[1].shape == (5023, 3)
    embedding = load_array_pickle(SHARED / "flame" / "landmark_embedding.npy")
    assert np.asarray(embedding["dynamic_lmk_faces_idx"]).shape == (79, 17)

"""Reading checkpoints that were made by others, without running anything that they contain.

fairseq's `checkpoint_best.pt` is a zip of a pickle and of the tensors' bytes. Beside tensors, the pickle
holds objects of fairseq and omegaconf. Here those come to life as inert records; whatever else a pickle
names, other than what tensors need, is refused. Safetensors files hold nothing but tensors.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from multitalk.ground.pickles import ARRAYS, PickleRefusedError, SafeUnpickler

_STORAGE_TYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class CheckpointError(ValueError):
    """A checkpoint can not be read, or asks for something that a checkpoint has no need of."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint holds that matters here."""

    tensors: dict[str, Tensor]
    settings: dict[str, Any] = field(default_factory=dict)
    """Its configuration as nested dicts; empty where it has none."""

    def number(self, name: str) -> int | None:
        """Find an integer setting by name, at any depth; None where there is none."""
        found = _find(self.settings, name)
        return found if isinstance(found, int) and not isinstance(found, bool) else None


class Inert(dict[Any, Any]):
    """What becomes of an object of another package: its state, and nothing that it could do."""

    def __init__(self, *arguments: object, **_: object) -> None:
        super().__init__()
        self.arguments = arguments

    def __call__(self, *_: object) -> Inert:
        """Stand in for functions that would make an object."""
        return self

    def __setstate__(self, state: object) -> None:
        parts = state if isinstance(state, tuple) else (state,)
        for part in parts:
            if isinstance(part, dict):
                self.update(part)

    def append(self, _: object) -> None:
        """Stand in for lists; the items are not needed."""

    def extend(self, _: object) -> None:
        """Stand in for lists; the items are not needed."""


# Packages whose objects lie in fairseq checkpoints; none of them is imported.
_INERT_PACKAGES = ("fairseq", "omegaconf", "sentencepiece", "avhubert", "av_hubert", "hydra", "argparse")
# Types that omegaconf names in its records of a field's type, containers that configurations are made of.
_INERT_NAMES = {
    "typing": ("Any", "Dict", "List", "Union"),
    "pathlib": ("PosixPath",),
    "collections": ("Counter", "defaultdict"),
    **dict.fromkeys(
        ("builtins", "__builtin__"),
        ("dict", "list", "tuple", "set", "int", "float", "str", "bool", "object"),
    ),
}


def _rebuild_tensor(
    storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> Tensor:
    # torch checks that the view lies within the storage
    return storage.as_strided(tuple(size), tuple(stride), offset).clone()


def _rebuild_parameter(data: Tensor, *_: object) -> Tensor:
    return data


_CLASSES: Mapping[tuple[str, str], object] = {
    **ARRAYS,
    **{(module, name): Inert for module, names in _INERT_NAMES.items() for name in names},
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    # pickled as a class; only its name is used, by `persistent_load`
    **{("torch", name): type(name, (), {"dtype": dtype}) for name, dtype in _STORAGE_TYPES.items()},
}


class _CheckpointUnpickler(SafeUnpickler):
    """Unpickler of a torch zip file's `data.pkl`."""

    def __init__(self, file: IO[bytes], storages: Callable[[str, torch.dtype], Tensor]) -> None:
        super().__init__(file, _CLASSES, dict.fromkeys(_INERT_PACKAGES, Inert), encoding="utf-8")
        self._storages = storages

    def persistent_load(self, pid: Any) -> Tensor:
        """Return a tensor's bytes."""
        kind, storage_type, key = pid[0], pid[1], pid[2]
        dtype = getattr(storage_type, "dtype", None)
        if kind != "storage" or dtype is None or not str(key).isdigit():
            raise PickleRefusedError(f"not a tensor's storage: {str(pid)[:80]}")
        return self._storages(str(key), dtype)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a `.pt` file of fairseq or torch, or a `.safetensors` file with the `config.json` beside it.

    Raises
    ------
    CheckpointError
        It can not be read, is damaged, or names something that is refused; the message says what.
    """
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        return _read_zip(path)
    except PickleRefusedError as error:
        raise CheckpointError(f"{path}: refused: {error}") from error
    except CheckpointError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise CheckpointError(
            f"{path}: not a readable checkpoint ({type(error).__name__}: {error})"
        ) from error


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise CheckpointError(f"{path}: reading it needs pip install 'multitalk[eval]'") from error
    config = path.with_name("config.json")
    settings = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    return Checkpoint(load_file(path), settings)


def _read_zip(path: Path) -> Checkpoint:
    if not zipfile.is_zipfile(path):
        raise CheckpointError(
            f"{path}: not a zip file; load it with the torch that made it and save it again"
        )
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        records = [name for name in entries if name.endswith("/data.pkl") or name == "data.pkl"]
        if len(records) != 1 or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
            raise CheckpointError(f"{path}: not a zip file of torch (one uncompressed data.pkl is expected)")
        folder = records[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in entries and archive.read(f"{folder}byteorder") != b"little":
            raise CheckpointError(f"{path}: its tensors are big-endian")
        storages: dict[str, Tensor] = {}

        def storage(key: str, dtype: torch.dtype) -> Tensor:
            if key not in storages:
                raw = bytearray(archive.read(f"{folder}data/{key}"))
                storages[key] = (
                    torch.frombuffer(raw, dtype=torch.uint8) if raw else torch.empty(0, dtype=torch.uint8)
                )
            return storages[key].view(dtype)

        with archive.open(records[0]) as file:
            content = _CheckpointUnpickler(file, storage).load()
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not a checkpoint")
    model = content.get("model") or content.get("state_dict") or content
    tensors = {str(name): value for name, value in dict(model).items() if isinstance(value, Tensor)}
    return Checkpoint(tensors, {key: content[key] for key in ("cfg", "args") if key in content})


def _find(settings: object, name: str) -> object:
    if not isinstance(settings, dict):
        return None
    if settings.get(name) is not None:
        return settings[name]
    found = (_find(value, name) for value in settings.values())
    return next((value for value in found if value is not None), None)

"""The one reader of checkpoints that were made by others: torch's files, old and new, and safetensors.

A checkpoint of torch is a pickle beside the tensors' bytes. It is read as every pickle from outside
(`ground.untrusted.pickles`), and tensors are laid over the bytes only where they fit; torch's own reader is not used.
Beside tensors, fairseq's and Lightning's files hold objects of fairseq, omegaconf and argparse: of those, the
attributes are taken, and no code of theirs is imported.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multitalk.ground.untrusted.files import GIB, UntrustedFileError, open_untrusted, read_untrusted
from multitalk.ground.untrusted.pickle_builder import Builder
from multitalk.ground.untrusted.pickle_builder import Tensor as StoredTensor
from multitalk.ground.untrusted.pickle_records import Named, PickleRefusedError
from multitalk.ground.untrusted.pickles import is_tensor_part
from multitalk.ground.untrusted.torch_layout import read_legacy, read_zip

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_CHECKPOINT = 64 * GIB
LARGEST_OLD_CHECKPOINT = 8 * GIB
"""Of torch before 1.6, which is read in one piece."""


class CheckpointError(ValueError):
    """A checkpoint is missing, can not be read, does not fit, or asks for something that it has no need of."""


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


# Packages whose objects lie in fairseq checkpoints; none of them is imported.
_INERT_PACKAGES = ("fairseq", "omegaconf", "sentencepiece", "avhubert", "av_hubert", "hydra", "argparse")
# Types that omegaconf names in its records of a field's type, containers that configurations are made of.
_BUILTINS = ("dict", "list", "tuple", "set", "int", "float", "str", "bool", "object")
_INERT_NAMES: Mapping[str, tuple[str, ...]] = {
    "typing": ("Any", "Dict", "List", "Union"),
    "pathlib": ("PosixPath",),
    "collections": ("Counter", "defaultdict"),
    "copyreg": ("_reconstructor",),
    "copy_reg": ("_reconstructor",),
    "builtins": _BUILTINS,
    "__builtin__": _BUILTINS,
}


def _is_published(named: Named) -> bool:
    """Tell whether checkpoints of fairseq and Lightning name it."""
    return (
        is_tensor_part(named)
        or named.module.partition(".")[0] in _INERT_PACKAGES
        or named.name in _INERT_NAMES.get(named.module, ())
    )


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a `.pt` file of fairseq or torch, or a `.safetensors` file with the `config.json` beside it.

    Raises
    ------
    CheckpointError
        It can not be read, is damaged, or names something that is refused; the message says what.
    """
    if path.suffix == ".safetensors":
        config = path.with_name("config.json")
        with _telling(path):
            found = json.loads(read_untrusted(config, 2**20)) if config.is_file() else {}
        return Checkpoint(read_safetensors(path), found if isinstance(found, dict) else {})
    content = read_content(path, objects=True)
    model = content.get("model") or content.get("state_dict") or content
    return Checkpoint(
        _tensors(model if isinstance(model, dict) else {}),
        {key: content[key] for key in ("cfg", "args") if key in content},
    )


def read_content(path: Path, *, objects: bool = False) -> dict[Any, Any]:
    """Read the dict that `torch.save` wrote: tensors on the CPU, numbers, texts, lists and dicts.

    Tensors of one storage share it, as in torch; they take no gradient.

    Parameters
    ----------
    path
        The file.
    objects
        Whether it may hold objects of fairseq, omegaconf and argparse: their attributes are dicts, then.

    Raises
    ------
    CheckpointError
        When it can not be read, is damaged, no dict, or holds more than that.
    """
    import torch

    def tensor(found: StoredTensor) -> Tensor:
        if found.bfloat16:
            return torch.from_numpy(found.numbers.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(found.numbers)

    allowed: Callable[[Named], bool] = _is_published if objects else is_tensor_part
    with _telling(path), open_untrusted(path, LARGEST_CHECKPOINT) as file:
        if zipfile.is_zipfile(file):
            records, storages = read_zip(file, allowed)
        else:
            records, storages = read_legacy(read_untrusted(path, LARGEST_OLD_CHECKPOINT), allowed)
        content = Builder(storages, tensor, inert=objects).plain(records)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not a checkpoint")
    return content


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a `.safetensors` file.

    Raises
    ------
    CheckpointError
        When it can not be read, or is damaged.
    """
    try:
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise CheckpointError(f"{path}: reading it needs pip install 'multitalk[eval]'") from error
    with _telling(path):
        with open_untrusted(path, LARGEST_CHECKPOINT):
            pass  # a device has no end
        return load_file(path)


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Make a CheckpointError of whatever goes wrong while a file is read."""
    again = "download or copy it again"
    try:
        yield
    except FileNotFoundError as error:
        raise CheckpointError(f"cannot read {path}: no such file") from error
    except UntrustedFileError as error:
        raise CheckpointError(str(error)) from error
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged file raises almost anything
        if isinstance(error, PickleRefusedError) and "asks for" in str(error):
            message = f"refused: {error}, which no checkpoint has need of"
        else:
            message = f"not a readable checkpoint ({type(error).__name__}: {error})"
        raise CheckpointError(f"{path}: {message}; {again}") from error


def _tensors(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    import torch

    return {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}


def _find(settings: object, name: str) -> object:
    if not isinstance(settings, dict):
        return None
    if settings.get(name) is not None:
        return settings[name]
    found = (_find(value, name) for value in settings.values())
    return next((value for value in found if value is not None), None)

"""A device that is not there: tensors that say they lie on it, while their numbers are computed on the CPU.

What a real one refuses is refused (mixing devices, `.numpy()`), and what a real one costs is counted: every launched
operation, every time that the host waits for an answer, every upload. So that a machine without a GPU can tell whether
one would be fed. The device's name is `meta`, the one kind beside the CPU for which every build of PyTorch has a guard.
Forward passes only; memory, streams and speed are not played.
"""

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = "meta"

_FREE = {  # operations that only look at memory otherwise
    *("view", "_unsafe_view", "transpose", "select", "slice", "expand", "unsqueeze", "squeeze", "permute"),
    *("alias", "detach", "t", "diagonal", "unbind", "split", "split_with_sizes", "as_strided", "unfold"),
    *("_reshape_alias", "lift_fresh"),
}
_ANSWERS = {
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_dim",
    "equal",
    "is_nonzero",
}


@dataclass
class Seen:
    """What a device would have been asked."""

    launches: Counter[str] = field(default_factory=Counter)
    waits: Counter[str] = field(default_factory=Counter)
    """By where they were waited for."""
    uploads: int = 0


class Elsewhere(torch.Tensor):
    """A tensor on the device; `numbers` are what it holds."""

    numbers: torch.Tensor

    @staticmethod
    def __new__(cls, numbers: torch.Tensor) -> "Elsewhere":
        return torch.Tensor._make_wrapper_subclass(
            cls,
            numbers.shape,
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=DEVICE,
        )

    def __init__(self, numbers: torch.Tensor) -> None:
        self.numbers = numbers

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError("the mode sees every operation first")

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("a device's tensor has no numpy array: copy it to the host first")

    __array__ = numpy


class _Operations(TorchDispatchMode):
    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.split("::")[1]
        flat, _ = tree_flatten((args, kwargs))
        there = [value for value in flat if isinstance(value, Elsewhere)]
        here = [value for value in flat if type(value) is torch.Tensor and value.dim()]
        target = kwargs.get("device")
        goes_there = bool(there) if target is None else torch.device(target).type == DEVICE
        copies = name in ("_to_copy", "copy_")
        if there and here and not copies:
            raise RuntimeError(
                f"{name}: tensors on the device and on the host, {[tuple(h.shape) for h in here]}"
            )
        self._count(name, there=bool(there), here=bool(here), goes_there=goes_there, copies=copies, out=args)
        out = func(*tree_map(_unwrapped, args), **tree_map(_unwrapped, kwargs))
        if name in _ANSWERS and not isinstance(out, torch.Tensor):
            return out
        if func._schema.is_mutable and args and isinstance(args[0], torch.Tensor):
            return args[0]
        if not goes_there or (name == "copy_" and not isinstance(args[0], Elsewhere)):
            return out
        return tree_map(lambda value: Elsewhere(value) if type(value) is torch.Tensor else value, out)

    def _count(self, name: str, *, there: bool, here: bool, goes_there: bool, copies: bool, out: Any) -> None:
        if there and (name in _ANSWERS or (copies and not goes_there)):
            self.seen.waits[_caller()] += 1
        elif copies and here and goes_there:
            self.seen.uploads += 1
        elif (there or goes_there) and name not in _FREE:
            self.seen.launches[name] += 1


def _unwrapped(value: Any) -> Any:
    if isinstance(value, Elsewhere):
        return value.numbers
    if isinstance(value, torch.device) and value.type == DEVICE:
        return torch.device("cpu")
    return value


def _caller() -> str:
    """The last line of ours that led here."""
    ours = [
        frame for frame in traceback.extract_stack() if "multitalk/" in frame.filename.replace("/wt/", "/")
    ]
    return f"{ours[-1].filename.rsplit('/multitalk/')[-1]}:{ours[-1].lineno}" if ours else "elsewhere"


class _Makers(TorchFunctionMode):
    """Functions that put the host's numbers into a device's memory without an operation."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.new_tensor and isinstance(args[0], Elsewhere):
            kwargs.setdefault("dtype", args[0].dtype)
            return self._uploaded(torch.tensor(args[1], **{k: v for k, v in kwargs.items() if k != "device"}))
        wanted = kwargs.get("device")
        there = wanted is not None and torch.device(wanted).type == DEVICE
        if there and func in (torch.tensor, torch.as_tensor) and not isinstance(args[0], Elsewhere):
            del kwargs["device"]
            return self._uploaded(func(*args, **kwargs))
        if func is torch.Tensor.tolist and isinstance(args[0], Elsewhere):
            self.seen.waits[_caller()] += 1
            return args[0].numbers.tolist()
        return func(*args, **kwargs)

    def _uploaded(self, numbers: torch.Tensor) -> Elsewhere:
        self.seen.uploads += 1
        return Elsewhere(numbers.clone())


@contextmanager
def pretend_device() -> Iterator[Seen]:
    """Let `torch.device(DEVICE)` be a device with numbers; what is asked of it meanwhile."""
    seen = Seen()
    with torch.no_grad(), _Makers(seen), _Operations(seen):
        yield seen

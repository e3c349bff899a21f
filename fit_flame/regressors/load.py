"""Opening the published checkpoints of the regressors, which may hold tensors and plain values only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from multitalk.fit_flame.heads.head_model import HeadModelError
from multitalk.fit_flame.regressors.deca import Deca
from multitalk.fit_flame.regressors.interface import Regressor
from multitalk.fit_flame.regressors.smirk import Smirk
from multitalk.fit_flame.regressors.spectre import Spectre
from multitalk.ground.untrusted.checkpoint_file import CheckpointError, read_content

_NETWORKS: dict[str, type[Deca] | type[Smirk] | type[Spectre]] = {
    "deca": Deca,
    "smirk": Smirk,
    "spectre": Spectre,
}
# What wraps the networks in one file or another.
_WRAPPERS = ("state_dict.", "deca.", "smirk_encoder.")
# ImageNet's classes, which SPECTRE's file still carries.
_LEFT_OUT = "E_expression.encoder.classifier."


def load_regressor(name: str, path: Path, device: str) -> Regressor:
    """Load a regressor.

    Parameters
    ----------
    name
        `deca`, `smirk` or `spectre`.
    path
        `deca_model.tar`, `SMIRK_em1.pt` or `spectre_model.tar` as published. Other networks in it are left.
    device
        Torch device.

    Raises
    ------
    HeadModelError
        When the file cannot be read, holds more than tensors and plain values, or lacks or adds a tensor.
    """
    network = _NETWORKS[name]()
    try:
        content = read_content(path)
    except CheckpointError as error:
        raise HeadModelError(f"{path} is no checkpoint of {name}: {error}") from error
    parts = tuple(f"{part}." for part, _ in network.named_children())
    state = {key: value for key, value in _tensors(content) if key.startswith(parts)}
    if not state:
        raise HeadModelError(f"{path} is no checkpoint of {name}: it has no tensors of {', '.join(parts)}")
    try:
        network.load_state_dict({k: v for k, v in state.items() if not k.startswith(_LEFT_OUT)})
    except RuntimeError as error:
        raise HeadModelError(f"{path} is no checkpoint of {name}: {_first_lines(error)}") from error
    # Channels last: a fifth faster on CPUs where convolutions are narrow, and what tensor cores want.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack it
    return network.eval().requires_grad_(False).to(device)


def _tensors(content: object, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor of nested dicts under its dotted name, wrappers taken off."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _tensors(value, f"{prefix}{key}.")
    elif isinstance(content, Tensor):
        name = prefix.removesuffix(".")
        for wrapper in _WRAPPERS:
            name = name.removeprefix(wrapper)
        yield name, content


def _first_lines(error: RuntimeError, count: int = 3) -> str:
    """Torch lists every tensor that is missing, too many or of another shape; a few tell enough."""
    lines = [line.strip() for line in str(error).splitlines()[1:]]
    return " ".join(line if len(line) < 200 else f"{line[:200]}..." for line in lines[:count])

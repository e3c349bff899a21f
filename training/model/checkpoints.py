"""Checkpoint files: the reference's two, read and written strictly, and ours.

The reference's files hold a state dict and nothing else, so their sizes are read off the tensors' shapes;
what no shape tells (heads, names of languages) is the published models' unless given. Ours hold their
settings too. Files are read by `multitalk.ground.untrusted.checkpoint_file`, so one can do nothing but hold tensors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from multitalk.ground.files import atomic
from multitalk.ground.untrusted.checkpoint_file import CheckpointError, read_content
from multitalk.training.reference.prior import ReferencePrior
from multitalk.training.reference.talker import ReferenceTalker
from multitalk.training.settings import (
    REFERENCE_LANGUAGES,
    ReferencePriorSettings,
    ReferenceTalkerSettings,
    Wav2Vec2Settings,
)

OFFICIAL_PAGE = "https://github.com/kaist-ami/MultiTalk"
_NORM: Final = "audio_encoder.encoder.pos_conv_embed.conv."
_NORM_NAMES = {  # torch's old name: its new one
    _NORM + "weight_g": _NORM + "parametrizations.weight.original0",
    _NORM + "weight_v": _NORM + "parametrizations.weight.original1",
}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `torch.save` wrote, tensors on the CPU.

    Raises
    ------
    CheckpointError
        When there is no such file, or it is not a checkpoint, or holds more than tensors and plain values.
    """
    if not path.exists():
        raise CheckpointError(
            f"{path}: no such file. Links to the published stage1.pth.tar and stage2.pth.tar: {OFFICIAL_PAGE}"
        )
    return read_content(path)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint by name, weight norm under torch's new names."""
    content = read_checkpoint(path)
    state = content.get("state_dict", content)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: holds no state dict")
    return {_NORM_NAMES.get(str(name), str(name)): value for name, value in state.items()}


def load_strictly(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Put every tensor of `state` into `model`.

    Raises
    ------
    CheckpointError
        When tensors are missing, extra, of another shape or no fractions; the message names them all.
    """
    expected = model.state_dict()
    wrong = [
        f"{name} is {tuple(state[name].shape)}, should be {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    wrong += [
        f"{name} is {state[name].dtype}, should be {tensor.dtype}"
        for name, tensor in expected.items()
        if name in state and state[name].is_floating_point() != tensor.is_floating_point()
    ]
    missing = [f"{name} is missing" for name in expected if name not in state]
    extra = [f"{name} is not part of the model" for name in state if name not in expected]
    if problems := missing + extra + wrong:
        kind = type(model).__name__
        raise CheckpointError(
            f"{path}: does not fit {kind} ({len(problems)} problems): " + "; ".join(problems)
        )
    model.load_state_dict(dict(state))


def load_reference_prior(path: Path, settings: ReferencePriorSettings | None = None) -> ReferencePrior:
    """Load the published motion prior (stage 1), in evaluation mode.

    Raises
    ------
    CheckpointError
        When the file is missing or is no stage 1 checkpoint.
    """
    state = read_state_dict(path)
    with _sizes_of("a motion prior", path):
        model = ReferencePrior(settings or _prior_settings(state, path))
    load_strictly(model, state, path)
    return model.eval()


def load_reference_talker(path: Path, settings: ReferenceTalkerSettings | None = None) -> ReferenceTalker:
    """Load the published talker (stage 2), in evaluation mode. A copy of the prior in it is left aside.

    Raises
    ------
    CheckpointError
        When the file is missing or is no stage 2 checkpoint.
    """
    state = {name: t for name, t in read_state_dict(path).items() if not name.startswith("autoencoder.")}
    with _sizes_of("a talker", path):
        model = ReferenceTalker(settings or _talker_settings(state, path))
    load_strictly(model, state, path)
    return model.eval()


def export_reference(model: ReferencePrior | ReferenceTalker, path: Path) -> None:
    """Write what the reference's own code loads: a bare state dict, weight norm under its old names."""
    old = {new: name for name, new in _NORM_NAMES.items()}
    save(
        {"state_dict": {old.get(name, name): tensor.cpu() for name, tensor in model.state_dict().items()}},
        path,
    )


def save(content: dict[str, Any], path: Path) -> None:
    """`torch.save` to a file that is whole or not there."""
    with atomic(path) as temporary:
        torch.save(content, temporary)


@contextmanager
def _sizes_of(what: str, path: Path) -> Iterator[None]:
    """Make a CheckpointError of whatever comes of shapes that no model has."""
    try:
        yield
    except CheckpointError:
        raise
    except (ArithmeticError, IndexError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path}: its tensors are not those of {what} ({error})") from error


def _prior_settings(state: Mapping[str, Tensor], path: Path) -> ReferencePriorSettings:
    weight = _shape(state, "encoder.vertice_mapping.0.weight", path)
    book = _shape(state, "quantize.embedding.weight", path)
    feed_forward = _shape(state, "encoder.encoder_transformer.net.1.fn.fn.l1.weight", path)
    return ReferencePriorSettings(
        vertex_values=weight[1],
        hidden=weight[0],
        layers=_count(state, r"encoder\.encoder_transformer\.net\.(\d+)\.") // 2,
        feed_forward=feed_forward[0],
        codes_per_frame=weight[0] // book[1],
        codebook_size=book[0],
        code_dim=book[1],
    )


def _talker_settings(state: Mapping[str, Tensor], path: Path) -> ReferenceTalkerSettings:
    vertice_map = _shape(state, "vertice_map.weight", path)
    rows = _shape(state, "learnable_style_emb.weight", path)[0]
    names = (
        REFERENCE_LANGUAGES if rows == len(REFERENCE_LANGUAGES) else tuple(f"row{row}" for row in range(rows))
    )
    return ReferenceTalkerSettings(
        vertex_values=vertice_map[1],
        latent=_shape(state, "feat_map.weight", path)[0],
        hidden=vertice_map[0],
        layers=_count(state, r"transformer_decoder\.layers\.(\d+)\."),
        languages=names,
        audio=_audio_settings(state, path),
    )


def _audio_settings(state: Mapping[str, Tensor], path: Path) -> Wav2Vec2Settings:
    prefix = "audio_encoder."
    projection = _shape(state, prefix + "feature_projection.projection.weight", path)
    kernel = _shape(state, _NORM + "parametrizations.weight.original1", path)
    feed_forward = _shape(state, prefix + "encoder.layers.0.feed_forward.intermediate_dense.weight", path)
    return Wav2Vec2Settings(
        conv_dim=projection[1],
        hidden=projection[0],
        layers=_count(state, r"audio_encoder\.encoder\.layers\.(\d+)\."),
        heads=max(projection[0] // 64, 1),  # every published wav2vec 2.0 has heads of 64
        feed_forward=feed_forward[0],
        position_kernel=kernel[2],
        position_groups=kernel[0] // kernel[1],
    )


def _shape(state: Mapping[str, Tensor], name: str, path: Path) -> tuple[int, ...]:
    if name not in state:
        raise CheckpointError(f"{path}: {name} is missing; is this the right stage's checkpoint?")
    return tuple(state[name].shape)


def _count(names: Iterable[str], pattern: str) -> int:
    """One more than the highest number that the pattern finds."""
    return 1 + max(int(match[1]) for name in names if (match := re.match(pattern, name)))

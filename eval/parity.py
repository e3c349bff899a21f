"""Compare our AV-HuBERT encoder with arrays that the original computed: `python -m multitalk.eval.parity DIR`.

DIR holds `config.json` (sizes, and the name and shape of every tensor of the original checkpoint) and
`golden.npz` (inputs, and the original's outputs). The weights are not stored: each tensor follows from its
name.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float, Float64

LIMIT = 1e-4
"""Largest difference allowed anywhere."""

OUTPUTS = (
    "audio_features",
    "video_features",
    "encoder_audio_video",
    "encoder_audio_only",
    "encoder_video_only",
)
"""What the original computed, by the names that `golden.npz` may hold."""


class ParityError(ValueError):
    """The directory does not hold what a comparison needs."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One stored array against ours."""

    name: str
    shape: tuple[int, ...]
    magnitude: float
    """Largest absolute value of the stored array."""
    difference: float
    """Largest absolute difference; infinite when a value of ours is not finite or the shapes differ."""

    @property
    def passed(self) -> bool:
        """Whether the difference is within `LIMIT`."""
        return self.difference <= LIMIT


def rule_weight(name: str, shape: Sequence[int]) -> Float64[Array, " ..."]:
    """Make the tensor that the rule gives to a name, in float64.

    A sine whose phase comes from the name's CRC-32, scaled by what the last part of the name says it is.
    """
    count = int(np.prod(shape))  # 1 for a scalar
    wave: npt.NDArray[np.float64] = np.sin(
        zlib.crc32(name.encode()) % 1000 + 0.37 * np.arange(count)
    ).reshape(shape)
    kind = name.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return np.zeros(shape)
    if kind == "running_var":
        return np.asarray(1 + 0.1 * np.abs(wave))
    if kind == "running_mean":
        return np.asarray(0.05 * wave)
    if len(shape) == 1:
        return np.asarray(1 + 0.1 * wave if kind == "weight" else 0.05 * wave)
    scaled = wave * np.sqrt(2 / np.prod(shape[1:]))
    return np.asarray(np.abs(scaled) + 0.5 if kind == "weight_g" else scaled)


def compare_array(name: str, stored: Float[Array, " ..."], ours: Float[Array, " ..."]) -> Comparison:
    """Compare one array."""
    difference = np.inf
    if stored.shape == ours.shape and np.isfinite(ours).all():
        difference = float(np.abs(stored.astype(np.float64) - ours).max())
    return Comparison(name, stored.shape, float(np.abs(stored).max()), difference)


def compare(directory: Path) -> list[Comparison]:
    """Compute every stored output of a directory and compare.

    Raises
    ------
    ParityError
        A file is missing or unreadable, or lacks an array.
    """
    config, arrays = _read(directory)
    ours = _outputs(config, arrays)
    return [compare_array(name, arrays[name], value) for name, value in ours.items() if name in arrays]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the comparison; 0 when all agree, 1 when one does not, 2 when DIR can not be used."""
    parser = argparse.ArgumentParser(
        prog="python -m multitalk.eval.parity", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="folder with config.json and golden.npz")
    directory = parser.parse_args(arguments).directory
    try:
        results = compare(directory)
    except (ParityError, ValueError) as error:
        Console(stderr=True, highlight=False).print(str(error), markup=False, soft_wrap=True)
        return 2
    _print(results)
    absent = sorted(set(OUTPUTS) - {result.name for result in results})
    if absent:
        said = f"not compared, for golden.npz lacks them: {', '.join(absent)}"
        Console(highlight=False).print(said, markup=False, soft_wrap=True)
    return 0 if all(result.passed for result in results) else 1


def _read(directory: Path) -> tuple[dict[str, object], dict[str, Float[Array, " ..."]]]:
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        with np.load(directory / "golden.npz", allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # zipfile, zlib, tokenize: a damaged file raises almost anything
        raise ParityError(f"{directory}: needs a readable config.json and golden.npz ({error})") from error
    if not isinstance(config, dict) or not isinstance(config.get("tensors"), dict):
        raise ParityError(f"{directory / 'config.json'}: no `tensors` with each tensor's name and shape")
    lacking = {"audio", "video"} - arrays.keys()
    if lacking or len(arrays) < 3:
        what = " and ".join(sorted(lacking)) or "any output to compare with"
        raise ParityError(f"{directory / 'golden.npz'}: lacks {what}")
    return config, arrays


def _outputs(
    config: Mapping[str, object], arrays: Mapping[str, Float[Array, " ..."]]
) -> dict[str, Float[Array, " ..."]]:
    import torch

    from multitalk.eval.lip_reading.network.av_hubert_weights import encoder_from_tensors

    shapes = config["tensors"]
    heads = config.get("encoder_attention_heads")
    if not isinstance(shapes, dict) or not isinstance(heads, int):
        raise ParityError("config.json needs `tensors` and `encoder_attention_heads`")
    weights = {name: torch.from_numpy(rule_weight(name, shape)).float() for name, shape in shapes.items()}
    encoder = encoder_from_tensors(weights, heads)
    audio = encoder.audio_features(torch.from_numpy(arrays["audio"]).float().transpose(1, 2))
    video = encoder.video_features(torch.from_numpy(arrays["video"]).float())
    # the original keeps features of one modality as (B, D, T)
    features = audio.transpose(1, 2), video.transpose(1, 2)
    states = encoder(audio, video), encoder(audio, None), encoder(None, video)
    outputs = dict(zip(OUTPUTS, (*features, *states), strict=True))
    unknown = arrays.keys() - outputs.keys() - {"audio", "video"}
    if unknown:
        raise ParityError(f"golden.npz holds arrays that are not known here: {', '.join(sorted(unknown))}")
    return {name: value.numpy() for name, value in outputs.items()}


def _print(results: Sequence[Comparison]) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("array", no_wrap=True)
    for title in ("shape", "largest", "difference"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column(f"<= {LIMIT:g}", no_wrap=True)
    for result in results:
        shape = " x ".join(map(str, result.shape))
        verdict = "[green]yes[/green]" if result.passed else "[red]NO[/red]"
        table.add_row(result.name, shape, f"{result.magnitude:.3f}", f"{result.difference:.1e}", verdict)
    Console(highlight=False).print(table)


if __name__ == "__main__":
    sys.exit(main())

"""Batches for training: motion, language and sound of the clips that a windows names."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from multitalk.ground.files import atomic
from multitalk.training.data.packed import PackedMotion
from multitalk.training.data.sampling import BatchWindows
from multitalk.training.model.audio_encoder import SAMPLES_PER_FRAME, AudioEncoder, read_speech

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float32


class MotionBatch(NamedTuple):
    """Windows of B clips, T frames each."""

    motion: Tensor
    """(B, T, F) float32 expression, then jaw."""
    language: Tensor
    """(B,) int64 row of each clip's language in the talker's table; 0 for a prior."""
    weight: Tensor
    """(B,) float32 share of each clip in the batch's loss; sums to 1 over all processes."""
    sound: Tensor
    """(B, 2 T, A) float32 audio features, (B, S) samples at 16 kHz, or (B, 0) for a prior."""


Sound = Callable[[int, int, int], npt.NDArray[np.float32]]
"""Sound of a clip's window: clip, first frame, frames -> array whose first axis is time."""


@dataclass(frozen=True, slots=True)
class BatchDataset(torch.utils.data.Dataset[MotionBatch]):
    """The part of this process in each batch of a list of batches."""

    packed: PackedMotion
    batches: Sequence[BatchWindows]
    rows: dict[str, int]
    """Row of each language in the talker's table; empty for a prior."""
    sound: Sound | None
    rank: int = 0
    world: int = 1

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> MotionBatch:
        windows = self.batches[index]
        # All processes take as many clips; where clips run out one is taken again and does not count.
        share = -(-len(windows.clips) // self.world)
        mine = [min(self.rank * share + i, len(windows.clips) - 1) for i in range(share)]
        counts = [self.rank * share + i < len(windows.clips) for i in range(share)]
        motion = [self.packed.window(windows.clips[i], windows.begins[i], windows.frames) for i in mine]
        rows = [self.rows.get(str(self.packed.language[windows.clips[i]]), 0) for i in mine]
        sound = [np.zeros(0, np.float32)] * share
        if self.sound is not None:
            sound = [self.sound(windows.clips[i], windows.begins[i], windows.frames) for i in mine]
        return MotionBatch(
            torch.from_numpy(np.stack(motion)),
            torch.tensor(rows),
            torch.tensor(counts, dtype=torch.float32) / len(windows.clips),
            torch.from_numpy(np.stack(sound).astype(np.float32)),
        )


@dataclass(frozen=True, slots=True)
class Samples:
    """Sound as samples, from the dataset's WAV files."""

    root: Path
    packed: PackedMotion

    def __call__(self, clip: int, begin: int, frames: int) -> Float32[Array, " samples"]:
        """Read samples (640 frames,) of a window; silence where the file ends early."""
        audio = read_speech(self.wav(clip))[begin * SAMPLES_PER_FRAME :][: frames * SAMPLES_PER_FRAME]
        return np.pad(audio, (0, frames * SAMPLES_PER_FRAME - len(audio)))

    def wav(self, clip: int) -> Path:
        """WAV file of a clip."""
        from multitalk.manifests.paths import audio_path

        return audio_path(self.root, str(self.packed.language[clip]), str(self.packed.clip_id[clip]))


@dataclass(frozen=True, slots=True)
class CachedFeatures:
    """Sound as a frozen encoder's features, one file of float16 a clip."""

    directory: Path
    packed: PackedMotion

    def __call__(self, clip: int, begin: int, frames: int) -> Float32[Array, "tokens width"]:
        """Features (2 frames, A) of a window."""
        features = np.load(self.path(clip), mmap_mode="r")
        window: npt.NDArray[np.float32] = features[2 * begin : 2 * (begin + frames)].astype(np.float32)
        return window

    def path(self, clip: int) -> Path:
        """File of a clip's features."""
        # Named by the clip's content too: a clip that is built anew is encoded anew.
        name = f"{self.packed.clip_id[clip]}-{self.packed.content[clip]}.npy"
        return self.directory / str(self.packed.language[clip]) / name


def cache_features(
    samples: Samples,
    encoder: AudioEncoder,
    cache: Path,
    clips: Sequence[int],
    progress: Callable[[int, int], None] | None = None,
) -> CachedFeatures:
    """Encode the sound of clips, those that were not encoded before.

    Parameters
    ----------
    samples : Samples
        Where sound comes from.
    encoder : AudioEncoder
        Frozen; its fingerprint names the cache's folder.
    cache : Path
        Folder of packed data.
    clips : sequence of int
        Clips to encode.
    progress : callable, optional
        Called with clips done and clips in all.
    """
    packed = samples.packed
    features = CachedFeatures(cache / encoder.fingerprint, packed)
    for done, clip in enumerate(_own_share_first(clips), 1):
        path = features.path(clip)
        if not path.exists():
            encoded_audio = encoder.features(read_speech(samples.wav(clip)), int(packed.frames[clip]))
            with atomic(path) as temporary, temporary.open("wb") as file:
                np.save(file, encoded_audio.astype(np.float16))
        if progress is not None:
            progress(done, len(clips))
    return features


def _own_share_first(clips: Sequence[int]) -> list[int]:
    """Of several processes that torchrun started, let each begin elsewhere: what others did is there by then."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    first = len(clips) * rank // world
    return [*clips[first:], *clips[:first]]

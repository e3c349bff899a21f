"""A run as rounds of so many steps, each ending with a validation and a checkpoint.

Lightning can not be relied on to go on in the middle of an epoch, and an epoch of 300,000 clips is too long
to lose. So what Lightning takes for an epoch is a round; the passes over the data go on through them. A
checkpoint is written between rounds only, and with it where in the data the next one begins: to go on is to
run the rounds that are left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader

from multitalk.training.data.motion_data import BatchDataset, MotionBatch, Sound
from multitalk.training.data.packed import PackedMotion
from multitalk.training.data.sampling import BatchWindows, Sampler
from multitalk.training.run_settings import DataSettings, TrainingSettings


class Rounds(lightning.LightningDataModule):
    """Batches of each round, and of its validation.

    Parameters
    ----------
    packed : PackedMotion
        Clips.
    rows : dict
        Row of each language in the talker's table.
    sound : callable or None
        Sound of a window; None for a prior.
    settings : TrainingSettings
        The run.
    """

    def __init__(
        self, packed: PackedMotion, rows: dict[str, int], sound: Sound | None, settings: TrainingSettings
    ) -> None:
        super().__init__()
        self.packed, self.rows, self.sound, self.settings = packed, rows, sound, settings
        self.sampler = _sampler(packed, packed.of_split("train"), settings.data, settings.seed)
        self.round, self.epoch, self.offset = 0, 0, 0

    @property
    def steps(self) -> int:
        """Optimiser steps of the run."""
        return self.settings.steps or math.ceil(self.settings.epochs * self.steps_per_epoch)

    @cached_property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of one pass over the data."""
        return math.ceil(self.sampler.batches_per_epoch / self.settings.accumulate)

    @property
    def count(self) -> int:
        """Rounds of the run."""
        return math.ceil(self.steps / self.settings.round_steps)

    def batches(self, number: int) -> list[BatchWindows]:
        """Batches of a round; rounds are asked for in order, the current one again if need be."""
        batches: list[BatchWindows] = []
        while self.round <= number:
            steps = min(self.settings.round_steps, self.steps - self.round * self.settings.round_steps)
            begin = (self.epoch, self.offset)
            batches = self._take(steps * self.settings.accumulate)
            if self.round == number:
                self.epoch, self.offset = begin
                break
            self.round += 1
        return batches

    def _take(self, count: int) -> list[BatchWindows]:
        """Take the next batches and move on."""
        taken: list[BatchWindows] = []
        while len(taken) < count:
            epoch = self.sampler.epoch(self.epoch)
            part = epoch[self.offset : self.offset + count - len(taken)]
            taken += part
            self.offset += len(part)
            if self.offset == len(epoch):
                self.epoch, self.offset = self.epoch + 1, 0
        return taken

    def train_dataloader(self) -> DataLoader[MotionBatch]:
        """Batches of the current round."""
        assert self.trainer is not None
        return self._loader(self.batches(self.trainer.current_epoch))

    def val_dataloader(self) -> DataLoader[MotionBatch]:
        """Batches of held-out clips, the same in every round: a few of each language, from their beginning."""
        return self._loader(self.validation_batches())

    def validation_batches(self) -> list[BatchWindows]:
        """Held-out clips, or training clips when the dataset is too small to hold any out.

        Clips are whole up to `max_frames`, whatever lengths come together by chance.
        """
        held_out = self.packed.of_split("val")
        clips = held_out if len(held_out) else self.packed.of_split("train")
        chosen = _spread(clips, np.asarray(self.packed.language)[clips], self.settings.validation_clips)
        data = self.settings.data.model_copy(update={"language_balance": 0.0, "cut_leftovers": False})
        batches = _sampler(self.packed, chosen, data, self.settings.seed).epoch(0)
        return [BatchWindows(windows.clips, (0,) * len(windows.clips), windows.frames) for windows in batches]

    def state_dict(self) -> dict[str, Any]:
        """Where the current round began; kept in the checkpoint."""
        return {"round": self.round, "epoch": self.epoch, "offset": self.offset}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go back to where a checkpoint was written."""
        self.round, self.epoch, self.offset = (state_dict[name] for name in ("round", "epoch", "offset"))

    def _loader(self, batches: Sequence[BatchWindows]) -> DataLoader[MotionBatch]:
        assert self.trainer is not None
        rank, world = self.trainer.global_rank, self.trainer.world_size
        dataset = BatchDataset(self.packed, batches, self.rows, self.sound, rank, world)
        # A generator of its own: else each loader draws a number from the one that dropout uses.
        generator = torch.Generator().manual_seed(self.settings.seed)
        return DataLoader(
            dataset, batch_size=None, num_workers=self.settings.data.workers, generator=generator
        )


def _sampler(packed: PackedMotion, clips: Any, data: DataSettings, seed: int) -> Sampler:
    lengths = np.asarray(packed.frames)[clips].astype(np.int64)
    return Sampler(clips, lengths, np.asarray(packed.language)[clips], data, seed)


def _spread(clips: Any, languages: Any, count: int) -> Any:
    """Take up to `count` clips, from each language in turn."""
    rank = np.zeros(len(clips), int)
    for language in np.unique(languages):
        of_language = languages == language
        rank[of_language] = np.arange(of_language.sum())
    return np.sort(clips[np.argsort(rank, kind="stable")[:count]])

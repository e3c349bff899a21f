"""Learning rate over the steps of a run."""

from __future__ import annotations

import math
from collections.abc import Callable

from multitalk.training.run_settings import OptimiserSettings


def learning_rate_factor(
    settings: OptimiserSettings, steps: int, steps_per_epoch: int
) -> Callable[[int], float]:
    """Make a function of the step that multiplies the highest learning rate.

    Parameters
    ----------
    settings : OptimiserSettings
        Which schedule.
    steps : int
        Steps of the whole run; a cosine ends there at zero.
    steps_per_epoch : int
        Steps of one pass over the data, for halving every few epochs.
    """

    def factor(step: int) -> float:
        rise = min(1.0, (step + 1) / (settings.warmup_steps + 1))
        if settings.schedule == "cosine":
            return rise * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))
        if settings.schedule == "halving":
            return rise * 0.5 ** (step // steps_per_epoch // settings.halving_epochs)
        return rise

    return factor

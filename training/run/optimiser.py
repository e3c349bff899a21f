"""What changes the weights of a run, and their moving average."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from multitalk.training.run_settings import OptimiserSettings


def averaged_copy(model: nn.Module, decay: float) -> AveragedModel:
    """Copy a model to hold the moving average of its weights, which forgets faster at the start."""

    def average(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        now = min(decay, (1 + float(count)) / (10 + float(count)))
        return averaged.lerp(current, 1 - now)

    averaged = AveragedModel(model, avg_fn=average)
    averaged.requires_grad_(False)
    return averaged


def make_optimiser(settings: OptimiserSettings, model: nn.Module) -> torch.optim.Optimizer:
    """Make Adam or AdamW for all that is trained; a tuned audio encoder learns more slowly than the rest."""
    groups: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[name.startswith("tuned_encoder.")].append(parameter)
    rate = settings.learning_rate
    chosen: list[dict[str, Any]] = [
        {"params": parameters, "lr": rate * settings.audio_share if of_audio else rate}
        for of_audio, parameters in groups.items()
        if parameters
    ]
    if settings.kind == "adam":
        return torch.optim.Adam(chosen)
    return torch.optim.AdamW(chosen, weight_decay=settings.weight_decay)

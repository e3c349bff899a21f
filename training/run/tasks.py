"""What Lightning trains: a motion prior or a talker, with optimiser, averaged weights and validation.

A validation is free-running: what counts is what comes out when nobody tells the truth in between. Its
figure is the Lip Vertex Error, for each language and in all, beside those of two answers that need no
model: the mean face, which never moves, and the mean motion of the training clips, which holds still in the
best place.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from multitalk.training.data.motion_data import MotionBatch
from multitalk.training.errors import TrainingError
from multitalk.training.layers.wav2vec2 import TransformerEncoder, normalise_sound
from multitalk.training.model.face_decoder import FaceDecoder
from multitalk.training.model.motion_prior import MotionPrior
from multitalk.training.model.talker import Talker
from multitalk.training.model.tuning import TunedEncoder
from multitalk.training.reference.decoding import ReferenceDecoder
from multitalk.training.reference.prior import ReferencePrior
from multitalk.training.reference.talker import ReferenceTalker
from multitalk.training.run.codebook import Codebook
from multitalk.training.run.objectives import Losses, Prior, prior_losses, talker_losses
from multitalk.training.run.optimiser import averaged_copy, make_optimiser
from multitalk.training.run.schedule import learning_rate_factor
from multitalk.training.run_settings import TrainingSettings

Export = Callable[[nn.Module, str], None]
"""Writes a model under a name."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a task must know of its run beside the settings."""

    steps: int
    """Optimiser steps in all."""
    steps_per_epoch: int
    """Optimiser steps of one pass over the data."""
    languages: Sequence[str]
    """Names for the validation's figures, by the batch's language rows."""
    mean_motion: Tensor
    """(F,) mean motion of the training clips, the baseline."""


class Task(lightning.LightningModule, ABC):
    """Common to both models.

    Parameters
    ----------
    model : nn.Module
        What is trained.
    face : FaceDecoder
        Decodes motion.
    settings : TrainingSettings
        The run.
    context : RunContext
        Its length, and what validation needs.
    export : callable
        Called on the first process after each validation with the model and "last", and when it was the
        best so far with the model and "best".
    """

    best: Tensor
    figures: dict[str, float]
    """What was logged last before the checkpoint that this run went on from."""

    def __init__(
        self,
        model: nn.Module,
        face: FaceDecoder,
        settings: TrainingSettings,
        context: RunContext,
        export: Export,
    ) -> None:
        super().__init__()
        self.model, self.settings, self.context, self.export = model, settings, context, export
        # Frozen modules hide in a tuple: they are no part of the checkpoint, nor of what processes
        # synchronise.
        self.frozen: tuple[nn.Module, ...] = (face,)
        decay = settings.optimiser.ema_decay
        self.averaged = averaged_copy(model, decay) if decay else None
        self.register_buffer("best", torch.tensor(float("inf")))
        self._errors: list[tuple[Tensor, Tensor]] = []
        self.figures: dict[str, float] = {}

    @property
    def face(self) -> FaceDecoder:
        """The head model."""
        face = self.frozen[0]
        assert isinstance(face, FaceDecoder)
        return face

    @property
    def leaves_out_layers(self) -> bool:
        """Whether a step may leave some layers of the model without a gradient."""
        return any(isinstance(module, TunedEncoder | TransformerEncoder) for module in self.model.modules())

    @abstractmethod
    def losses(self, batch: MotionBatch) -> Losses:
        """Losses of a batch's clips."""

    @abstractmethod
    def predict_motion(self, model: nn.Module, batch: MotionBatch) -> Tensor:
        """Offsets (B, T, N) that the model makes of a batch, free-running."""

    def on_fit_start(self) -> None:
        """Bring frozen modules to the device."""
        for module in self.frozen:
            module.to(self.device).requires_grad_(False).eval()

    def on_train_epoch_start(self) -> None:
        """Seed by the round: a run that was cut off goes on with the same random numbers."""
        torch.manual_seed(hash((self.settings.seed, self.current_epoch, self.global_rank)))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the figures: a finished run logs none when it is told to go on."""
        checkpoint["figures"] = {name: float(v) for name, v in self.trainer.callback_metrics.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the figures; older checkpoints have none."""
        self.figures = checkpoint.get("figures", {})

    def training_step(self, batch: MotionBatch, _: int) -> Tensor:
        """Weighted loss of a batch."""
        losses = self.losses(batch)
        self._log_losses({"loss": losses.total, **losses.parts}, batch.weight)
        # Gradients are averaged over processes, while the weights sum to 1 over all of them.
        return (losses.total * batch.weight).sum() * self.trainer.world_size

    def _log_losses(self, losses: dict[str, Tensor], weight: Tensor) -> None:
        """Log the weighted sums of losses (B,), over the clips of all processes."""
        sums = torch.stack([(loss.detach() * weight).sum() for loss in losses.values()])
        sums = self._sum(sums)  # at once: processes wait for each other at every sum
        self.log_dict({f"train/{name}": value for name, value in zip(losses, sums, strict=True)})

    def _sum(self, values: Tensor) -> Tensor:
        """Sum over all processes."""
        sums = self.trainer.strategy.reduce(values, reduce_op="sum")
        assert isinstance(sums, Tensor)
        return sums

    def on_train_batch_end(self, outputs: Any, batch: MotionBatch, batch_idx: int) -> None:
        """Average the weights."""
        if self.averaged is not None and (batch_idx + 1) % self.settings.accumulate == 0:
            self.averaged.update_parameters(self.model)

    def validation_step(self, batch: MotionBatch, _: int) -> None:
        """Lip Vertex Error of a batch's clips, of the mean face and of the mean motion."""
        model = self.averaged.module if self.averaged is not None else self.model
        truth = self.face(batch.motion)
        mean = self.face(self.context.mean_motion.to(self.device)).expand_as(truth)
        answers = (self.predict_motion(model.eval(), batch), torch.zeros_like(truth), mean)
        errors = torch.stack([self.face.lip_error(answer, truth) for answer in answers])
        counts = batch.weight > 0
        self._errors.append((batch.language[counts], errors[:, counts]))

    def on_validation_epoch_end(self) -> None:
        """Log the errors by language, and export the model."""
        rows, errors = (torch.cat(parts, -1) for parts in zip(*self._errors, strict=True))
        self._errors.clear()
        sums = torch.zeros(len(self.context.languages), 4, device=self.device)
        sums.index_add_(0, rows, torch.cat([errors, torch.ones_like(errors[:1])]).T)
        sums = self._sum(sums)
        model, face, motion = (sums.sum(0)[:3] / sums.sum(0)[3]).tolist()
        self.log_dict({"val/lve": model, "val/lve_mean_face": face, "val/lve_mean_motion": motion})
        for name, row in zip(self.context.languages, sums.tolist(), strict=True):
            if row[3]:
                self.log(f"val/lve/{name}", row[0] / row[3])
        self._export(model)

    def _export(self, error: float) -> None:
        if not math.isfinite(error):
            raise TrainingError(
                f"validation is not a number at step {self.global_step}: lower the learning rate "
                "(`training.optimiser.learning_rate`) and begin anew, in another folder"
            )
        model = self.averaged.module if self.averaged is not None else self.model
        better = error < self.best.item()
        self.best.fill_(min(error, self.best.item()))
        if self.trainer.is_global_zero:
            self.export(model, "last")
            if better:
                self.export(model, "best")

    def configure_optimizers(self) -> Any:
        """Adam or AdamW with the settings' schedule, step by step."""
        settings = self.settings.optimiser
        optimiser = make_optimiser(settings, self.model)
        factor = learning_rate_factor(settings, self.context.steps, self.context.steps_per_epoch)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class PriorTask(Task):
    """Training of a motion prior."""

    def __init__(
        self, model: Prior, face: FaceDecoder, settings: TrainingSettings, context: RunContext, export: Export
    ) -> None:
        super().__init__(model, face, settings, context, export)
        self.model: Prior
        quantiser = model.quantize if isinstance(model, ReferencePrior) else model.quantise_latents
        self.codebook = Codebook(quantiser)

    def losses(self, batch: MotionBatch) -> Losses:
        """Losses of a batch's clips; counts the codes."""
        losses = prior_losses(self.model, self.face, batch.motion)
        assert losses.quantised is not None
        counted = losses.quantised.codes[batch.weight > 0]
        # Summed at once: a buffer that differs between processes would be overwritten by the first's.
        self.codebook.usage += self._sum(self.codebook.uses(counted))
        return losses

    def on_train_batch_start(self, batch: MotionBatch, batch_idx: int) -> None:
        """Put the codes on the latents of the run's first batch."""
        first = self.global_step == 0 and batch_idx == 0
        if first and self.settings.revive_steps:
            assert isinstance(self.model, MotionPrior)
            self.codebook.begin(self._all_latents(self.model, batch), self.settings.seed)

    def on_train_batch_end(self, outputs: Any, batch: MotionBatch, batch_idx: int) -> None:
        """Average the weights; now and then bring unused codes back."""
        super().on_train_batch_end(outputs, batch, batch_idx)
        every = self.settings.revive_steps
        if not every or self.global_step % every or (batch_idx + 1) % self.settings.accumulate:
            return
        assert isinstance(self.model, MotionPrior)
        latents = self._all_latents(self.model, batch)
        optimiser = self.optimizers()
        assert isinstance(optimiser, torch.optim.Optimizer)
        health = self.codebook.revive(latents, optimiser, self.global_step)
        self.log_dict({"codebook/perplexity": health.perplexity, "codebook/dead": health.dead_share})

    @torch.no_grad()
    def _all_latents(self, model: MotionPrior, batch: MotionBatch) -> Tensor:
        """Latents (M, L) before quantisation of the frames of all processes, of clips that count."""
        latents, counts = self.all_gather((model.encode(batch.motion).float(), batch.weight > 0))
        assert isinstance(latents, Tensor) and isinstance(counts, Tensor)
        return latents[counts].flatten(0, -2)

    def predict_motion(self, model: nn.Module, batch: MotionBatch) -> Tensor:
        """Offsets (B, T, N) of the reconstruction."""
        if isinstance(model, ReferencePrior):
            offsets: Tensor = model(self.face(batch.motion)).offsets
            return offsets
        decoded: Tensor = self.face(model(batch.motion).motion)
        return decoded


class TalkerTask(Task):
    """Training of a talker over a frozen prior."""

    def __init__(
        self,
        model: nn.Module,
        prior: Prior,
        face: FaceDecoder,
        settings: TrainingSettings,
        context: RunContext,
        export: Export,
    ) -> None:
        super().__init__(model, face, settings, context, export)
        self.frozen = (face, prior)
        if isinstance(model, ReferenceTalker):
            # As in the reference: the transformer is trained on, its convolutions are not.
            model.audio_encoder.feature_extractor.requires_grad_(False)

    @property
    def prior(self) -> Prior:
        """The frozen prior."""
        prior = self.frozen[1]
        assert isinstance(prior, ReferencePrior | MotionPrior)
        return prior

    def losses(self, batch: MotionBatch) -> Losses:
        """Losses of a batch's clips."""
        return talker_losses(self.model, self.prior, self.face, batch.motion, batch.language, batch.sound)

    def predict_motion(self, model: nn.Module, batch: MotionBatch) -> Tensor:
        """Offsets (B, T, N), free-running."""
        prior, frames = self.prior, batch.motion.shape[1]
        if isinstance(model, ReferenceTalker) and isinstance(prior, ReferencePrior):
            styles, audio = (
                model.learnable_style_emb(batch.language),
                [normalise_sound(clip) for clip in batch.sound],
            )
            # The decoder makes its tables in float32, whatever the run's precision.
            with torch.autocast(self.device.type, enabled=False):
                decoder = ReferenceDecoder(model, prior)
                return torch.stack(decoder.predict(audio, styles, [frames] * len(audio)))
        assert isinstance(model, Talker) and isinstance(prior, MotionPrior)
        motion = model.generate(prior, list(batch.sound), model.languages(batch.language))
        offsets: Tensor = self.face(torch.stack(motion))
        return offsets

"""Running a task with Lightning, so that it can be cut off anywhere and go on."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multitalk.ground.files import atomic
from multitalk.training.errors import TrainingError
from multitalk.training.run_settings import PriorRun, TalkerRun, TrainingSettings

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

    from multitalk.training.data.rounds import Rounds
    from multitalk.training.run.tasks import Task

_MACHINE = {"accelerator", "devices", "nodes", "logger"}
"""Settings that may change when a run goes on."""
_LEFT_BY_A_RUN = ("last.ckpt", "last.pt", "best.pt")
"""What there is to go on from, or to lose."""
_BUILT_ON = "built_on"
"""Key of `run.json` for what a run is trained over, beside its settings."""

Progress = Callable[[str, int, int], None]
"""Told what is done (a word), how much of it, and of how much."""


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """What a run left."""

    best: Path
    """The model with the least validation error."""
    last: Path
    """The model at the end."""
    figures: dict[str, float]
    """The last logged figures by name, `val/lve` among them."""
    held_out: bool
    """Whether there were clips to validate on; without, `best` was chosen on training clips."""

    @property
    def note(self) -> str:
        """What a user must know of the figures; empty where there is nothing."""
        note = "no clip is held out (split `val`): validation figures, and the choice of best, are of training clips"
        return "" if self.held_out else note


def claim(
    folder: Path, run: PriorRun | TalkerRun, built_on: dict[str, str] | None = None, *, resume: bool
) -> None:
    """Write the settings into the folder of a run, or compare them with those that are there.

    Of several processes the first does it. A run that ended before it left anything to go on from is not there.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    run : PriorRun or TalkerRun
        Its settings.
    built_on : dict, optional
        Digests of the files that the model is trained over, by what they are: `prior`, `audio_encoder`.
    resume : bool
        Whether a run that is there already may go on.

    Raises
    ------
    TrainingError
        When the run is there already and is not to go on, or was begun with other settings or over other files.
    """
    from lightning.pytorch.utilities import rank_zero_only

    if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        return
    path, settings = folder / "run.json", run.model_dump(mode="json", exclude={"training": _MACHINE})
    settings |= {_BUILT_ON: built_on} if built_on else {}
    if not path.exists() or not any((folder / name).exists() for name in _LEFT_BY_A_RUN):
        with atomic(path) as temporary:
            temporary.write_text(json.dumps(settings, indent=1) + "\n", "utf-8")
        return
    if not resume:
        raise TrainingError(
            f"{folder}: there is a run already; go on with --resume, or choose another folder"
        )
    _compare(_begun(path), settings, folder)


def run_task(
    task: Task, rounds: Rounds, folder: Path, *, resume: bool, progress: Progress | None = None
) -> TrainedModel:
    """Train, from the folder's last checkpoint when `resume` and there is one.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C, after Lightning has ended in order.
    """
    import lightning
    from lightning.pytorch.callbacks import LambdaCallback, ModelCheckpoint

    from multitalk.training.run.checkpoint_io import WholeCheckpointIO

    def report_steps(trainer: lightning.Trainer, *_: object) -> None:
        if progress is not None and trainer.is_global_zero:
            progress("steps", trainer.global_step, rounds.steps)

    settings = task.settings
    checkpoint = folder / "last.ckpt"
    keep = ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    trainer = lightning.Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices or ("auto" if settings.accelerator != "cpu" else 1),
        num_nodes=settings.nodes,
        strategy=_strategy(settings, task),
        precision=settings.precision,
        max_epochs=rounds.count,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.optimiser.clip_norm or None,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        log_every_n_steps=min(10, settings.round_steps),
        logger=_logger(settings, folder),
        callbacks=[keep, LambdaCallback(on_train_batch_end=report_steps)],
        plugins=[WholeCheckpointIO()],
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    start = checkpoint if resume and checkpoint.exists() else None
    _ignore_profiling_timers()
    before = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(task, datamodule=rounds, ckpt_path=start, weights_only=True)
    except SystemExit as ended:
        # Lightning makes an exit without a word of Ctrl-C, and has every further one ignored.
        if not isinstance(ended.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, before)
        raise KeyboardInterrupt from None
    figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
    held_out = len(rounds.packed.of_split("val")) > 0
    # A run that was finished already logs nothing.
    return TrainedModel(folder / "best.pt", folder / "last.pt", figures or task.figures, held_out)


def _ignore_profiling_timers() -> None:
    """Let Python know that SIGPROF is to be ignored, as MediaPipe's native code has told the system already.

    Lightning ends by setting every signal to what Python remembers of it. Of SIGPROF this would be the default: the
    process would end, without a word, at the next timer of MediaPipe.
    """
    if (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGPROF) is signal.SIG_DFL
    ):
        signal.signal(signal.SIGPROF, signal.SIG_IGN)


def _strategy(settings: TrainingSettings, task: Task) -> str:
    """Tell processes to expect that some parameters get no gradient, where layers are left out by chance."""
    import torch

    gpus = torch.cuda.device_count() if settings.accelerator != "cpu" else 1
    several = (settings.devices or gpus) * settings.nodes > 1
    return "ddp_find_unused_parameters_true" if several and task.leaves_out_layers else "auto"


def _logger(settings: TrainingSettings, folder: Path) -> Logger | bool:
    if settings.logger == "none":
        return False
    if settings.logger == "wandb":
        from lightning.pytorch.loggers import WandbLogger

        if find_spec("wandb") is None:
            raise TrainingError("`training.logger` is wandb, which is not installed: pip install wandb")
        return WandbLogger(save_dir=folder, project="multitalk", name=f"{folder.parent.name}-{folder.name}")
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(folder.parent, name=folder.name, version="curves")


def _begun(path: Path) -> dict[str, Any]:
    """Read the settings that a run was begun with."""
    try:
        begun = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise TrainingError(f"{path}: not readable ({error})") from error
    if not isinstance(begun, dict):
        raise TrainingError(f"{path}: holds no settings of a run; choose another folder")
    return begun


def _compare(begun: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    """Refuse to go on with other settings, or over another prior or audio encoder."""
    # Older runs did not write down what they were trained over.
    before = begun.pop(_BUILT_ON, {})
    after = now.pop(_BUILT_ON, {})
    if begun != now:
        differing = ", ".join(_differences(begun, now))
        raise TrainingError(
            f"{folder}: the run was begun with other settings ({differing}); use those to go on"
        )
    for name in before.keys() & after.keys():
        if before[name] != after[name]:
            raise TrainingError(
                f"{folder}: the run was begun with {name.replace('_', ' ')} {before[name]}, this is {after[name]}; "
                "give that one to go on, or choose another folder"
            )


def _differences(begun: Any, now: Any, path: str = "") -> list[str]:
    """Names of settings that differ between two dumps."""
    if isinstance(begun, dict) and isinstance(now, dict):
        names = sorted(begun.keys() | now.keys())
        return [d for n in names for d in _differences(begun.get(n), now.get(n), f"{path}.{n}".lstrip("."))]
    return [] if begun == now else [path]

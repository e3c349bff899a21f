"""Logged curves of a training run, read back."""

from pathlib import Path


def read_curve(folder: Path, name: str) -> list[tuple[int, float]]:
    """Read steps and values of a figure that a run logged for TensorBoard.

    Parameters
    ----------
    folder
        The run's: `prior` or `talker` of an experiment.
    name
        Such as `train/loss`.

    Raises
    ------
    KeyError
        The run logged no such figure.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "curves"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]

"""Plot of one clip over time: lip error of each model, and how far its lips open."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from multitalk.eval.motion.metric import MotionPair


def plot_clip(path: Path, pairs: Mapping[str, MotionPair], title: str = "") -> None:
    """Draw largest lip error and inner-lip gap over time.

    Parameters
    ----------
    path
        `.png`, `.svg` or `.pdf` file to write.
    pairs
        The clip's truth and prediction by model.
    title
        Above the plot.

    Raises
    ------
    ValueError
        There is no model, or the file's kind is not known.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as missing:
        raise ValueError(f"{path}: plots need pip install 'multitalk[eval]'") from missing
    if not pairs or path.suffix not in (".png", ".svg", ".pdf"):
        raise ValueError(f"{path}: give at least one model, and a .png, .svg or .pdf file")
    figure = Figure(figsize=(9, 5), layout="constrained")
    error, gap = figure.subplots(2, 1, sharex=True)
    first = next(iter(pairs.values()))
    if first.regions.inner_lips is not None:
        seconds = np.arange(first.frame_count) / first.fps
        gap.plot(seconds, 1000 * first.inner_lip_gap[0], "k", linewidth=2, label="ground truth")
    for name, pair in pairs.items():
        seconds = np.arange(pair.frame_count) / pair.fps
        error.plot(seconds, 1000 * np.sqrt(pair.lip_squared_error), label=name)
        if pair.regions.inner_lips is not None:
            gap.plot(seconds, 1000 * pair.inner_lip_gap[1], label=name)
    error.set(ylabel="largest lip error, mm", title=title)
    gap.set(ylabel="inner-lip gap, mm", xlabel="seconds")
    for axes in (error, gap):
        axes.grid(alpha=0.3)
        axes.set_ylim(bottom=0)
    error.legend(loc="upper right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)

"""What a fit gives: a motion and how well it fits, or that it diverged."""

from __future__ import annotations

from dataclasses import dataclass

from multitalk.fit_flame.parameters.motion import Motion


class FitDiverged(Exception):  # noqa: N818 - the manifest's error code is fit_diverged
    """The landmarks of a clip cannot be explained by the head model, or there are none."""


@dataclass(frozen=True, slots=True)
class FitResult:
    """A fitted clip and how well it fits.

    Errors are mean 2-D distances between detected and fitted landmarks over the valid frames, divided by the
    clip's inter-ocular distance: the median over valid frames of the distance of the outer eye corners.
    """

    motion: Motion
    """The motion; `motion.residual` is the error of each frame."""
    landmark_error: float
    """Over all landmarks of the head model's embedding, irises left out."""
    landmark_error_lips: float
    """Over the lips' landmarks."""
    jitter: float
    """How far the fitted landmarks tremble, share of inter-ocular distance: the standard deviation of white noise that
    has their fourth differences, the median over frames, so that neither motion nor a single jump counts."""
    interocular_px: float
    """The clip's inter-ocular distance, pixels."""

"""Fit a head model to a clip's landmarks: the room's main entry.

`fit_clip` poses every frame in closed form, fits shape and focal length on key frames, refines all frames
alone, and then all frames together under the temporal prior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from fit_flame.landmark_layout import Region
from fit_flame.motion import Motion

if TYPE_CHECKING:
    from fit_flame.head_model import HeadModel


class FitDiverged(Exception):  # noqa: N818 - the manifest's error code is fit_diverged
    """The landmarks of a clip cannot be explained by the head model, or there are none."""


class RegionSigma(BaseModel):
    """Standard deviation of landmarks about the model, as a share of the inter-ocular distance."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lips: float = Field(0.005, gt=0, description="Inner and outer lips.")
    eyes: float = Field(0.006, gt=0, description="Eyelids.")
    brows: float = Field(0.007, gt=0, description="Brows.")
    oval: float = Field(0.008, gt=0, description="Outline of the face, which slides along the skin.")
    skin: float = Field(0.006, gt=0, description="Everything else.")
    gap: float = Field(
        0.003, gt=0, description="Lip gaps, mouth width and lid gaps: differences of landmarks."
    )

    depth: float = Field(
        0.04, gt=0, description="Depth about the face's mean, of which detectors know little."
    )

    def of(self, region: str) -> float:
        """Return the standard deviation of a region."""
        value: float = getattr(self, region)
        return value


class FitSettings(BaseModel):
    """How motion is fitted to landmarks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sigma: RegionSigma = Field(
        default_factory=RegionSigma, description="Standard deviations of the landmarks."
    )
    outlier: float = Field(
        4.0, gt=0, description="Standard deviations beyond which a landmark is an outlier."
    )
    shape: bool = Field(True, description="Fit one identity per clip; else keep the mean face.")
    key_frames: int = Field(12, ge=1, description="Frames from which identity and focal length are fitted.")
    field_of_view_deg: tuple[float, float] = Field(
        (20.0, 60.0), description="Limits of the camera's field of view over the image's side, degrees."
    )
    smooth_head: float = Field(
        10.0, ge=0, description="Weight of the head's constant velocity against the landmarks' information."
    )
    smooth_face: float = Field(
        4.0,
        ge=0,
        description="Weight of an unmoving face against the landmarks' information, while it rests.",
    )
    resting: float = Field(
        0.004,
        gt=0,
        description="Motion of lips or lids per frame, as a share of the inter-ocular distance, "
        "from which the face counts as moving and smoothing lets go.",
    )
    steady: float = Field(
        0.005,
        gt=0,
        description="Change of the head's velocity per frame, as a share of the inter-ocular distance, "
        "from which smoothing lets go.",
    )
    identity_iterations: int = Field(6, ge=0, description="Iterations on the key frames.")
    frame_iterations: int = Field(4, ge=1, description="Iterations of every frame alone.")
    chain_iterations: int = Field(
        2, ge=0, description="Iterations of all frames together; 0: no temporal prior."
    )
    max_error: float = Field(
        0.05,
        gt=0,
        description="Mean landmark error (share of inter-ocular distance) above which a fit diverged.",
    )
    device: str = Field("cpu", description="Torch device, for instance cpu or cuda.")


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
    """Root mean square second difference of the fitted landmarks, share of inter-ocular distance."""
    interocular_px: float
    """The clip's inter-ocular distance, pixels."""


def fit_clip(
    landmarks: npt.NDArray[np.float32],
    valid: npt.NDArray[np.bool_],
    head_model: HeadModel,
    settings: FitSettings | None = None,
    *,
    image_size: int = 512,
    fps: float = 25.0,
    confidence: npt.NDArray[np.float32] | None = None,
) -> FitResult:
    """Fit a head model to the landmarks of one clip.

    Parameters
    ----------
    landmarks
        (T, 478, 3) or (T, 478, 2) pixels, y down; NaN where not valid. Depth, if
        given, steadies what one view hardly shows; it is trusted by `settings.sigma.depth`.
    valid
        (T,) frames with landmarks. Others come out with `valid` False and values from the temporal prior.
    head_model
        The head model.
    settings
        Fit settings.
    image_size
        Side of the square image, pixels; its middle is the principal point.
    fps
        Frames a second, kept in the motion.
    confidence
        (T, 478) trust in each landmark, 0 to 1; all 1 if None.

    Raises
    ------
    FitDiverged
        When no frame is valid, or the fit ends with an error above `settings.max_error`.
    """
    from fit_flame.clip_fit import fit_batch

    [result] = fit_batch(
        [landmarks],
        [valid],
        head_model,
        settings or FitSettings(),
        image_size=image_size,
        fps=fps,
        confidences=None if confidence is None else [confidence],
    )
    if isinstance(result, FitDiverged):
        raise result
    return result


__all__ = ["FitDiverged", "FitResult", "FitSettings", "Region", "RegionSigma", "fit_clip"]

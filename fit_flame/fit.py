"""Fit a head model to a clip's landmarks: the room's main entry.

`fit_clip` poses every frame in closed form, fits shape and focal length on key frames, refines all frames
alone, and then all frames together under the temporal prior.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.solving.result import FitDiverged, FitResult
from multitalk.fit_flame.solving.settings import FitSettings, RegionSigma
from multitalk.ground.landmark_layout import LandmarkRegion

if TYPE_CHECKING:
    from multitalk.fit_flame.heads.head_model import HeadModel
    from multitalk.fit_flame.regressors.interface import Coefficients


def fit_clip(
    landmarks: npt.NDArray[np.float32],
    valid: npt.NDArray[np.bool_],
    head_model: HeadModel,
    settings: FitSettings | None = None,
    *,
    image_size: int = 512,
    fps: float = 25.0,
    confidence: npt.NDArray[np.float32] | None = None,
    regressed: Coefficients | None = None,
) -> FitResult:
    """Fit a head model to the landmarks of one clip.

    Parameters
    ----------
    landmarks
        (T, N, 3) or (T, N, 2) pixels, y down; NaN where not valid. N is 478, or what the head model's
        embedding was made for (`multitalk.fit_flame.landmarks.embedding.detected_embedding`). Depth, if given,
        steadies what one view hardly shows; it is trusted by `settings.sigma.depth`.
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
        (T, N) trust in each landmark, 0 to 1; all 1 if None.
    regressed
        Where the fit starts, from a learned regressor; from the landmarks alone if None.

    Raises
    ------
    HeadModelError
        When the regressor's coefficients belong to another head model.
    FitDiverged
        When no frame has usable landmarks, or the fit ends with an error above `settings.max_error`.
    """
    from multitalk.fit_flame.clip_fit import fit_batch

    [result] = fit_batch(
        [landmarks],
        [valid],
        head_model,
        settings or FitSettings(),
        image_size=image_size,
        fps=fps,
        confidences=None if confidence is None else [confidence],
        regressed=None if regressed is None else [regressed],
    )
    if isinstance(result, FitDiverged):
        raise result
    return result


__all__ = ["FitDiverged", "FitResult", "FitSettings", "LandmarkRegion", "RegionSigma", "fit_clip"]

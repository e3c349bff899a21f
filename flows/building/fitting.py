"""From a clip's landmarks, and its frames where a regressor wants them, to motion."""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from multitalk.assets.fetch import require
from multitalk.fit_flame.fit import FitResult, fit_clip
from multitalk.fit_flame.heads.head_model import HeadModel
from multitalk.fit_flame.regressors.settings import RegressorSettings
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.modelling.detectors import detected_layout
from multitalk.flows.modelling.head_models import CANONICAL, load_head_model
from multitalk.manifests.media import read_frames

if TYPE_CHECKING:
    from multitalk.fit_flame.regressors.interface import Coefficients, Regressor


class Fitter:
    """Fits clips as a build's settings say. Models are loaded when first needed, and kept."""

    def __init__(self, settings: BuildSettings) -> None:
        self._settings = settings

    def check(self) -> None:
        """Load every model, so that what is missing or does not go together is told before hours of work.

        Raises
        ------
        AssetError, HeadModelError
            A model's file is not here, is damaged, or the regressor was trained on another head model.
        """
        if self._settings.regressor is not None:
            from multitalk.fit_flame.regressors.start import require_trained_on

            require_trained_on(self.head_model)
            self._regressor  # noqa: B018  loads it
        elif self._settings.head_model != CANONICAL:
            self.head_model  # noqa: B018

    def fit(self, clip: Path, landmarks: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]) -> FitResult:
        """Fit a clip: to its landmarks, to them from a regressor's start, or by the regressor alone.

        Parameters
        ----------
        clip
            The trimmed clip; its frames are read only for a regressor.
        landmarks, valid
            (T, N, 3) pixels, and (T,) frames that have them.

        Raises
        ------
        FitDiverged
            As `fit_clip` and `regressed_motion`.
        """
        chosen = self._settings.regressor
        if chosen is None:
            return fit_clip(landmarks, valid, self.head_model, self._settings.fit)
        regressed = self._regress(clip, landmarks, valid, chosen)
        if chosen.use == "initial":
            return fit_clip(landmarks, valid, self.head_model, self._settings.fit, regressed=regressed)
        from multitalk.fit_flame.regressors.motion import regressed_motion

        return regressed_motion(regressed, landmarks, self.head_model, max_error=chosen.max_error)

    def _regress(
        self,
        clip: Path,
        landmarks: npt.NDArray[np.float32],
        valid: npt.NDArray[np.bool_],
        chosen: RegressorSettings,
    ) -> "Coefficients":
        from multitalk.fit_flame.regressors.regress import regress

        return regress(
            self._regressor,
            read_frames(clip),
            landmarks,
            valid,
            batch=chosen.batch,
            device=self._regressor_device,
        )

    @cached_property
    def head_model(self) -> HeadModel:
        """The head model that clips are fitted with."""
        return load_head_model(self._settings.head_model, detected_layout(self._settings.landmarks))

    @cached_property
    def _regressor(self) -> "Regressor":
        from multitalk.fit_flame.regressors.load import load_regressor

        chosen = self._settings.regressor
        assert chosen is not None
        return load_regressor(chosen.name, weights_path(chosen), self._regressor_device)

    @cached_property
    def _regressor_device(self) -> str:
        from multitalk.fit_flame.regressors.load import best_device

        assert self._settings.regressor is not None
        return self._settings.regressor.device or best_device()


def weights_path(settings: RegressorSettings) -> Path:
    """Return where a regressor's checkpoint is; raises AssetMissing with where to get it if nowhere."""
    return settings.weights or require(settings.name)


def regressor_version(settings: RegressorSettings) -> str:
    """Return name and hash of a regressor's checkpoint, for the manifest's column `tool_versions`."""
    with weights_path(settings).open("rb") as file:
        return f"{settings.name}:{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"

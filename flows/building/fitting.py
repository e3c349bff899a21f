"""From the landmarks of a video's clips, and their frames where a regressor wants them, to motion."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from multitalk.assets.fetch import require
from multitalk.fit_flame.fit import FitDiverged, FitResult
from multitalk.fit_flame.heads.head_model import HeadModel
from multitalk.fit_flame.regressors.settings import RegressorSettings
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.modelling.detectors import detected_layout
from multitalk.flows.modelling.head_models import CANONICAL, load_head_model
from multitalk.ground.devices import chosen_device
from multitalk.manifests.media import read_frames

if TYPE_CHECKING:
    from multitalk.fit_flame.regressors.interface import Coefficients, Regressor


@dataclass(frozen=True, slots=True)
class FaceToFit:
    """What was seen of the face in a clip."""

    picture: Path
    """The trimmed clip; its frames are read only for a regressor."""
    landmarks: npt.NDArray[np.float32]
    """(T, N, 3) pixels, NaN where not valid."""
    valid: npt.NDArray[np.bool_]
    """(T,) frames that have them."""
    scale: float = 1.0
    """Pixels of the clip a pixel of the source video."""
    confidence: npt.NDArray[np.float32] | None = None
    """(T, N) trust in each landmark, 0 to 1; all 1 if None."""


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

    def fit(self, clips: Sequence[FaceToFit]) -> list[FitResult | FitDiverged]:
        """Fit clips of a source video: to their landmarks, to them from a regressor's start, or by the regressor alone.

        Clips of one person get one shape and one camera, which come from those that can be fitted. They depend on
        which clips these are, so whoever fits one of a video's clips fits all of them.

        Parameters
        ----------
        clips
            What was seen in each clip.

        Returns
        -------
        list
            For each clip its fit, or why there is none.
        """
        chosen = self._settings.regressor
        if chosen is not None and chosen.use == "only":
            return [self._regressed_alone(clip, chosen) for clip in clips]
        starts = None if chosen is None else [self._regress(clip, chosen) for clip in clips]
        found: list[FitResult | FitDiverged] = list(self._fit_together(clips, starts))
        good = [i for i, result in enumerate(found) if isinstance(result, FitResult)]
        while (
            0 < len(good) < len(clips)
        ):  # those that can not be fitted must have no part in the others' shape
            rest = self._fit_together(
                [clips[i] for i in good], None if starts is None else [starts[i] for i in good]
            )
            for i, result in zip(good, rest, strict=True):
                found[i] = result
            left = [i for i in good if isinstance(found[i], FitResult)]
            if left == good:
                break
            good = left
        return found

    def _fit_together(
        self, clips: Sequence[FaceToFit], starts: "Sequence[Coefficients] | None"
    ) -> list[FitResult | FitDiverged]:
        from multitalk.fit_flame.clip_fit import fit_batch
        from multitalk.fit_flame.landmarks.likeness import persons

        landmarks, valids = [clip.landmarks for clip in clips], [clip.valid for clip in clips]
        confidences = [
            np.ones(clip.landmarks.shape[:2], np.float32) if clip.confidence is None else clip.confidence
            for clip in clips
        ]
        return fit_batch(
            landmarks,
            valids,
            self.head_model,
            self._settings.fit,
            confidences=confidences,
            regressed=starts,
            persons=persons(landmarks, valids, self.head_model),
            scales=[clip.scale for clip in clips],
        )

    def _regressed_alone(self, clip: FaceToFit, chosen: RegressorSettings) -> FitResult | FitDiverged:
        from multitalk.fit_flame.regressors.motion import regressed_motion

        try:
            regressed = self._regress(clip, chosen)
            return regressed_motion(regressed, clip.landmarks, self.head_model, max_error=chosen.max_error)
        except FitDiverged as error:
            return error

    def _regress(self, clip: FaceToFit, chosen: RegressorSettings) -> "Coefficients":
        from multitalk.fit_flame.regressors.regress import regress

        return regress(
            self._regressor,
            read_frames(clip.picture),
            clip.landmarks,
            clip.valid,
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
        assert self._settings.regressor is not None
        return chosen_device(self._settings.regressor.device)


def weights_path(settings: RegressorSettings) -> Path:
    """Return where a regressor's checkpoint is; raises AssetMissing with where to get it if nowhere."""
    return settings.weights or require(settings.name)


def regressor_version(settings: RegressorSettings) -> str:
    """Return name and hash of a regressor's checkpoint, for the manifest's column `tool_versions`."""
    with weights_path(settings).open("rb") as file:
        return f"{settings.name}:{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"

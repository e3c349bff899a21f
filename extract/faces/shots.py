"""Cuts inside a clip, found while its frames pass by."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

_SIDE = 32
_LARGE = 512  # pixels of the shorter side; averaging all of a larger picture took longer than finding faces
_LAGS = (1, 2, 3)  # a flash of one or two frames gives way to what was there before
# Mean change of a pixel, of full scale. Talking heads change by 0.005 to 0.05 a frame, a walking figure by up
# to 0.1; two speakers before walls of the same grey differ by 0.12. A jump cut, in which the same person before
# the same wall only sits otherwise, stays below; where landmarks are, `multitalk.filters.continuity` finds it.
_CUT = 0.10
_STANDS_OUT = 4.0  # times the changes around it: a camera in motion changes much, but always
_AROUND = 6  # frames on each side


class ShotDetector:
    """Collects how much each frame differs from those before it; memory is three numbers a frame.

    A cut is a change of the picture that is large, stands out of the changes around it, and lasts. Fades and
    dissolves are not found.
    """

    def __init__(self) -> None:
        self._recent: list[FloatArray] = []
        self._changes: list[list[float]] = []

    def add(self, frame: npt.NDArray[np.uint8]) -> float:
        """Take the next frame, (H, W, 3) RGB; returns its mean change from the one before, 0 for the first."""
        import cv2

        shorter = min(frame.shape[:2])
        scale = _LARGE / 2 / shorter if shorter > _LARGE else 1.0
        some = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
        resized = cv2.resize(some, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        small: FloatArray = resized.astype(np.float32) / np.float32(255)
        changes = [float(np.abs(small - before).mean()) for before in self._recent]
        self._changes.append(changes + [np.inf] * (len(_LAGS) - len(changes)))
        self._recent = [small, *self._recent[: len(_LAGS) - 1]]
        return changes[0] if changes else 0.0

    def changes(self) -> npt.NDArray[np.float64]:
        """Mean change (T,) of each frame from the one before, 0..1 of full scale; infinity for the first."""
        return np.asarray(self._changes).reshape(-1, len(_LAGS))[:, 0]

    def cuts(self) -> list[int]:
        """Return the frames that begin a new shot, the first frame of all left out."""
        changes = np.asarray(self._changes).reshape(-1, len(_LAGS))
        step = changes[:, 0]
        # The new picture differs from all of the last three old ones, and the next two from the last old one.
        lasting = np.minimum(changes.min(axis=1), _ahead(changes[:, 1], 1))
        lasting = np.minimum(lasting, _ahead(changes[:, 2], 2))
        return [
            int(frame)
            for frame in np.flatnonzero(lasting > _CUT)
            if frame > 0 and step[frame] > _STANDS_OUT * _usual_change(step, int(frame))
        ]


def _ahead(values: npt.NDArray[np.float64], frames: int) -> npt.NDArray[np.float64]:
    """Values (T,) that many frames later; infinity beyond the end."""
    return np.append(values[frames:], np.full(min(frames, len(values)), np.inf))


def _usual_change(step: npt.NDArray[np.float64], frame: int) -> float:
    """Median change from frame to frame around `frame`, itself and the first frame left out."""
    around = np.arange(max(1, frame - _AROUND), min(len(step), frame + _AROUND + 1))
    around = around[around != frame]
    return float(np.median(step[around])) if len(around) else 0.0

"""Whether a face speaks: LR-ASD's score of a clip.

The network hears the sound and sees the lower half of the face. It tells who of several faces speaks, and a
still or singing mouth from a talking one; it does not tell whether sound and lips are in sync
(`multitalk.filters.sync.score`). Its weights are an asset (`lr_asd`); without them clips have no `speaking_score`.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from multitalk.filters.speech import as_float
from multitalk.filters.sync.mfcc import mfcc
from multitalk.ground.devices import chosen_device
from multitalk.ground.face_layout import face_boxes
from multitalk.ground.units import FPS

if TYPE_CHECKING:
    from multitalk.filters.sync.lr_asd import LrAsd

SIDE = 112

_STEPS_PER_FRAME = 4  # of the audio coefficients
_MIN_FRAMES = 5
_MEDIAN_FRAMES = 13
_BORDER_GRAY = 110
_WINDOW_SECONDS = (1, 2, 3, 4, 5, 6)
_PIECE_FRAMES = 250  # seen by the encoders at a time: bounds memory

Faces = npt.NDArray[np.uint8]


class ActiveSpeaker:
    """LR-ASD on one device. Deterministic on the CPU.

    Parameters
    ----------
    weights
        The published file (the asset `lr_asd`).
    device
        Torch device; None takes CUDA where there is one.

    Raises
    ------
    ValueError
        The file holds other weights.
    """

    def __init__(self, weights: Path, device: str | None = None) -> None:

        from multitalk.filters.sync.lr_asd import load_lr_asd

        self._device = chosen_device(device)
        self._network: LrAsd = load_lr_asd(weights).to(self._device)

    def frame_scores(self, faces: Faces, samples: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Score each frame: above 0 the face speaks; about 5 for clear talk, -2 for a still mouth.

        The score is the difference of the network's two logits, averaged over windows of 1 to 6 s laid over the
        clip, as its authors do.

        Parameters
        ----------
        faces
            (T, 112, 112) from `crop_faces`.
        samples
            (N,) int16, or floats in -1..1, 16 kHz, starting with the first frame; cut or padded with silence.
        """
        import torch

        coefficients = _coefficients(samples, len(faces))
        scores = np.zeros(len(faces), np.float32)
        with torch.inference_mode():
            for start in range(0, len(faces), _PIECE_FRAMES):
                piece = slice(start, start + _PIECE_FRAMES)
                steps = slice(start * _STEPS_PER_FRAME, (start + _PIECE_FRAMES) * _STEPS_PER_FRAME)
                audio, visual = self._network.embed(
                    torch.from_numpy(faces[piece]).to(self._device).float()[None],
                    torch.from_numpy(coefficients[steps]).to(self._device)[None],
                )
                for seconds in _WINDOW_SECONDS:
                    size = seconds * FPS
                    for first in range(0, audio.shape[1], size):
                        window = slice(first, first + size)
                        logits = self._network.logits(audio[:, window], visual[:, window])[0]
                        difference = (logits[:, 1] - logits[:, 0]).cpu().numpy()
                        scores[piece][window] += difference / len(_WINDOW_SECONDS)
        return scores

    def measure(
        self, video: Path, landmarks: npt.NDArray[np.float32], samples: npt.NDArray[Any]
    ) -> float | None:
        """`speaking_score` of one face of a clip: the mean score of the frames where it is tracked.

        Parameters
        ----------
        video
            The clip, decoded once more.
        landmarks
            (T, N, 3) points of the face in pixels of the clip, NaN where it is not seen.
        samples
            (N,) int16, or floats in -1..1, 16 kHz.

        Returns
        -------
        The score; None where the face is seen in fewer than 5 frames.
        """
        seen = np.isfinite(landmarks[:, 0, 0])
        if np.count_nonzero(seen) < _MIN_FRAMES:
            return None
        faces = crop_faces(_gray_frames(video), landmarks)
        return float(self.frame_scores(faces, samples)[: len(faces)][seen[: len(faces)]].mean())


def crop_faces(frames: Iterable[Faces], landmarks: npt.NDArray[np.float32]) -> Faces:
    """Cut out what the network sees of a face: gray, 112 x 112, from below the eyes to below the chin.

    Parameters
    ----------
    frames
        Gray frames (H, W); as many as there are, or as there are landmarks.
    landmarks
        (T, N, 3) points of the face in pixels of the frames; NaN frames are interpolated.
    """
    import cv2

    crops = []
    for frame, (x, y, half) in zip(frames, _boxes(landmarks), strict=False):
        # The published crop is 2.8 half-sizes wide, reaches from 1 above to 1.8 below the centre, and has its
        # central half used: a square of 1.4 half-sizes whose centre lies 0.4 below.
        scale = SIDE / (1.4 * half)
        shift = np.array([[scale, 0, SIDE / 2 - scale * x], [0, scale, SIDE / 2 - scale * (y + 0.4 * half)]])
        crops.append(
            cv2.warpAffine(
                frame, shift, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderValue=(_BORDER_GRAY,) * 3
            )
        )
    return np.asarray(crops, np.uint8).reshape(-1, SIDE, SIDE)


def _boxes(landmarks: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Centre x, y and half of the longer side of each frame's face (T, 3), steadied by a median over time."""
    from scipy.ndimage import median_filter

    seen = np.flatnonzero(np.isfinite(landmarks[:, 0, 0]))
    found = face_boxes(landmarks[seen]).astype(np.float64)
    low, high = found[:, :2], found[:, 2:]
    known = np.column_stack([(low + high) / 2, (high - low).max(axis=1) / 2])
    every = np.arange(len(landmarks))
    boxes = np.column_stack([np.interp(every, seen, known[:, column]) for column in range(3)])
    boxes = median_filter(boxes, size=(_MEDIAN_FRAMES, 1), mode="nearest")
    boxes[:, 2] = np.maximum(boxes[:, 2], 1)
    return np.asarray(boxes)


def _coefficients(samples: npt.NDArray[Any], frames: int) -> npt.NDArray[np.float32]:
    """Exactly four steps (4T, 13) to a frame; the last ones are repeated where the window ends too early."""
    audio = as_float(samples)[: frames * _STEPS_PER_FRAME * 160]
    audio = np.pad(audio, (0, frames * _STEPS_PER_FRAME * 160 - len(audio)))
    steps = mfcc(np.round(audio * 32768).clip(-32768, 32767).astype(np.int16))
    return np.pad(steps, ((0, frames * _STEPS_PER_FRAME - len(steps)), (0, 0)), mode="edge")


def _gray_frames(video: Path) -> Iterator[Faces]:
    import av

    with av.open(str(video)) as container:
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="gray"), np.uint8)

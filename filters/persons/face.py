"""A face as 128 numbers: pictures of it, laid eye over eye, through dlib's descriptor."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from multitalk.ground.devices import chosen_device
from multitalk.ground.face_layout import layout_of

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Bool, Float, Float32, UInt8

DESCRIPTOR_SIZE = 128
LOOKS = 3
"""Frames of a clip that are looked at; their descriptors' mean is the clip's."""

_SIDE = 150
_OVERSAMPLED = 2  # a picture is first made larger, so that averaging takes out what is too fine for it
# Where the picture has the corners of the eyes and the base of the nose, of its side: a quarter of margin around the
# face, as dlib cuts it (`get_face_chip_details`). Outer and inner corner of the eye on the right, then on the left.
_POINTS = (263, 362, 33, 133, 2)
_PLACES = (
    np.array(
        [
            [0.8595674595992, 0.2134981538014],
            [0.6460604764104, 0.2289674387677],
            [0.1205750620789, 0.2137274526848],
            [0.3340850613712, 0.2290642403242],
            [0.4901123135679, 0.6277975316475],
        ]
    )
    + 0.25
) / 1.5


@dataclass(frozen=True, slots=True)
class SeenFace:
    """What a clip shows of a face."""

    descriptor: npt.NDArray[np.float32]
    """(128,) mean of the looks; those of one person are less than about 0.6 apart."""
    pictures: npt.NDArray[np.uint8]
    """(looks, 150, 150, 3) RGB: what was described."""


class FaceDescriptor:
    """The network on one device. Deterministic on the CPU.

    Parameters
    ----------
    weights
        dlib's `dlib_face_recognition_resnet_model_v1.dat` (the asset `face_descriptor`).
    device
        Torch device; None takes CUDA where there is one.

    Raises
    ------
    ValueError
        The file holds another network.
    """

    def __init__(self, weights: Path, device: str | None = None) -> None:

        from multitalk.filters.persons.face_network import load_face_network

        self._device = chosen_device(device)
        self._network = load_face_network(weights).to(self._device)

    def describe(self, pictures: "UInt8[Array, 'faces 150 150 3']") -> "Float32[Array, 'faces 128']":
        """Describe faces in pictures that `aligned` has cut, RGB."""
        import torch

        batch = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)))
        with torch.inference_mode():
            found = self._network(batch.to(self._device).float())
        return np.asarray(found.cpu().numpy(), np.float32)

    def of_clip(
        self,
        clip: Path,
        landmarks: "Float32[Array, 'frames points 3']",
        valid: "Bool[Array, ' frames']",
    ) -> SeenFace | None:
        """Describe the face that landmarks follow through a clip.

        Parameters
        ----------
        clip
            Its video.
        landmarks
            (T, N, 3) in pixels of the clip.
        valid
            (T,) frames in which the face is seen.

        Returns
        -------
        None where the face is in no frame.

        Raises
        ------
        ClipError
            The video can not be decoded.
        """
        from multitalk.extract.faces.clip_frames import ClipFrames

        wanted = looks(landmarks, valid)
        if not wanted:
            return None
        pictures = []
        with ClipFrames(clip) as frames:
            for number, frame in enumerate(frames):
                if number in wanted:
                    pictures.append(aligned(frame, landmarks[number]))
                if number >= wanted[-1]:
                    break
        if not pictures:
            return None
        faces = np.stack(pictures)
        return SeenFace(self.describe(faces).mean(axis=0), faces)


def looks(landmarks: "Float32[Array, 'frames points 3']", valid: "Bool[Array, ' frames']") -> list[int]:
    """Choose the frames to look at: in each third of those with the face, where it faces the camera most.

    Turned heads are described worst. How far one is turned is taken from where the nose's base lies between the
    outer corners of the eyes.
    """
    seen = np.flatnonzero(valid & np.isfinite(landmarks[:, :, :2]).all(axis=(1, 2)))
    if not len(seen):
        return []
    right, left, nose = (landmarks[seen, row, :2] for row in layout_of(landmarks).rows((263, 33, 2)))
    turned = np.abs(np.linalg.norm(nose - right, axis=1) - np.linalg.norm(nose - left, axis=1))
    turned = turned / np.maximum(np.linalg.norm(right - left, axis=1), 1)
    thirds = np.array_split(np.arange(len(seen)), LOOKS)
    return sorted(int(seen[part[np.argmin(turned[part])]]) for part in thirds if len(part))


def aligned(
    frame: "UInt8[Array, 'high wide 3']", landmarks: "Float[Array, 'points 3']"
) -> "UInt8[Array, '150 150 3']":
    """Cut a face out of a frame, turned upright, its eyes and nose in their places.

    Parameters
    ----------
    frame
        (H, W, 3) RGB.
    landmarks
        (N, 3) in pixels of the frame.
    """
    import cv2

    rows = layout_of(landmarks).rows(_POINTS)
    side = _SIDE * _OVERSAMPLED
    way = _similarity(landmarks[rows, :2].astype(np.float64), _PLACES * side)
    large = cv2.warpAffine(frame, way, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(large, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def _similarity(source: npt.NDArray[np.float64], target: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Turn, scale and shift (2, 3) that brings points (N, 2) nearest to others: least squares over complex numbers."""
    a, b = source @ [1, 1j], target @ [1, 1j]
    centred = a - a.mean()
    factor = np.vdot(centred, b - b.mean()) / max(np.vdot(centred, centred).real, 1e-9)
    shift = b.mean() - factor * a.mean()
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])

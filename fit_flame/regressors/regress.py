"""A regressor over a clip, a batch of frames at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from multitalk.fit_flame.regressors.crop import cut, to_frame, windows
from multitalk.fit_flame.regressors.interface import Coefficients, Regressor

Frame = npt.NDArray[np.uint8]


def regress(
    regressor: Regressor,
    frames: Iterable[Frame],
    landmarks: npt.NDArray[np.floating],
    valid: npt.NDArray[np.bool_],
    *,
    batch: int = 16,
    device: str = "cpu",
) -> Coefficients:
    """Run a regressor over the frames of a clip.

    Only `batch` frames are held at a time; of the others no more than the network's features.

    Parameters
    ----------
    regressor
        From `load_regressor`.
    frames
        T frames (H, W, 3), RGB, all of one size.
    landmarks
        (T, 478, 2 or 3) pixels of the frames, which say where the face is.
    valid
        (T,) frames with landmarks.
    batch
        Frames that go through the network at once.
    device
        Where the network is.

    Raises
    ------
    ValueError
        When no frame is valid, or there are not as many frames as landmarks.
    """
    places = windows(landmarks, valid, regressor.crop)
    codes: list[Tensor] = []
    done = 0
    with torch.inference_mode():
        for chunk in _batches(frames, batch):
            where = torch.as_tensor(places[done : done + len(chunk)], dtype=torch.float32, device=device)
            if len(where) != len(chunk):
                raise ValueError(f"more frames than the {len(landmarks)} with landmarks")
            pixels = torch.from_numpy(np.stack(chunk)).to(device).permute(0, 3, 1, 2)
            codes.append(regressor.encode(cut(pixels, where, regressor.crop)))
            done += len(chunk)
        if done != len(landmarks):
            raise ValueError(f"{done} frames for {len(landmarks)} with landmarks")
        code = regressor.read(torch.cat(codes))
    shape, expression, jaw, eyelids, rotation, camera = (part.float().cpu().numpy() for part in code)
    return Coefficients(
        shape=shape,
        expression=expression,
        jaw=jaw,
        eyelids=eyelids,
        rotation=rotation,
        camera=to_frame(camera.astype(np.float64), places).astype(np.float32),
        valid=np.asarray(valid, bool),
    )


def _batches(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    stream = iter(frames)
    while chunk := list(islice(stream, size)):
        yield chunk

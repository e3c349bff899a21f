"""How far landmarks depend on the crop that the network is shown: it guesses what is covered, each time otherwise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from multitalk.extract.faces.clip_frames import Frame
from multitalk.extract.faces.face_networks import FaceCrop, FaceNetworks, FloatArray
from multitalk.ground.landmark_layout import LEFT_EYE, LEFT_EYE_OUTER, LIPS, RIGHT_EYE, RIGHT_EYE_OUTER

# Moved by shares of the side, scaled, and turned by radians.
_OTHER_CROPS = ((0.06, 0.04, 1.12, 0.05), (-0.05, 0.03, 0.92, -0.05))


def spread(networks: FaceNetworks, frame: Frame, crop: FaceCrop, points: FloatArray) -> tuple[float, float]:
    """Mean distance of a face's landmarks from those seen in two other crops: of the mouth, and of the eyes.

    Parameters
    ----------
    crop, points
        What the network was shown, and the landmarks (478, 3) that it saw.

    Returns
    -------
    tuple
        In inter-ocular distances. In full view 0.01, 0.02 at the most; behind a hand 0.02 to 0.05.
    """
    eyes = np.linalg.norm(points[RIGHT_EYE_OUTER, :2] - points[LEFT_EYE_OUTER, :2])
    apart = []
    for right, down, larger, turn in _OTHER_CROPS:
        centre = crop.centre[0] + right * crop.side, crop.centre[1] + down * crop.side
        other = replace(crop, centre=centre, side=crop.side * larger, angle=crop.angle + turn)
        seen, _ = networks.landmarks(frame, other)
        apart.append(np.linalg.norm(seen[:, :2] - points[:, :2], axis=1))
    mean = np.mean(apart, axis=0) / max(float(eyes), 1.0)
    return float(mean[list(LIPS)].mean()), float(mean[list(RIGHT_EYE + LEFT_EYE)].mean())

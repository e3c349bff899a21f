"""Which of MediaPipe's 478 landmarks are what.

Indices as drawn in MediaPipe's canonical face model; left and right are the person's. Landmarks of other
detectors are named by these numbers, too (`LandmarkEmbedding.detected`).
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt

LANDMARK_COUNT = 478
MESH_COUNT = 468
RIGHT_EYE_OUTER, LEFT_EYE_OUTER = 33, 263
RIGHT_MOUTH_CORNER, LEFT_MOUTH_CORNER = 61, 291

OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
LIPS = OUTER_LIPS + INNER_LIPS
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
RIGHT_BROW = (70, 63, 105, 66, 107, 46, 53, 52, 65, 55)
LEFT_BROW = (300, 293, 334, 296, 336, 276, 283, 282, 295, 285)
FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)  # starts at the forehead, clockwise in the picture's mirror image

INNER_LIP_PAIRS = (
    *((13, 14), (82, 87), (312, 317), (81, 178), (311, 402)),
    *((80, 88), (310, 318), (191, 95), (415, 324)),
)
"""(upper, lower) on the inner lips; the first is the middle of the mouth."""
MOUTH_WIDTH_PAIRS = ((RIGHT_MOUTH_CORNER, LEFT_MOUTH_CORNER), (78, 308))
EYELID_PAIRS = ((159, 145), (158, 153), (160, 144), (386, 374), (385, 380), (387, 373))
"""(upper, lower) lid."""

RIGHT_IRIS, LEFT_IRIS = range(468, 473), range(473, 478)
"""Centre first, then four points on the rim."""


class LandmarkRegion(StrEnum):
    """A part of the face whose landmarks share one standard deviation."""

    lips = "lips"
    eyes = "eyes"
    brows = "brows"
    oval = "oval"
    skin = "skin"


def regions() -> npt.NDArray[np.str_]:
    """(468,) the `LandmarkRegion` of every mesh landmark."""
    names = np.full(MESH_COUNT, LandmarkRegion.skin.value, dtype="<U5")
    for region, ids in (
        (LandmarkRegion.oval, FACE_OVAL),
        (LandmarkRegion.brows, RIGHT_BROW + LEFT_BROW),
        (LandmarkRegion.eyes, RIGHT_EYE + LEFT_EYE),
        (LandmarkRegion.lips, LIPS),
    ):
        names[list(ids)] = region.value
    return names

"""Where a head points: its rotation from the landmarks' three dimensions, and that as angles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from multitalk.ground.face_layout import layout_of

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float, Float32

# Points on bone (bridge of the nose, corners of the eyes, temples, forehead, cheekbones): speech moves them least.
_BONE = (
    *(9, 8, 168, 6, 197, 195, 5, 4),
    *(33, 133, 362, 263, 127, 356, 116, 345),
    *(10, 151, 67, 297, 109, 338),
)


def head_rotation(
    landmarks: Float32[Array, "frames points 3"], reference: Float[Array, "468 3"]
) -> Float32[Array, "frames 3"]:
    """Rotations that lay a reference head over the landmarks, by orthogonal Procrustes analysis of bone points.

    Parameters
    ----------
    landmarks
        (T, N, 3) pixels: x right, y down, z away from the viewer; NaN where not valid.
    reference
        (468, 3) MediaPipe's canonical mesh, any unit: x right in the picture, y up, z towards the viewer
        (`multitalk.fit_flame.heads.canonical.read_canonical_mesh(...).vertices`).

    Returns
    -------
    ndarray
        (T, 3) float32 axis-angle in the axes of `reference`; zero faces the camera; NaN where not valid.
    """
    from scipy.spatial.transform import Rotation

    result = np.full((len(landmarks), 3), np.nan, np.float32)
    layout = layout_of(landmarks)
    bone = layout.rows(_BONE)
    seen = np.isfinite(landmarks[:, bone]).all(axis=(1, 2))
    if not seen.any():
        return result
    points = landmarks[seen][:, bone].astype(np.float64) * [1, -1, -layout.depth]
    points -= points.mean(axis=1, keepdims=True)
    model = reference[[layout.mediapipe[row] for row in bone]]
    model = model - model.mean(axis=0)
    u, _, vt = np.linalg.svd(np.swapaxes(points, 1, 2) @ model)
    # A reflection would fit as well as a rotation; the last axis is turned back where it is one.
    u[:, :, 2] *= np.linalg.det(u @ vt)[:, None]
    result[seen] = Rotation.from_matrix(u @ vt).as_rotvec()
    return result


def head_angles(rotation: Float32[Array, "poses 3"]) -> Float32[Array, "poses 3"]:
    """Yaw, pitch and roll (N, 3) in degrees of axis-angles (N, 3), for R = Ry(yaw) Rx(-pitch) Rz(roll).

    Yaw is positive when the head turns to its left (right in the picture), pitch when it looks up, roll when
    it tilts to its right shoulder (counter-clockwise in the picture).
    """
    from scipy.spatial.transform import Rotation

    angles = Rotation.from_rotvec(rotation).as_euler("YXZ", degrees=True)
    return np.asarray(angles * [1, -1, 1], np.float32)

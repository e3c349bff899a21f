"""Motion straight from a regressor, without a fit; how well it meets the landmarks is measured all the same."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from multitalk.fit_flame.heads.head_model import HeadModel
from multitalk.fit_flame.parameters.decode import decode, project, root_joint
from multitalk.fit_flame.parameters.motion import Motion
from multitalk.fit_flame.parameters.rotation import to_matrix
from multitalk.fit_flame.regressors.interface import Coefficients
from multitalk.fit_flame.regressors.start import LEAST_SCALE, clip_shape, expression_of, require_trained_on
from multitalk.fit_flame.solving.contour import counting
from multitalk.fit_flame.solving.gaze import gaze
from multitalk.fit_flame.solving.result import FitDiverged, FitResult
from multitalk.ground import landmark_layout as layout

FloatArray = npt.NDArray[np.float32]

_FIELD_OF_VIEW_DEG = 1.0
"""So far away that a pinhole camera shows what the regressors' parallel rays do, to a few tenths of a pixel."""


def regressed_motion(
    regressed: Coefficients,
    landmarks: npt.NDArray[np.float32],
    model: HeadModel,
    *,
    max_error: float,
    image_size: int = 512,
    fps: float = 25.0,
) -> FitResult:
    """Make a motion of a regressor's coefficients.

    The clip gets one shape, the mean of its valid frames'. Nothing is smoothed. Eyes follow the irises, of
    which regressors know nothing.

    Parameters
    ----------
    regressed
        The coefficients.
    landmarks
        (T, 478, 2 or 3) pixels, to measure the motion with; not read where not valid.
    model
        The head model.
    max_error
        Mean landmark error, share of the inter-ocular distance, above which the network missed the face.
    image_size
        Side of the square image, pixels.
    fps
        Frames a second, kept in the motion.

    Raises
    ------
    HeadModelError
        When the head model is not the one that the regressors were trained on.
    FitDiverged
        When no frame is valid, or the error is above `max_error`.
    """
    require_trained_on(model)
    if not regressed.valid.any():
        raise FitDiverged("no frame of the clip has landmarks")
    motion = _placed(regressed, model, image_size, fps)
    valid = motion.valid
    points = _embedded(motion, model)
    seen = landmarks[:, model.embedding.landmarks, :2]
    eyes = landmarks[valid, layout.RIGHT_EYE_OUTER, :2] - landmarks[valid, layout.LEFT_EYE_OUTER, :2]
    interocular = float(np.median(np.linalg.norm(eyes, axis=1)))
    errors = np.linalg.norm(points - seen, axis=-1) / interocular
    counts = _counting(motion, model)
    mean = np.average(errors, axis=1, weights=counts)
    total = float(mean[valid].mean())
    if not total <= max_error:
        raise FitDiverged(
            f"mean landmark error of the regressor {total:.3f} of the inter-ocular distance is above {max_error}"
        )
    lips = layout.regions()[model.embedding.landmarks] == "lips"
    staying = points[:, counts.all(axis=0)] / interocular
    second = np.diff(staying, n=2, axis=0)[valid[2:] & valid[1:-1] & valid[:-2]]
    residual = np.where(valid, mean, np.nan).astype(np.float32)
    return FitResult(
        motion=replace(motion, residual=residual, eyes=gaze(motion, model, landmarks)),
        landmark_error=total,
        landmark_error_lips=float(errors[valid][:, lips].mean()),
        jitter=float(np.sqrt(np.square(second).sum(-1).mean())) if len(second) else 0.0,
        interocular_px=interocular,
    )


def _placed(regressed: Coefficients, model: HeadModel, image_size: int, fps: float) -> Motion:
    """Set the head before a far pinhole camera so that its size and place are the regressor's."""
    frames = len(regressed.valid)
    shape, expression = clip_shape(regressed, model), expression_of(regressed, model)
    focal = image_size / 2 / math.tan(math.radians(_FIELD_OF_VIEW_DEG) / 2)
    scale = np.maximum(regressed.camera[:, :1].astype(np.float64), LEAST_SCALE)
    root = root_joint(model, torch.from_numpy(shape), torch.from_numpy(expression)).numpy()
    turn = to_matrix(torch.from_numpy(regressed.rotation).double()).numpy()
    embedding = model.embedding
    face = np.einsum("lk,lkc->lc", embedding.barycentric, model.v_template[embedding.vertices]).mean(axis=0)
    depth = ((turn @ (face - root)[..., None])[..., 0] + root)[:, 2:]
    shift = (regressed.camera[:, 1:] - image_size / 2) * np.array([1, -1]) / scale
    return Motion(
        head_model=model.key,
        fps=fps,
        shape=shape,
        expression=expression,
        jaw=regressed.jaw,
        eyes=np.zeros((frames, 6), np.float32),
        rotation=regressed.rotation,
        translation=np.concatenate([shift, -focal / scale - depth], axis=1).astype(np.float32),
        camera=np.array([focal, image_size / 2, image_size / 2], np.float32),
        valid=regressed.valid,
        residual=np.full(frames, np.nan, np.float32),
    )


def _counting(motion: Motion, model: HeadModel) -> npt.NDArray[np.bool_]:
    """(T, L) landmarks that count: of a moving contour, those of the frame's yaw."""
    rotation = to_matrix(torch.from_numpy(motion.rotation))
    yaw = model.embedding.yaw
    known = np.full(len(model.embedding.landmarks), np.nan, np.float32) if yaw is None else yaw
    counts: npt.NDArray[np.bool_] = counting(known, rotation).numpy()
    return counts


def _embedded(motion: Motion, model: HeadModel) -> FloatArray:
    """(T, L, 2) pixels of the model's landmarks."""
    ids, corners = np.unique(model.embedding.vertices, return_inverse=True)
    vertices = decode(motion, model, vertices=ids)[:, corners.reshape(model.embedding.vertices.shape)]
    points = (vertices * model.embedding.barycentric[..., None]).sum(axis=2)
    return project(points, motion.camera)

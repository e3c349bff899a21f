"""The fit's iterations: how soon they are done, and what Adam makes of the same residuals."""

import time

import numpy as np
import torch

from multitalk.fit_flame.fit import FitSettings, fit_clip
from multitalk.fit_flame.heads.head_model import HeadModel
from multitalk.fit_flame.parameters.rotation import to_matrix
from multitalk.fit_flame.parameters.synthetic import landmarks_of, speaking
from multitalk.fit_flame.solving.batch import prepare
from multitalk.fit_flame.solving.initial import first_guess
from multitalk.fit_flame.solving.landmark_basis import landmark_basis
from multitalk.fit_flame.solving.residuals import ClipState, FrameState, place_landmarks, residuals

FRAMES = 130
PER_FRAME = FitSettings(chain_iterations=0)


def iterations(head: HeadModel, landmarks: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(T,) Gauss-Newton iterations until each frame's landmark error is within 1% of what 30 reach."""

    def error(count: int) -> np.ndarray:
        settings = PER_FRAME.model_copy(update={"frame_iterations": count})
        return fit_clip(landmarks, valid, head, settings).motion.residual[valid]

    reached = 1.01 * error(30)
    counts = range(1, 9)
    done = np.stack([error(count) <= reached for count in counts])
    return np.where(done.any(axis=0), done.argmax(axis=0) + 1, len(counts) + 1)


def adam(head: HeadModel, iterations: int = 300) -> dict[str, float]:
    """Fit the same landmarks with Adam, as trackers do: frames alone, one shape."""
    truth = speaking(head, FRAMES)
    landmarks = landmarks_of(truth, head, 0.5)
    reference = fit_clip(landmarks, truth.valid, head, PER_FRAME)
    basis = landmark_basis(head, torch.device("cpu"))
    batch = prepare(basis, FitSettings(), [landmarks], [truth.valid], None, 512)
    guess = first_guess(basis, batch.seen, batch.valid)
    frames = len(landmarks)
    unknowns = {
        "shape": torch.zeros(1, head.shape_size),
        "expression": torch.zeros(1, frames, head.expression_size),
        "jaw": torch.zeros(1, frames, 3),
        "turn": torch.zeros(1, frames, 3),
        "position": guess.position.clone(),
        "log_scale": guess.log_scale.clone(),
        "log_kappa": torch.full(
            (1,), float(np.log(2 * np.tan(np.radians(15)) / 512 * float(batch.interocular_px[0])))
        ),
    }
    for value in unknowns.values():
        value.requires_grad_()
    optimiser = torch.optim.Adam(unknowns.values(), lr=0.02)
    started = time.perf_counter()
    for _ in range(iterations):
        clip = ClipState(unknowns["shape"], unknowns["log_kappa"].exp())
        frame = FrameState(
            unknowns["expression"],
            to_matrix(unknowns["jaw"]),
            guess.rotation @ to_matrix(unknowns["turn"]),
            unknowns["position"],
            unknowns["log_scale"],
        )
        points = place_landmarks(basis, clip, frame)
        cost = residuals(batch.seen, frame, points).cost.sum() + 0.5 * sum(
            (unknowns[name] ** 2).sum() for name in ("shape", "expression")
        )
        optimiser.zero_grad()
        cost.backward()
        optimiser.step()
    seconds = time.perf_counter() - started
    error = (points.image - batch.seen.points).norm(dim=-1).mean()
    return {
        f"Adam, {iterations} iterations: frames/s": frames / seconds,
        f"Adam, {iterations} iterations: landmark error, %": 100 * float(error.detach()),
        "Levenberg-Marquardt on the same: landmark error, %": 100 * reference.landmark_error,
    }

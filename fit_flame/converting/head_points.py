"""Points that lie on two heads alike: where MediaPipe's landmarks are on both, spread over the whole face."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.heads.head_model import HeadModel, HeadModelError, LandmarkEmbedding
from multitalk.fit_flame.parameters.decode import ForwardModel
from multitalk.ground.landmark_layout import EYELID_PAIRS, INNER_LIP_PAIRS, regions

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

_FEWEST = 60
_WEIGHTS = {"lips": 3.0, "eyes": 2.0}
_LIP_GAP, _LID_GAP = 10.0, 4.0


class HeadPoints:
    """L points of a head model, as coefficients move them; the head's pose and eyes are left out.

    Parameters
    ----------
    model
        The head model.
    landmarks
        (L,) landmarks of MediaPipe's, each of which lies on it.
    """

    def __init__(self, model: HeadModel, landmarks: IntArray) -> None:
        import torch

        rows = _rows(model.embedding)
        chosen = [rows[landmark] for landmark in landmarks.tolist()]
        ids, corners = np.unique(model.embedding.vertices[chosen], return_inverse=True)
        self.model = model
        self._mix: Tensor | None = None
        self.forward = ForwardModel(model, ids, dtype=torch.float64)
        self._corners = torch.as_tensor(corners.reshape(-1, 3))
        self._barycentric = torch.as_tensor(model.embedding.barycentric[chosen].astype(np.float64))
        self.shape_directions = self._combined(torch.as_tensor(model.shapedirs[ids].astype(np.float64)))
        self.directions = self._combined(torch.as_tensor(model.expressiondirs[ids].astype(np.float64)))
        correction = model.correctiondirs
        self.corrections = (
            None
            if correction is None
            else self._combined(torch.as_tensor(correction[ids].astype(np.float64)))
        )

    def add(self, across: Array) -> None:
        """Take differences (G, L) of the points as further points, so that there are L + G."""
        import torch

        self._mix = torch.cat([torch.eye(across.shape[1]).double(), torch.as_tensor(across)])
        self.shape_directions, self.directions = (
            self._mixed(part) for part in (self.shape_directions, self.directions)
        )
        if self.corrections is not None:
            self.corrections = self._mixed(self.corrections)

    def _mixed(self, points: Tensor) -> Tensor:
        import torch

        return points if self._mix is None else torch.einsum("ml,l...->m...", self._mix, points)

    def _combined(self, values: Tensor) -> Tensor:
        """Values (N, ...) of the vertices at the points (L, ...)."""
        import torch

        return torch.einsum("lk,lk...->l...", self._barycentric, values[self._corners])

    def at(self, shape: Tensor, expression: Tensor, jaw: Tensor, correction: Tensor | None = None) -> Tensor:
        """(T, L, 3) metres, head coordinates, of a shape (S,), expressions (T, E), jaws (T, 3), corrections (T, C)."""
        import torch

        many = shape.expand(len(expression), -1)
        vertices = self.forward(many, expression, jaw=jaw, correction=correction)
        points = torch.einsum("lk,tlkx->tlx", self._barycentric, vertices[:, self._corners])
        return points if self._mix is None else self._mix @ points

    def turned_directions(self, jaw: Tensor) -> Tensor:
        """(T, L, 3, E) how the points move by expressions where the jaw (T, 3) has turned them."""
        import torch

        still = jaw.new_zeros(len(jaw), 6)
        turns = self.forward.skinning_rotation(root=jaw.new_zeros(len(jaw), 3), jaw=jaw, eyes=still)
        mean = torch.einsum("lk,tlkij->tlij", self._barycentric, turns[:, self._corners])
        own = mean @ self.directions[: len(self._corners)]
        return own if self._mix is None else torch.einsum("ml,tlxe->tmxe", self._mix, own)


def shared_landmarks(first: HeadModel, second: HeadModel) -> IntArray:
    """(L,) landmarks that lie on both heads.

    Raises
    ------
    HeadModelError
        They are too few to tell one face by the other.
    """
    shared = np.array(sorted(_rows(first.embedding).keys() & _rows(second.embedding).keys()), np.int64)
    if len(shared) < _FEWEST:
        raise HeadModelError(
            f"{first.name} and {second.name} have {len(shared)} landmarks in common, at least {_FEWEST} are needed: "
            "lay MediaPipe's 468 on the FLAME file with `multitalk head-model embed`"
        )
    return shared


def point_weights(landmarks: IntArray) -> Array:
    """(L,) how much each point counts: lips and lids more than cheeks."""
    named = regions()
    return np.array([_WEIGHTS.get(str(named[landmark]), 1.0) for landmark in landmarks])


def gaps(landmarks: IntArray) -> tuple[Array, Array]:
    """Tell which points close on each other.

    Returns
    -------
    tuple
        Differences (G, L) of the points on both sides of lips and lids, and how much each counts (G,).
    """
    row = {int(landmark): k for k, landmark in enumerate(landmarks)}
    chosen = [
        (pair, weight)
        for pairs, weight in ((INNER_LIP_PAIRS, _LIP_GAP), (EYELID_PAIRS, _LID_GAP))
        for pair in pairs
        if pair[0] in row and pair[1] in row
    ]
    differences = np.zeros((len(chosen), len(landmarks)))
    for number, ((first, second), _) in enumerate(chosen):
        differences[number, [row[first], row[second]]] = 1, -1
    return differences, np.array([weight for _, weight in chosen])


def _rows(embedding: LandmarkEmbedding) -> dict[int, int]:
    """Row of each landmark that does not slide with the head's turn."""
    still = np.ones(len(embedding.landmarks), bool) if embedding.yaw is None else np.isnan(embedding.yaw)
    return {int(embedding.landmarks[row]): int(row) for row in np.flatnonzero(still)[::-1]}

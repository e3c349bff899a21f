"""The predictor of mouths from sound that was learned from a dataset, and lies in its root."""

import hashlib
from pathlib import Path

from multitalk.filters.sync.predictor import SyncPredictor

PREDICTOR = "sync_predictor.npz"
"""Name of the predictor in a dataset's root."""
VERSION_KEY = "sync_predictor"
"""Its key in a row's `tool_versions`."""


def load_predictor(root: Path) -> SyncPredictor | None:
    """Return the predictor that was learned from a dataset; None if none was.

    Raises
    ------
    ValueError
        The file in its place is none.
    """
    place = root / PREDICTOR
    return SyncPredictor.load(place) if place.exists() else None


def predictor_version(place: Path) -> str:
    """Return the first 16 digits of a predictor file's SHA-256."""
    return hashlib.sha256(place.read_bytes()).hexdigest()[:16]

"""Schema, storage and queries of the dataset table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multitalk.manifests.dataset import Dataset

__all__ = ["open_dataset"]


def open_dataset(root: str | Path) -> Dataset:
    """Open the dataset at `root` for reading; see `multitalk.manifests.dataset.Dataset`.

    Raises
    ------
    DatasetError
        When there is no dataset at `root`.
    """
    from multitalk.manifests.dataset import Dataset

    return Dataset(Path(root))

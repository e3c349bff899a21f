"""How Lightning's checkpoints reach the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch.plugins.io import TorchCheckpointIO

from multitalk.ground.untrusted.checkpoint_file import read_content
from multitalk.training.model.checkpoints import save


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it.

    Lightning's own way is a file in the system's temporary folder, moved afterwards: between file systems that is
    a copy over the last checkpoint, and a run killed meanwhile has neither the old nor the new one.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint that is whole or not there."""
        save(checkpoint, Path(path))

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint as every file is read that may come from others; tensors on the CPU."""
        return read_content(Path(path))

"""Where the true motion of clips comes from: a folder of vertex files, or a release of a dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from eval.safe_pickle import load_arrays
from eval.vertex_files import VertexFileError, find_vertex_files, read_vertices

if TYPE_CHECKING:
    from fit_flame.head_model import HeadModel

Float32Array = npt.NDArray[np.float32]
Closures = Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class TrueClip:
    """The truth about one clip."""

    clip_id: str
    language: str
    source: str
    """Source video, or the clip where it is not known: clips of one source are not independent."""
    vertices: Float32Array
    """(T, V, 3) metres, mean identity, head pose removed."""
    fps: float = 25.0
    template: Float32Array | None = None
    """(V, 3) neutral face."""
    sound: Path | None = None


class GroundTruth(Protocol):
    """Clips with their true motion."""

    @property
    def clip_ids(self) -> Sequence[str]:
        """Every clip."""

    def load(self, clip_id: str) -> TrueClip:
        """Read one clip; raises VertexFileError, KeyError or OSError where it can not be."""


@dataclass(frozen=True, slots=True)
class FolderTruth:
    """Vertex files in a folder; parameters as `eval.vertex_files` reads them."""

    folder: Path
    template: Float32Array | None = None
    sounds: Path | None = None
    """Folder with `<clip_id>.wav`."""
    metres_per_unit: float = 1.0
    fps: float = 25.0

    @property
    def clip_ids(self) -> Sequence[str]:
        """Every clip, sorted."""
        return sorted(find_vertex_files(self.folder))

    def load(self, clip_id: str) -> TrueClip:
        """Read one clip.

        Raises
        ------
        VertexFileError
            Its file can not be read.
        """
        file = find_vertex_files(self.folder)[clip_id]
        sound = self.sounds / f"{clip_id}.wav" if self.sounds is not None else None
        return TrueClip(
            clip_id,
            file.language,
            clip_id,
            read_vertices(file.paths[0], self.metres_per_unit),
            self.fps,
            self.template,
            sound if sound is not None and sound.is_file() else None,
        )


@dataclass(frozen=True, slots=True)
class ReleaseTruth:
    """Clips of a release's split, decoded from their motion on the head model that they were fitted with."""

    root: Path
    release: str
    head_model: HeadModel
    split: str = "test"
    _rows: dict[str, dict[str, object]] = field(default_factory=dict, init=False, repr=False)

    @property
    def clip_ids(self) -> Sequence[str]:
        """Every clip of the split, sorted."""
        if not self._rows:
            from manifests.release import read_release

            table = read_release(self.root, self.release)
            wanted = [
                name
                for name in ("clip_id", "video_id", "language", "split", "audio_path")
                if name in table.column_names
            ]
            rows = table.select(wanted).to_pylist()
            self._rows.update(
                {str(row["clip_id"]): row for row in rows if row.get("split", self.split) == self.split}
            )
        return sorted(self._rows)

    def load(self, clip_id: str) -> TrueClip:
        """Decode one clip.

        Raises
        ------
        VertexFileError
            Its motion belongs to another head model.
        KeyError
            It has no motion.
        """
        import torch

        from manifests import open_dataset
        from training.face import Face

        if clip_id not in self.clip_ids:
            raise KeyError(clip_id)
        row = self._rows[clip_id]
        motion = open_dataset(self.root).motion(clip_id)
        if motion["head_model"] != self.head_model.key:
            raise VertexFileError(
                f"{clip_id}: its motion belongs to head model {motion['head_model']}, not {self.head_model.key}"
            )
        values = np.concatenate([motion["expression"], motion["jaw"]], axis=1).astype(np.float32)
        with torch.inference_mode():
            offsets = Face(self.head_model)(torch.from_numpy(values)).numpy()
        template = self.head_model.v_template
        sound = self.root / str(row["audio_path"]) if row.get("audio_path") else None
        return TrueClip(
            clip_id,
            str(row["language"]),
            str(row["video_id"]),
            offsets.reshape(len(values), -1, 3) + template,
            float(motion["fps"]),
            template,
            sound if sound is not None and sound.is_file() else None,
        )


def read_template(path: Path, metres_per_unit: float = 1.0) -> Float32Array:
    """Read a neutral face (V, 3): `.npy`, or a pickled dict like MultiTalk's `templates.pkl` (its first entry).

    Raises
    ------
    VertexFileError
        It can not be read or is no face.
    """
    try:
        pickled = path.suffix != ".npy"
        array = next(iter(load_arrays(path).values())) if pickled else np.load(path, allow_pickle=False)
    except (OSError, ValueError, StopIteration) as error:
        raise VertexFileError(f"{path}: not a readable template ({error})") from error
    if array.size % 3 or not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
        raise VertexFileError(f"{path}: {array.dtype} {array.shape} is not a neutral face (V, 3)")
    return np.asarray(array.reshape(-1, 3) * metres_per_unit, dtype=np.float32)


def read_closures(path: Path) -> Closures:
    """Read when lips close (p, b, m) in each clip, from a timed transcript.

    Parameters
    ----------
    path
        JSON: for each clip id a list of [start, end] in seconds.

    Raises
    ------
    VertexFileError
        It is not such a file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(clip): [(float(a), float(b)) for a, b in spans] for clip, spans in content.items()}
    except (OSError, AttributeError, TypeError, ValueError) as error:
        raise VertexFileError(f"{path}: not a JSON file of closures by clip ({error})") from error

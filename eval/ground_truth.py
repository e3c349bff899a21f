"""Where the true motion of clips comes from: a folder of vertex files, or a release of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from multitalk.eval.vertex_files import VertexFileError, find_vertex_files, read_vertices, sources_of
from multitalk.ground.untrusted.array_files import read_npy
from multitalk.ground.untrusted.pickles import load_arrays

if TYPE_CHECKING:
    from multitalk.fit_flame.heads.head_model import HeadModel
    from multitalk.ground.arrays import Array, Float32


@dataclass(frozen=True, slots=True)
class TrueClip:
    """The truth about one clip."""

    clip_id: str
    language: str
    source: str
    """Source video, or the clip where it is not known: clips of one source are not independent."""
    vertices: Float32[Array, "frames vertices 3"]
    """(T, V, 3) metres, mean identity, head pose removed."""
    fps: float = 25.0
    template: Float32[Array, "vertices 3"] | None = None
    """(V, 3) neutral face."""
    sound: Path | None = None


class GroundTruth(Protocol):
    """Clips with their true motion."""

    @property
    def head_model(self) -> HeadModel | None:
        """Whose mesh the vertices are; None where only their number tells."""

    @property
    def clip_ids(self) -> Sequence[str]:
        """Every clip."""

    def language(self, clip_id: str) -> str:
        """Of a clip, without reading it; empty where it is not known."""

    def load(self, clip_id: str) -> TrueClip:
        """Read one clip; raises VertexFileError, KeyError or OSError where it can not be."""


class FolderTruth:
    """Vertex files in a folder.

    Parameters
    ----------
    folder
        As `multitalk.eval.vertex_files` understands it.
    template
        (V, 3) neutral face of all clips.
    sounds
        Folder with `<clip_id>.wav`.
    metres_per_unit
        0.001 where the files are in millimetres.
    fps
        Frames a second.

    Raises
    ------
    VertexFileError
        The folder can not be used.
    """

    head_model = None
    """Not known: files hold vertices alone."""

    def __init__(
        self,
        folder: Path,
        template: Float32[Array, "vertices 3"] | None = None,
        sounds: Path | None = None,
        metres_per_unit: float = 1.0,
        fps: float = 25.0,
    ) -> None:
        self._files = find_vertex_files(folder)
        self._sources = sources_of(self._files)
        self._template = template
        self._sounds = sounds
        self._metres_per_unit = metres_per_unit
        self._fps = fps

    @property
    def clip_ids(self) -> Sequence[str]:
        """Every clip, sorted."""
        return sorted(self._files)

    def language(self, clip_id: str) -> str:
        """Of a clip, as its folder or its name tells."""
        return self._files[clip_id].language

    def load(self, clip_id: str) -> TrueClip:
        """Read one clip.

        Raises
        ------
        VertexFileError
            Its file can not be read.
        KeyError
            It is not in the folder.
        """
        file = self._files[clip_id]
        sound = self._sounds / f"{clip_id}.wav" if self._sounds is not None else None
        return TrueClip(
            clip_id,
            file.language,
            self._sources[clip_id],
            read_vertices(file.paths[0], self._metres_per_unit),
            self._fps,
            self._template,
            sound if sound is not None and sound.is_file() else None,
        )


class ReleaseTruth:
    """Clips of a release's split, decoded from their motion on the head model that they were fitted with.

    Parameters
    ----------
    root
        Folder of the dataset.
    release
        Name of the release.
    head_model
        The head model of its motion.
    split
        `train`, `val` or `test`.

    Raises
    ------
    DatasetError
        There is no such release, or it is damaged.
    """

    def __init__(self, root: Path, release: str, head_model: HeadModel, split: str = "test") -> None:
        from multitalk.manifests import open_dataset
        from multitalk.manifests.releases.release import read_release
        from multitalk.training.model.face_decoder import FaceDecoder

        table = read_release(root, release).select(["clip_id", "video_id", "language", "split"])
        self._rows = {str(row["clip_id"]): row for row in table.to_pylist() if row["split"] == split}
        self._dataset = open_dataset(root)
        self._face = FaceDecoder(head_model)
        self.head_model = head_model

    @property
    def clip_ids(self) -> Sequence[str]:
        """Every clip of the split, sorted."""
        return sorted(self._rows)

    def language(self, clip_id: str) -> str:
        """Of a clip, as the manifest calls it."""
        return str(self._rows[clip_id]["language"])

    def load(self, clip_id: str) -> TrueClip:
        """Decode one clip.

        Raises
        ------
        VertexFileError
            Its motion belongs to another head model, or its file is damaged.
        KeyError
            It is not in the split, or has no motion.
        """
        import torch

        from multitalk.manifests.paths import DatasetError, audio_path

        row = self._rows[clip_id]
        try:
            motion = self._dataset.motion(clip_id)
        except DatasetError as error:
            raise VertexFileError(str(error)) from error
        if motion["head_model"] != self.head_model.key:
            raise VertexFileError(
                f"{clip_id}: its motion belongs to head model {motion['head_model']}, not {self.head_model.key}"
            )
        if motion["expression"].shape[1] != self.head_model.expression_size:
            raise VertexFileError(
                f"{clip_id}: its motion has {motion['expression'].shape[1]} expressions, "
                f"{self.head_model.key} has {self.head_model.expression_size}: build the dataset again"
            )
        values = np.concatenate([motion["expression"], motion["jaw"]], axis=1).astype(np.float32)
        with torch.inference_mode():
            offsets = self._face(torch.from_numpy(values)).numpy()
        template = self.head_model.v_template
        sound = audio_path(self._dataset.root, str(row["language"]), clip_id)
        return TrueClip(
            clip_id,
            str(row["language"]),
            str(row["video_id"]),
            offsets.reshape(len(values), -1, 3) + template,
            float(motion["fps"]),
            template,
            sound if sound.is_file() else None,
        )


def read_template(path: Path, metres_per_unit: float = 1.0) -> Float32[Array, "vertices 3"]:
    """Read a neutral face (V, 3): `.npy`, or a pickled dict like MultiTalk's `templates.pkl` (its first entry).

    Raises
    ------
    VertexFileError
        It can not be read or is no face.
    """
    try:
        pickled = path.suffix != ".npy"
        array = next(iter(load_arrays(path).values())) if pickled else read_npy(path)
    except (OSError, ValueError, StopIteration) as error:
        raise VertexFileError(f"{path}: not a readable template ({error})") from error
    if array.size % 3 or not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
        raise VertexFileError(f"{path}: {array.dtype} {array.shape} is not a neutral face (V, 3)")
    metres = array.reshape(-1, 3).astype(np.float64) * metres_per_unit
    return metres.astype(np.float32)

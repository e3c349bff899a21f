"""The training clips of a dataset in flat files that are mapped into memory.

The dataset's Parquet files are made for queries; a trainer wants any window of any clip, thousands of times
a second. So the motion values of all clips are laid end to end in one array once, with a few numbers a clip
beside it. What a process holds in memory does not grow with the dataset: the operating system pages in what
is read.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

    from multitalk.ground.arrays import Array, Float32, Int64
    from multitalk.manifests.dataset import Dataset

SPLITS = ("train", "val", "test")
_VERSION = "1"  # part of the name: change it with the layout
_COLUMNS = ["clip_id", "video_id", "language", "frame_count", "duration_sec"]
_COLUMNS += ["head_model", "created_at", "clip_sha256"]
_CHECKS = ["status", "accepted", "motion_path", "person_id"]


class NoTrainingDataError(ValueError):
    """A dataset has no clips to train on, or clips that do not go together."""


@dataclass(frozen=True, slots=True)
class PackedMotion:
    """Motion of N clips, sum of frames M, F values a frame; all arrays are read from disk as they are used."""

    directory: Path
    """Where the arrays lie."""
    motion: Float32[Array, "frames values"]
    """(M, F) expression, then jaw, of all clips one after the other."""
    start: npt.NDArray[np.int64]
    """(N,) row of each clip's first frame."""
    frames: npt.NDArray[np.int32]
    """(N,) frames of each clip."""
    split: npt.NDArray[np.int8]
    """(N,) index into `SPLITS`."""
    language: npt.NDArray[np.str_]
    """(N,) language of each clip."""
    clip_id: npt.NDArray[np.str_]
    """(N,) id of each clip."""
    content: npt.NDArray[np.str_]
    """(N,) first digits of the hash of each clip's video, or its frames where there is none."""
    head_model: npt.NDArray[np.str_]
    """() name and hash of the head model."""

    def of_split(self, split: str) -> Int64[Array, " clips"]:
        """Find the clips of a split: their indices."""
        return np.flatnonzero(np.asarray(self.split) == SPLITS.index(split))

    def window(self, clip: int, begin: int, frames: int) -> Float32[Array, "frames values"]:
        """Motion (frames, F) of a clip from its frame `begin` on."""
        row = int(self.start[clip]) + begin
        return self.motion[row : row + frames]


def packed_motion(dataset: Dataset, cache: Path, release: str | None = None) -> PackedMotion:
    """Open the packed clips of a dataset, packing them first if they have changed since.

    Parameters
    ----------
    dataset : Dataset
        From `multitalk.open_dataset`.
    cache : Path
        Folder for packed data; the pack is named by a fingerprint of what is in it.
    release : str, optional
        Name of a release; without one all clips that are fitted and not rejected, split as a release would
        be.

    Raises
    ------
    NoTrainingDataError
        When no clip is left, or clips were fitted with different head models.
    """
    clips = _clips(dataset, release)
    directory = cache / f"motion-{_fingerprint(clips)}"
    if not directory.exists():
        cache.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".packing-", dir=cache))
        try:
            _pack(dataset.root, clips, temporary)
            _publish(temporary, directory)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    names = [field.name for field in fields(PackedMotion) if field.name != "directory"]
    arrays = {name: np.load(directory / f"{name}.npy", mmap_mode="r") for name in names}
    return PackedMotion(directory, **arrays)


def _publish(temporary: Path, directory: Path) -> None:
    """Give the finished pack its name, unless another process was first."""
    try:
        temporary.rename(directory)
    except OSError:
        if not directory.exists():
            raise


def _clips(dataset: Dataset, release: str | None) -> pa.Table:
    """Rows of the clips to train on, with their `split`, ordered so that each video's come together."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = dataset.arrow([*_COLUMNS, *_CHECKS]) if release is None else _released(dataset, release)
    fitted = pc.and_(pc.equal(table["status"], "ok"), pc.is_valid(table["motion_path"]))
    accepted = pc.fill_null(table["accepted"], True)
    long_enough = pc.fill_null(pc.greater_equal(table["frame_count"], 2), False)
    table = table.filter(pc.and_(pc.and_(fitted, accepted), long_enough))
    if table.num_rows == 0:
        raise NoTrainingDataError(
            f"{dataset.root}: no accepted clip with motion to train on; `multitalk report` tells why"
        )
    if "split" not in table.column_names:
        table = table.append_column("split", _split(table))
    table = table.select([*_COLUMNS, "split"])
    models = pc.unique(table["head_model"]).to_pylist()
    if len(models) > 1:
        raise NoTrainingDataError(
            f"{dataset.root}: clips of different head models ({', '.join(map(str, models))}); "
            "build the dataset with one"
        )
    table = table.set_column(2, "language", table["language"].cast(pa.string()))
    return table.sort_by([("language", "ascending"), ("video_id", "ascending"), ("clip_id", "ascending")])


def _released(dataset: Dataset, release: str) -> pa.Table:
    from multitalk.manifests.releases.release import read_release

    return read_release(dataset.root, release)


def _split(table: pa.Table) -> pa.Array:
    """Divide the clips as a release made now would."""
    from multitalk.manifests.splits import SplitSettings, assign, find_cuts

    settings = SplitSettings()
    return assign(table, find_cuts(table, settings), settings.seed)


def _fingerprint(clips: pa.Table) -> str:
    digest = hashlib.sha256(_VERSION.encode())
    for column in clips.column_names:
        digest.update("\x1f".join(map(str, clips[column].to_pylist())).encode())
    return digest.hexdigest()[:16]


def _pack(root: Path, clips: pa.Table, directory: Path) -> None:
    """Write the arrays of `PackedMotion` for the rows of `clips`, reading each motion file once."""
    frames = clips["frame_count"].to_numpy().astype(np.int32)
    start = np.concatenate([[0], np.cumsum(frames[:-1], dtype=np.int64)])
    motion: Any = None
    for index, values in enumerate(_motion_values(root, clips)):
        if len(values) != frames[index]:
            clip = clips["clip_id"][index]
            raise NoTrainingDataError(
                f"clip {clip}: {len(values)} frames of motion, {frames[index]} in the manifest; "
                "build its video again"
            )
        if motion is None:
            shape = (int(frames.sum(dtype=np.int64)), values.shape[1])
            motion = np.lib.format.open_memmap(directory / "motion.npy", "w+", np.float32, shape)
        motion[start[index] : start[index] + len(values)] = values
    motion.flush()
    arrays = {
        "start": start,
        "frames": frames,
        "split": np.array([SPLITS.index(name) for name in clips["split"].to_pylist()], np.int8),
        "language": np.array(clips["language"].to_pylist()),
        "clip_id": np.array(clips["clip_id"].to_pylist()),
        "content": np.array(
            [
                str(sha256 or frames)[:12]
                for sha256, frames in zip(
                    clips["clip_sha256"].to_pylist(), clips["frame_count"].to_pylist(), strict=True
                )
            ]
        ),
        "head_model": np.array(clips["head_model"][0].as_py()),
    }
    for name, array in arrays.items():
        np.save(directory / f"{name}.npy", array)


def _motion_values(root: Path, clips: pa.Table) -> Iterator[Float32[Array, "frames values"]]:
    """Expression and jaw (T, F) of each row of `clips`, which come video by video."""
    from multitalk.manifests.paths import motion_path
    from multitalk.manifests.tables import naming_damage, open_file

    opened, row_of = None, {}
    file: Any = None
    rows = zip(*(clips[name].to_pylist() for name in ("language", "video_id", "clip_id")), strict=True)
    for language, video, clip in rows:
        if opened != (language, video):
            place = motion_path(root, language, video)
            with naming_damage(place):
                table = open_file(place).read(["clip_id", "expression", "jaw"])
            opened, file = (language, video), table
            row_of = {name: row for row, name in enumerate(table["clip_id"].to_pylist())}
        if clip not in row_of:
            raise NoTrainingDataError(f"clip {clip}: no motion in {place}; build its video again")
        yield np.concatenate([_frames(file[name][row_of[clip]]) for name in ("expression", "jaw")], 1)


def _frames(cell: Any) -> Float32[Array, "frames values"]:
    """Make an array (T, D) of a Parquet cell of T lists of D numbers."""
    rows = cell.values
    values: npt.NDArray[np.float32] = rows.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), -1)
    return values

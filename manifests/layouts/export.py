"""Writing clips in the layouts of other programs.

Every layout takes clips with a column `split`: those of a release (`releases.release.read_release`), or
`divided_clips`. No layout carries pictures; sound goes where a program can not do without, or when asked for.
"""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Callable, Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from multitalk.ground.files import atomic
from multitalk.manifests import paths
from multitalk.manifests.clip_row import MotionRow
from multitalk.manifests.paths import DatasetError
from multitalk.manifests.schema import MANIFEST, MOTION
from multitalk.manifests.splits import SPLITS, SplitSettings, assign, file_stem, find_cuts, write_lists
from multitalk.manifests.store import read_manifest
from multitalk.manifests.tables import motion_table, naming_damage, open_file, read_row, row_arrays

Vertices = npt.NDArray[np.float32]
Row = dict[str, Any]
Decode = Callable[[MotionRow], Vertices]
"""Turns the motion of a clip, arrays by column, into vertices (T, V, 3) in metres."""


def divided_clips(root: Path, settings: SplitSettings | None = None) -> pa.Table:
    """Read the accepted clips, with a `split` by hashed cuts, for an export without a release.

    Raises
    ------
    DatasetError
        When no clip is accepted.
    """
    settings = settings or SplitSettings()
    clips = read_manifest(root)
    clips = clips.filter(pc.fill_null(clips["accepted"], False))
    if not len(clips):
        raise DatasetError(f"no accepted clip in {root}: run `multitalk filter` first")
    paths.check_rows(clips, root)
    return clips.append_column("split", assign(clips, find_cuts(clips, settings), settings.seed))


def export_multitalk(root: Path, clips: pa.Table, out: Path, *, decode: Decode, template: Vertices) -> int:
    """Write the layout that the original repository's trainer reads.

    ``npy/<Language>_<clip_id>.npz`` with `verts` (T, V, 3) float32, ``wav/<Language>_<clip_id>.wav``,
    ``templates.pkl`` with `template` (V, 3) as "id", ``train.txt`` and ``test.txt``.

    Parameters
    ----------
    decode
        Decodes motion with the head model that it belongs to.

    Returns
    -------
    int
        Number of clips.

    Raises
    ------
    DatasetError
        When a clip lacks its motion or sound.
    """
    for folder in ("npy", "wav"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    count = 0
    for row, motion in _with_motion(root, clips):
        stem = file_stem(row["language"], row["clip_id"])
        with atomic(out / "npy" / f"{stem}.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, verts=np.asarray(decode(motion), np.float32))
        with atomic(out / "wav" / f"{stem}.wav") as temporary:
            temporary.write_bytes(_sound(root, row))
        count += 1
    with atomic(out / "templates.pkl") as temporary:
        temporary.write_bytes(pickle.dumps({"id": np.asarray(template, np.float32)}))
    write_lists(clips, out)
    return count


def export_webdataset(
    root: Path, clips: pa.Table, out: Path, *, sound: bool = False, clips_per_shard: int = 1000
) -> int:
    """Write tar shards ``<split>-000000.tar`` for WebDataset.

    Each clip is ``<Language>_<clip_id>.json`` (its manifest row), ``.motion.npz`` and, if asked for, ``.wav``.
    The same clips give the same bytes.

    Returns
    -------
    int
        Number of clips.

    Raises
    ------
    DatasetError
        When a clip lacks its motion or sound.
    """
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    for split in SPLITS:
        samples = _with_motion(root, clips.filter(pc.equal(clips["split"], split)))
        number = 0
        while shard := list(islice(samples, clips_per_shard)):
            with atomic(out / f"{split}-{number:06d}.tar") as temporary, tarfile.open(temporary, "w") as tar:
                for row, motion in shard:
                    for name, content in _sample(root, row, motion, sound=sound):
                        _add(tar, name, content)
            count += len(shard)
            number += 1
    return count


def export_huggingface(
    root: Path, clips: pa.Table, out: Path, *, card: str, sound: bool = False, clips_per_shard: int = 5000
) -> int:
    """Write Parquet that the Hugging Face hub shows and `datasets.load_dataset` reads.

    ``data/<split>-00000.parquet`` has a clip's manifest row, its motion and, if asked for, its sound;
    ``README.md`` is the dataset card.

    Parameters
    ----------
    card
        Text of the dataset card, for instance a release's.

    Returns
    -------
    int
        Number of clips.

    Raises
    ------
    DatasetError
        When a clip lacks its motion or sound.
    """
    count = 0
    files: dict[str, str] = {}
    for split in SPLITS:
        part = clips.filter(pc.equal(clips["split"], split))
        samples = _with_motion(root, part)
        number = 0
        while shard := list(islice(samples, clips_per_shard)):
            table = _joined(root, part.slice(number * clips_per_shard, len(shard)), shard, sound=sound)
            with atomic(out / "data" / f"{split}-{number:05d}.parquet") as temporary:
                pq.write_table(table, temporary, compression="zstd", row_group_size=100)
            files[split] = f"data/{split}-*.parquet"
            count += len(shard)
            number += 1
    with atomic(out / "README.md") as temporary:
        temporary.write_text(_with_data_files(card, files), "utf-8")
    return count


def _with_motion(root: Path, clips: pa.Table) -> Iterator[tuple[Row, MotionRow]]:
    """Clips in their order with their motion; each motion file is opened once for neighbours of a video."""
    # In batches: as Python objects, all rows of a large dataset take gigabytes.
    rows = (row for batch in clips.to_batches(max_chunksize=2000) for row in batch.to_pylist())
    for (language, video_id), group in groupby(rows, key=lambda row: (row["language"], row["video_id"])):
        place = paths.check_plain(root, paths.motion_path(root, language, video_id))
        try:
            file = open_file(place)
        except FileNotFoundError as error:
            raise DatasetError(f"{place} is missing: `multitalk verify` says what else is") from error
        with naming_damage(place):
            index = {clip: i for i, clip in enumerate(file.read(["clip_id"])["clip_id"].to_pylist())}
        for row in group:
            if row["clip_id"] not in index:
                raise DatasetError(f"{place} lacks the motion of clip {row['clip_id']!r}")
            with naming_damage(place):
                arrays = row_arrays(read_row(file, index[row["clip_id"]]))
            yield row, cast("MotionRow", arrays)


def _sound(root: Path, row: Row) -> bytes:
    place = paths.check_plain(root, paths.audio_path(root, row["language"], row["clip_id"]))
    try:
        return place.read_bytes()
    except FileNotFoundError as error:
        raise DatasetError(f"{place} is missing: `multitalk verify` says what else is") from error


def _sample(root: Path, row: Row, motion: MotionRow, *, sound: bool) -> Iterator[tuple[str, bytes]]:
    stem = file_stem(row["language"], row["clip_id"])
    row = {**row, "tool_versions": {item["key"]: item["value"] for item in row["tool_versions"] or []}}
    yield f"{stem}.json", json.dumps(row, default=str, ensure_ascii=False).encode()
    arrays = io.BytesIO()
    known = {name: value for name, value in cast("dict[str, Any]", motion).items() if value is not None}
    np.savez(arrays, **known)
    yield f"{stem}.motion.npz", arrays.getvalue()
    if sound:
        yield f"{stem}.wav", _sound(root, row)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _joined(root: Path, clips: pa.Table, shard: list[tuple[Row, MotionRow]], *, sound: bool) -> pa.Table:
    motion = motion_table([motion for _, motion in shard])
    table = clips.cast(pa.schema([*MANIFEST, pa.field("split", pa.string())]))
    for name in MOTION.names:
        if name not in table.column_names:
            table = table.append_column(MOTION.field(name), motion[name])
    if sound:
        stored = [{"bytes": _sound(root, row), "path": f"{row['clip_id']}.wav"} for row, _ in shard]
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        table = table.append_column(pa.field("audio", kind), [pa.array(stored, kind)])
        features = {"info": {"features": {"audio": {"sampling_rate": 16000, "_type": "Audio"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    return table


def _with_data_files(card: str, files: dict[str, str]) -> str:
    """Put the splits' files into the header of a card, where the hub looks for them."""
    lines = ["configs:", "- config_name: default", "  data_files:"]
    lines += [f"  - split: {_HUB[split]}\n    path: {path}" for split, path in files.items()]
    header, _, body = (
        card.removeprefix("---\n").partition("\n---\n") if card.startswith("---\n") else ("", "", card)
    )
    kept = header.split("\nconfigs:")[0]
    return "---\n" + "\n".join([*([kept] if kept else []), *lines]) + "\n---\n" + body


_HUB = {"train": "train", "val": "validation", "test": "test"}

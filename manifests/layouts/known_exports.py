"""Which exports of a dataset there are: what was handed on is not forgotten when somebody asks to be removed.

``exports.jsonl`` in the root has an object of JSON for each export: `folder` and `layout`. It says what was written,
not what has become of it: who is removed from the dataset is looked for in the folders that are still there.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from multitalk.ground.files import atomic, locked

_PLACE = "exports.jsonl"
_LISTS = {".txt"}


def note_export(root: Path, folder: Path, layout: str) -> None:
    """Note that clips were written into a folder."""
    with locked(root, exclusive=True):
        place = root / _PLACE
        lines = place.read_text("utf-8") if place.is_file() else ""
        with atomic(place) as temporary:
            line = json.dumps({"folder": str(folder.resolve()), "layout": layout})
            temporary.write_text(f"{lines}{line}\n", "utf-8")


def known_exports(root: Path) -> list[Path]:
    """Folders that were exported to and are there, each once; a line that says no such thing is left out."""
    try:
        lines = (root / _PLACE).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    folders = dict.fromkeys(folder for line in lines if (folder := _folder(line)) is not None)
    return [folder for folder in folders if folder.is_dir()]


def exports_with(root: Path, clip_ids: frozenset[str]) -> list[Path]:
    """Known exports that hold any of these clips."""
    return [
        folder for folder in known_exports(root) if any(_holds(clip_ids, name) for name in _names(folder))
    ]


def _folder(line: str) -> Path | None:
    try:
        folder = json.loads(line)["folder"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return Path(folder) if isinstance(folder, str) and "\0" not in folder else None


def _holds(clip_ids: frozenset[str], name: str) -> bool:
    """Whether a name is one of these clips', alone or behind its language: ``German_<clip_id>``."""
    stem = name.rsplit("/", 1)[-1].split(".", 1)[0]
    return stem in clip_ids or stem.partition("_")[2] in clip_ids


def _names(folder: Path) -> Iterator[str]:
    """Names of clips in an export: of files, in lists, in tar shards and in Parquet."""
    for place in sorted(folder.rglob("*")):
        if place.is_symlink() or not place.is_file():
            continue
        yield place.name
        try:
            if place.suffix == ".tar":
                with tarfile.open(place) as tar:
                    yield from (member.name for member in tar)
            elif place.suffix == ".parquet":
                yield from pq.read_table(place, columns=["clip_id"], partitioning=None)["clip_id"].to_pylist()
            elif place.suffix in _LISTS:
                yield from place.read_text("utf-8", errors="replace").splitlines()
        except (OSError, tarfile.TarError, pa.ArrowException):
            continue  # what can not be read any more holds nothing that one could find

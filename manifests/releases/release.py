"""Releases: the accepted clips of one policy with their split, frozen and hashed.

A release is a folder ``releases/<name>`` that is never written again::

    manifest.parquet   accepted clips, with a column `split`
    policy.yaml        the policy that accepted them
    split.json         settings and cuts of the split
    README.md          dataset card
    croissant.json     the same for machines (Croissant metadata)
    motion.sha256      checksums of the motion files that the release stands on
    SHA256SUMS         checksums of all of these; its own SHA-256 names the release

Both lists of checksums are in the format of ``sha256sum -c``.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from multitalk.ground.files import flush_to_disk
from multitalk.manifests import paths
from multitalk.manifests.migrations import conform
from multitalk.manifests.paths import DatasetError
from multitalk.manifests.releases.card import card
from multitalk.manifests.releases.croissant import croissant
from multitalk.manifests.releases.persons import ReleasedPersons, released_persons
from multitalk.manifests.schema import MANIFEST
from multitalk.manifests.splits import Cuts, SplitSettings, assign, find_cuts
from multitalk.manifests.store import read_manifest
from multitalk.manifests.takedown import read_takedown

_SUMS = "SHA256SUMS"
_LISTED = {"manifest.parquet", "policy.yaml", "split.json", "README.md", "croissant.json", "motion.sha256"}
_SUM = re.compile(r"([0-9a-f]{64})  (.+)")
# A list from elsewhere must not have other files read.
_LISTABLE = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9_.-]*|\.\./\.\./motion/language=[A-Za-z0-9_-]+/[A-Za-z0-9_-]+\.parquet"
)
_SPLIT_COLUMN = pa.field(
    "split", pa.string(), metadata={"meaning": "side of the split", "range": "train, val, test"}
)


class ReleaseSettings(BaseModel):
    """What a release says about itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = Field(
        default="Multilingual talking heads", description="Title of the dataset card.", min_length=1
    )
    description: str = Field(
        default="Face motion and speech of talking heads in many languages, made by multitalk.",
        description="What the dataset is, in a sentence or two.",
        min_length=1,
    )
    url: str = Field(
        default="https://github.com/postech-ami/MultiTalk",
        description="Home page of the dataset or of its source.",
    )
    licence: str = Field(
        default="https://github.com/postech-ami/MultiTalk",
        description="Page with the terms of the data.",
    )
    creators: tuple[str, ...] = Field(
        default=("the builder of this release",), description="Who made the release."
    )
    released_on: date = Field(default_factory=date.today, description="Date of publication.")
    split: SplitSettings = Field(default_factory=SplitSettings, description="How clips are divided.")


@dataclass(frozen=True, slots=True)
class Release:
    """A release on disk."""

    folder: Path
    sha256: str
    """Hash of the list of its checksums."""
    clips: int
    persons: ReleasedPersons


def create_release(
    root: Path,
    name: str,
    *,
    policy: str,
    add_verdicts: Callable[[pa.Table], pa.Table],
    settings: ReleaseSettings | None = None,
    like: str | None = None,
    split: Callable[[pa.Table], pa.Array] | None = None,
) -> Release:
    """Freeze the clips that a policy accepts.

    Parameters
    ----------
    name
        Name of the release, which becomes a folder.
    policy
        Text of the policy, kept with the release.
    add_verdicts
        Fills `accepted` of the manifest rows by that policy.
    settings
        Title, licence, shares of the split and so on.
    like
        An earlier release whose cuts are used again, so that no video changes sides unless its person is found on
        two of them.
    split
        Gives each accepted clip its split, in place of hashed cuts: for instance by MultiTalk's lists. Clips
        without one (null) are left out.

    Raises
    ------
    DatasetError
        When the name is taken, nothing is accepted, or there is no release `like`.
    UnsafeNameError
        When `name` must not become a folder.
    """
    settings = settings or ReleaseSettings()
    folder = release_folder(root, name)
    if folder.exists():
        raise DatasetError(f"{folder} exists: a release is never changed, choose another name")
    clips = _accepted(root, add_verdicts)
    if split is None:
        earlier = None if like is None else read_release(root, like)  # refuses a damaged one
        cuts, settings = _cuts(root, clips, settings, like)
        sides = assign(clips, cuts, settings.split.seed, earlier)
    else:
        cuts, sides = {}, split(clips)
    clips = clips.append_column(_SPLIT_COLUMN, sides).filter(pc.is_valid(sides))
    temporary = folder.with_name(f".{name}.{secrets.token_hex(6)}.tmp")
    temporary.mkdir(parents=True)
    try:
        _write_data(temporary, root, clips, policy, {"settings": settings.split.model_dump(), "cuts": cuts})
        about = settings.model_dump(exclude={"split"})
        _write_descriptions(temporary, name, clips, policy, about)
        _write_sums(temporary)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    flush_to_disk(folder.parent)
    return Release(folder, sha256(folder / _SUMS), len(clips), released_persons(clips))


def release_folder(root: Path, name: str) -> Path:
    """Return the place of a release."""
    return root / "releases" / paths.check_name(name, "release")


def read_release(root: Path, name: str) -> pa.Table:
    """Read the clips of a release, with their `split`.

    Raises
    ------
    DatasetError
        When there is no such release, or it is not as it was made.
    """
    folder = release_folder(root, name)
    if not folder.is_dir():
        raise DatasetError(f"no release {name!r} in {root}")
    damaged = damaged_files(folder)
    if damaged:
        raise DatasetError(f"release {name!r} is damaged: {', '.join(path.name for path in damaged)}")
    rows = pq.read_table(folder / "manifest.parquet", partitioning=None)
    return paths.check_rows(conform(rows, pa.schema([*MANIFEST, _SPLIT_COLUMN])), f"release {name!r}")


def damaged_files(folder: Path, sums: str = _SUMS) -> list[Path]:
    """Files of a release that are missing or differ from their checksums in `sums`.

    It is `sums` itself where that is missing, cut or no list of checksums.
    """
    entries = _read_sums(folder / sums)
    if entries is None or (sums == _SUMS and _LISTED - {name for name, _ in entries}):
        return [folder / sums]
    places = [folder / name for name, _ in entries]
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda place: sha256(place) if place.is_file() else "", places))
    return [
        place for place, (_, digest), actual in zip(places, entries, found, strict=True) if digest != actual
    ]


def _read_sums(place: Path) -> list[tuple[str, str]] | None:
    """Return name and checksum of each line, or None where that is not what the file holds."""
    if not place.is_file():
        return None
    try:
        lines = [_SUM.fullmatch(line) for line in place.read_text("utf-8").splitlines()]
    except UnicodeDecodeError:
        return None
    entries = [(line[2], line[1]) for line in lines if line and _LISTABLE.fullmatch(line[2])]
    return entries if len(entries) == len(lines) else None


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _accepted(root: Path, add_verdicts: Callable[[pa.Table], pa.Table]) -> pa.Table:
    clips = add_verdicts(read_manifest(root))
    keep = pc.and_(pc.fill_null(clips["accepted"], False), pc.invert(read_takedown(root).holds(clips)))
    clips = clips.filter(keep)
    if not len(clips):
        raise DatasetError(f"the policy accepts no clip of {root}: `multitalk filter --dry-run` shows why")
    return clips


def _cuts(
    root: Path, clips: pa.Table, settings: ReleaseSettings, like: str | None
) -> tuple[dict[str, Cuts], ReleaseSettings]:
    """Cuts of each language, and the settings that they belong to."""
    if like is None:
        return find_cuts(clips, settings.split), settings
    earlier = json.loads((release_folder(root, like) / "split.json").read_text("utf-8"))
    if not earlier["cuts"]:
        raise DatasetError(f"release {like!r} was split by lists: it has no cuts to use again")
    settings = settings.model_copy(update={"split": SplitSettings.model_validate(earlier["settings"])})
    cuts = find_cuts(clips, settings.split)  # for languages that came later
    return {**cuts, **{language: Cuts(**cut) for language, cut in earlier["cuts"].items()}}, settings


def _write_data(
    folder: Path, root: Path, clips: pa.Table, policy: str, split: Mapping[str, Mapping[str, Any]]
) -> None:
    schema = pa.schema([*MANIFEST, _SPLIT_COLUMN], MANIFEST.metadata)
    pq.write_table(clips.cast(schema).combine_chunks(), folder / "manifest.parquet", compression="zstd")
    (folder / "policy.yaml").write_text(policy, "utf-8")
    (folder / "split.json").write_text(json.dumps(split, indent=1, default=asdict) + "\n", "utf-8")
    (folder / "motion.sha256").write_text(_motion_sums(root, clips), "utf-8")


def _write_descriptions(
    folder: Path, name: str, clips: pa.Table, policy: str, about: Mapping[str, Any]
) -> None:
    (folder / "README.md").write_text(card(name, clips, policy, about), "utf-8")
    metadata = croissant(name, clips.schema, sha256(folder / "manifest.parquet"), about)
    (folder / "croissant.json").write_text(json.dumps(metadata, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _write_sums(folder: Path) -> None:
    files = sorted(folder.iterdir())
    (folder / _SUMS).write_text("".join(f"{sha256(file)}  {file.name}\n" for file in files), "utf-8")
    for file in (*files, folder / _SUMS, folder):
        flush_to_disk(file)


def _motion_sums(root: Path, clips: pa.Table) -> str:
    pairs = sorted(set(zip(clips["language"].to_pylist(), clips["video_id"].to_pylist(), strict=True)))
    files = [place for pair in pairs if (place := paths.motion_path(root, *pair)).exists()]
    with ThreadPoolExecutor() as pool:
        digests = list(pool.map(sha256, files))
    lines = zip(digests, (file.relative_to(root).as_posix() for file in files), strict=True)
    return "".join(f"{digest}  ../../{place}\n" for digest, place in lines)

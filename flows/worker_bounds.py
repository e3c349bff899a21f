"""What the parameters of a deployment's run may name on this machine: bounds that its owner sets, not the caller.

They lie in a file that no parameter names: ``~/.config/multitalk/worker.yaml`` of the account that the worker runs as,
else ``/etc/multitalk/worker.yaml``. They hold for runs of deployments; whoever types `multitalk` has a shell already.
"""

import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from prefect.runtime import deployment
from pydantic import BaseModel, ConfigDict, Field

from multitalk.ground.settings import SettingsError, read_settings, validated


def _home() -> Path:
    """Return the account's own folder; not what HOME says, which comes with a run's environment."""
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:  # an account that only a container knows
        return Path("/")


PLACES = (_home() / ".config" / "multitalk" / "worker.yaml", Path("/etc/multitalk/worker.yaml"))

_PATTERNS = ("annotations", "videos")
_NAMES_OR_FILES = ("policy", "head_model")
_ADDRESSES = ("source_url", "videos")


class WorkerBounds(BaseModel):
    """What the owner of a machine lets parameters of deployments name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folders: tuple[Path, ...] = Field(
        (), description="Folders in which data are read and written; none: any that the account may."
    )
    sources: tuple[str, ...] = Field(
        (), description="Beginnings of the addresses of source videos; none: any of http and https."
    )
    schedulers: tuple[str, ...] = Field(
        (), description="Addresses of Dask schedulers and Ray heads: whoever runs one runs code here."
    )
    programs: bool = Field(
        False,
        description="Whether parameters may name JavaScript runtimes by their paths: programs that are run.",
    )
    browsers: bool = Field(
        False, description="Whether they may ask for the cookies of a browser of this account."
    )


def check_parameters(settings: BaseModel) -> None:
    """Raise SettingsError for parameters of a deployment's run that leave this machine's bounds."""
    if deployment.id is None:
        return
    place = next(filter(Path.is_file, PLACES), None)
    bounds = validated(WorkerBounds, read_settings(place)) if place else WorkerBounds()
    for name, value in _fields(settings):
        _check(name, value, bounds)


def _fields(settings: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from _fields(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _check(name: str, value: Any, bounds: WorkerBounds) -> None:
    last = name.rpartition(".")[2]
    if last == "task_runner_address" and value is not None and value not in bounds.schedulers:
        raise _refused(name, value, "schedulers")
    if last == "js_runtimes" and any(value.values()) and not bounds.programs:
        raise _refused(name, value, "programs")
    if last == "cookies_browser" and value is not None and not bounds.browsers:
        raise _refused(name, value, "browsers")
    for one in _values(value):
        address = isinstance(one, str) and "://" in one
        if last in _ADDRESSES and address:
            _check_address(name, str(one), bounds)
        elif isinstance(one, Path) or last in _PATTERNS or (last in _NAMES_OR_FILES and os.sep in str(one)):
            _check_path(name, Path(one), bounds)


def _values(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = tuple(value.values())
    for one in value if isinstance(value, tuple | list) else (value,):
        if isinstance(one, str | Path):
            yield one


def _check_address(name: str, address: str, bounds: WorkerBounds) -> None:
    if urlsplit(address).scheme == "file" and not bounds.sources:
        _check_path(name, Path(url2pathname(urlsplit(address).path)), bounds)
    elif bounds.sources and not address.startswith(bounds.sources):
        raise _refused(name, address, "sources")


def _check_path(name: str, path: Path, bounds: WorkerBounds) -> None:
    real = (
        path.expanduser().resolve()
    )  # of a pattern, what stands before its first wildcard is not led elsewhere
    if bounds.folders and not any(real.is_relative_to(folder.resolve()) for folder in bounds.folders):
        raise _refused(name, path, "folders")


def _refused(name: str, value: object, bound: str) -> SettingsError:
    shown = str(value)[:200]
    return SettingsError(
        f"{name}: {shown!r} is not allowed in runs of deployments on this machine: its owner adds it to `{bound}` in "
        f"{PLACES[0]} or {PLACES[1]}"
    )

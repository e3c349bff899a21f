"""Making a source video's new files visible together: a staging folder with a redo log.

``<root>/.staging/<language>/<video_id>/`` holds new files at the paths that they will have below the root. Once all
of them are on the disk, a file ``commit.json`` beside them decides the commit: it lists what is to be moved to its
place and what is to be deleted. Until it is there, the dataset is as it was and the folder can be thrown away; from
then on, the commit is carried out to its end, by whoever comes next if its process is killed. Every step can be
done twice.

The worker of a video holds the lock ``<video_id>.lock`` beside the folder, which dies with the process
(`multitalk.ground.leases`).
"""

from __future__ import annotations

import errno
import json
import logging
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from multitalk.ground.files import atomic, flush_to_disk, locked
from multitalk.ground.leases import Holder, held, holder_of
from multitalk.manifests import paths
from multitalk.manifests.paths import DatasetError, UnsafeNameError, check_inside, check_name

LOG_NAME = "commit.json"
_MAX_LOG_BYTES = 16 << 20
_STAGED = ".staging"
_logger = logging.getLogger(__name__)

_OF_CLIP = {"clips": paths.clip_path, "wav": paths.audio_path}
_OF_VIDEO = {
    "raw": paths.raw_path,
    "landmarks": paths.landmarks_path,
    "motion": paths.motion_path,
    "persons": paths.persons_path,
    "manifest": paths.fragment_path,
}


class ClaimLostError(RuntimeError):
    """Another process has taken over a source video: what this one has made of it is thrown away."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A decided commit: paths below the root, of which the manifest's fragment is moved last."""

    moves: tuple[str, ...]
    deletes: tuple[str, ...]


def staging_folder(root: Path, language: str, video_id: str) -> Path:
    """Return the folder in which new files of a source video wait, each at its later path below the root.

    ``paths.clip_path(staging_folder(...), language, clip_id)`` is thus where a new clip goes. Whatever lies there when
    the video is committed is committed with it.

    Raises
    ------
    UnsafeNameError
        When `language` or `video_id` must not become file names.
    """
    return root / _STAGED / check_name(language, "language") / check_name(video_id, "video id")


@contextmanager
def claim_video(root: Path, language: str, video_id: str, *, wait: bool = False) -> Iterator[bool]:
    """Keep other processes off a source video while it is worked on.

    Yields True with an empty staging folder: a commit that a killed process had decided is carried out first, what
    it had not decided is deleted. Yields False, at once, where another process has the video.

    Parameters
    ----------
    wait
        Wait for the other process instead.

    Raises
    ------
    UnsafeNameError
        When `language` or `video_id` must not become file names.
    DatasetError
        When the folder lies behind a link out of the dataset.
    """
    folder = staging_folder(root, language, video_id)
    check_inside(root, folder)
    try:
        with held(_lock_file(folder), wait=wait) as ours:
            if not ours:
                yield False
                return
            try:
                _finish(root, language, video_id)
                yield True
            finally:
                _tidy(folder, language, video_id)
    finally:
        _remove_empty(folder.parent)
        _remove_empty(folder.parent.parent)


def claims(root: Path) -> list[Holder]:
    """Return the processes that work on source videos, as far as they are not known to be dead."""
    places = [place for folder in _folders(root / _STAGED) for place in folder.glob("*.lock")]
    found = filter(None, map(holder_of, places))
    return sorted({replace(holder, token="") for holder in found if not holder.has_died}, key=str)


def finish_commits(root: Path) -> None:
    """Carry out what killed processes had decided to commit, and delete what they had not decided.

    Videos that a living process works on are left to it. Do not call it while holding the manifest's lock.
    """
    for language in _folders(root / _STAGED):
        # A lock without a folder is what a process left that was killed before it staged anything.
        names = {place.name.removesuffix(".lock") for place in language.iterdir()}
        for video_id in sorted(filter(paths.is_name, names)):
            with claim_video(root, language.name, video_id):
                pass  # claiming a video finishes it
        _remove_empty(language)
    _remove_empty(root / _STAGED)


def decide(root: Path, language: str, video_id: str, decision: Decision) -> None:
    """Decide a commit: all that is to be moved is on the disk when this returns, and will be in its place.

    Raises
    ------
    ClaimLostError
        When another process has taken the video over.
    """
    folder = staging_folder(root, language, video_id)
    _check_held(folder)
    _check_places(root, decision)
    for name in decision.moves:
        flush_to_disk(folder / name)
    _sync_folders(folder, decision.moves)
    flush_to_disk(folder.parent)
    with atomic(folder / LOG_NAME) as temporary:
        temporary.write_text(json.dumps({"moves": decision.moves, "deletes": decision.deletes}), "utf-8")


def roll_forward(root: Path, language: str, video_id: str, decision: Decision) -> None:
    """Carry out a decided commit, whatever of it is done already. The caller holds the manifest's lock, shared."""
    folder = staging_folder(root, language, video_id)
    *first, fragment = sorted(decision.moves, key=lambda name: name.startswith("manifest/"))
    for name in first:
        _move(folder / name, root / name)
    for name in decision.deletes:
        (root / name).unlink(missing_ok=True)
    _sync_folders(root, (*first, *decision.deletes))
    _move(folder / fragment, root / fragment)
    _sync_folders(root, [fragment])
    shutil.rmtree(folder)


def read_log(folder: Path, language: str, video_id: str) -> Decision | None:
    """Return what was decided in a staging folder; None where nothing was, or not by this program.

    The file may come with a dataset from elsewhere: it can name only files of this video's folder, in the places
    that the layout has for them.
    """
    place = folder / LOG_NAME
    try:
        if place.is_symlink() or place.stat().st_size > _MAX_LOG_BYTES:
            raise ValueError("not a log")
        content = json.loads(place.read_text("utf-8"))
        moves, deletes = (tuple(map(_text, content[key])) for key in ("moves", "deletes"))
        for name in (*moves, *deletes):
            _check_path(name, language, video_id)
        if sum(name.startswith("manifest/") for name in moves) != 1:
            raise ValueError("no fragment")
        for name in moves:
            _check_regular(folder / name)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        _logger.warning("%s is no list of files to commit (%s): thrown away", place, error)
        return None
    return Decision(moves, deletes)


def staged_files(folder: Path, language: str) -> dict[str, str | None]:
    """Media in a staging folder: path below the root, to the clip's id, or None for the source video."""
    found: dict[str, str | None] = {}
    for kind in (*_OF_CLIP, "raw"):
        for place in sorted((folder / kind / language).glob("[!.]*")):
            found[f"{kind}/{language}/{place.name}"] = place.stem if kind in _OF_CLIP else None
    return found


def _finish(root: Path, language: str, video_id: str) -> None:
    folder = staging_folder(root, language, video_id)
    if folder.is_symlink():
        folder.unlink()
    if not folder.exists():
        return
    decision = read_log(folder, language, video_id)
    if decision is None:
        shutil.rmtree(folder)
        return
    try:
        _check_places(root, decision)
    except DatasetError as error:  # none of ours was decided so
        _logger.warning("%s", error)
        shutil.rmtree(folder)
        return
    with locked(root, exclusive=False):
        roll_forward(root, language, video_id, decision)


def _tidy(folder: Path, language: str, video_id: str) -> None:
    """Leave nothing of a video that was worked on, unless its commit is decided and not done."""
    with suppress(ClaimLostError):
        _check_held(folder)
        if read_log(folder, language, video_id) is None:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # others work there still, or there is none
        folder.rmdir()


def _lock_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _check_held(folder: Path) -> None:
    """Raise where a lease was lost: to whoever thought us dead, since we did not renew it in time."""
    holder = holder_of(_lock_file(folder))
    if holder is not None and not holder.is_this_process and not holder.has_died:
        raise ClaimLostError(f"{folder.name} was taken over by {holder}, since this process had stood still")


def _folders(folder: Path) -> list[Path]:
    """Folders in a folder, without links, which could lead anywhere."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    found = (place for place in folder.iterdir() if paths.is_name(place.name))
    return sorted(place for place in found if place.is_dir() and not place.is_symlink())


def _check_places(root: Path, decision: Decision) -> None:
    for folder in {(root / name).parent for name in (*decision.moves, *decision.deletes)}:
        check_inside(root, folder / "file")


def _sync_folders(base: Path, names: Iterable[str]) -> None:
    """Bring the names of files to the disk, and those of the folders that hold them."""
    folders = {parent for name in names for parent in (base / name).parents if parent.is_relative_to(base)}
    for folder in sorted(folders, reverse=True):
        if folder.is_dir():
            flush_to_disk(folder)


def _move(staged: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        staged.replace(place)
    except FileNotFoundError:  # done before the process was killed
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with atomic(place) as temporary:  # the folder is another disk's
            shutil.copyfile(staged, temporary)
        staged.unlink()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a path is a text")
    return value


def _check_path(name: str, language: str, video_id: str) -> None:
    kind, stem = PurePosixPath(name).parts[:1], PurePosixPath(name).stem
    try:
        if kind and kind[0] in _OF_CLIP:
            expected = _OF_CLIP[kind[0]](Path(), language, stem)
        else:
            expected = _OF_VIDEO[kind[0] if kind else ""](Path(), language, video_id)
    except (KeyError, UnsafeNameError) as error:
        raise ValueError(f"{name!r} is no file of a dataset") from error
    if expected.as_posix() != name:
        raise ValueError(f"{name!r} is no file of this video")


def _check_regular(staged: Path) -> None:
    with suppress(FileNotFoundError):  # moved already
        if not stat.S_ISREG(staged.lstat().st_mode):
            raise ValueError(f"{staged} is not a plain file")

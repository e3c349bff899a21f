"""Traces of removed clips beside the data: annotations and logs of runs, caches, the report page.

What is made again when it is needed (caches, pages) is deleted whole. Of a run's annotations the removed clips are
taken out, and lines of its logs that name them.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from multitalk.ground.files import atomic
from multitalk.manifests.takedown import Takedown

_LOGS = ("*.log", "*.jsonl", "*.job.json")
_TEXTS = (".json", ".md", ".csv", ".txt")
_MADE_AGAIN = ("cache", "report.html")


def scrub(root: Path, listed: Takedown, clip_ids: frozenset[str]) -> list[Path]:
    """Rid a dataset's folder of what tells of removed clips; returns the files that did, below the root.

    Parameters
    ----------
    clip_ids
        The removed clips, also those of listed videos.
    """
    names = {*listed.videos, *listed.clips, *clip_ids}
    if not names:
        return []
    found: list[Path] = []
    named = _pattern(names)
    for folder in (root / ".runs", root / "evaluations"):
        if folder.is_symlink():  # leads elsewhere: not this dataset's
            continue
        for place in sorted(folder.rglob("*.videos.json")):
            if _is_plain(place) and _scrub_annotations(place, listed, named):
                found.append(place)
        for pattern in _LOGS:
            found += [p for p in sorted(folder.rglob(pattern)) if _is_plain(p) and _scrub_lines(p, named)]
        if folder.name == "evaluations":
            texts = (p for p in sorted(folder.rglob("*")) if p.suffix in _TEXTS and _is_plain(p))
            found += [p for p in texts if _delete_if(p, named)]
    for name in _MADE_AGAIN:
        found += _made_again(root / name, named)
    return [place.relative_to(root) for place in dict.fromkeys(found)]


def _is_plain(place: Path) -> bool:
    return place.is_file() and not place.is_symlink()


def _pattern(names: Collection[str]) -> re.Pattern[bytes]:
    """Whole names: `ab` is not in `ab_1`, which may be another video's clip."""
    inside = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(rf"(?<![A-Za-z0-9_-])(?:{inside})(?![A-Za-z0-9_-])".encode())


def _scrub_annotations(place: Path, listed: Takedown, named: re.Pattern[bytes]) -> bool:
    content = place.read_bytes()
    if not named.search(content):
        return False
    try:
        batch = json.loads(content)
        batch["videos"] = [_without(video, listed) for video in batch["videos"]]
        batch["videos"] = [video for video in batch["videos"] if video is not None]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        place.unlink()  # not one of ours
        return True
    with atomic(place) as temporary:
        temporary.write_text(json.dumps(batch, ensure_ascii=False), "utf-8")
    return True


def _without(video: dict[str, Any], listed: Takedown) -> dict[str, Any] | None:
    if video["file_id"] in listed.videos:
        return None
    for kind in ("annotations", "invalid"):
        video[kind] = [clip for clip in video[kind] if clip["clip_id"] not in listed.clips]
    return video


def _scrub_lines(place: Path, named: re.Pattern[bytes]) -> bool:
    """Blank lines that name a clip, in place: a running worker may be appending, and must go on to this very file."""
    with place.open("r+b") as file:
        lines = file.read().splitlines(keepends=True)
        hit = False
        at = 0
        for line in lines:
            if named.search(line):
                hit = True
                file.seek(at)
                file.write(b" " * len(line.rstrip(b"\r\n")))
            at += len(line)
    return hit


def _delete_if(place: Path, named: re.Pattern[bytes]) -> bool:
    if not named.search(place.read_bytes()):
        return False
    place.unlink()
    return True


def _made_again(place: Path, named: re.Pattern[bytes]) -> Iterator[Path]:
    if place.is_symlink():
        return
    if place.is_dir():  # of numbers: nobody sees whose they are
        shutil.rmtree(place)
        yield place
    elif place.is_file() and _delete_if(place, named):
        yield place

"""How far the newest build or discovery at a root is, from what its workers wrote: for any shell that sees the root."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from multitalk.flows.building.batch import events_path
from multitalk.flows.building.plan import read_batches
from multitalk.flows.discovering import batch as discovering
from multitalk.flows.running.events import Event, read_events
from multitalk.flows.running.progress import RemainingTime
from multitalk.flows.running.worker_process import STOP_FILE
from multitalk.manifests.paths import DatasetError
from multitalk.manifests.store import read_manifest

_SILENT_SEC = 120.0  # workers give a sign of life every ten seconds
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class VideoTime:
    """How long a source video took, or has been at work."""

    video_id: str
    batch: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Failures:
    """Clips of the run that failed for one reason at one stage."""

    error_code: str
    stage: str
    clips: int


@dataclass(frozen=True, slots=True)
class StageTime:
    """Processor time of a stage, over all finished videos."""

    stage: str
    seconds: float
    share: float


@dataclass(frozen=True, slots=True)
class RunStatus:
    """How far a build is, or a discovery, of which the clips are those found so far."""

    run: str
    """Name of its folder in ``.runs``."""
    kind: Literal["build", "discover"]
    state: Literal["running", "silent", "stopped", "done"]
    """`silent`: none of its workers has given a sign of life for two minutes."""
    videos: int
    videos_done: int
    clips: int
    ok: int
    failed: int
    kept: int
    seconds: float
    """From the first event to the last one."""
    videos_per_hour: float | None
    left_sec: float | None
    failures: tuple[Failures, ...]
    at_work: tuple[VideoTime, ...]
    """Those longest at work first."""
    slowest: tuple[VideoTime, ...]
    """Of the finished ones."""
    cpu_by_stage: tuple[StageTime, ...] = ()
    """What takes the most first."""


@dataclass(frozen=True, slots=True)
class _Batch:
    events: Path
    name: str
    videos: int
    clips: int


def run_status(root: Path, now: float) -> RunStatus:
    """Say how far the newest build at `root` is, or the newest discovery whose folder that is.

    Parameters
    ----------
    now
        `time.time` of the machine; on another one its clock should agree with the workers'.

    Raises
    ------
    DatasetError
        When nothing has run at `root`.
    """
    folder = _newest(root)
    kind, batches = _batches(folder)
    started: dict[tuple[str, str], float] = {}
    finished: dict[tuple[str, str], Event] = {}
    last = 0.0
    for batch in batches:
        for event in read_events(batch.events):
            key = batch.name, event.item
            last = max(last, event.at)
            if event.kind == "started":
                started[key] = event.at
            elif event.kind == "finished":
                finished.setdefault(key, event)
    videos = sum(batch.videos for batch in batches)
    counts: Counter[str] = Counter()
    for event in finished.values():
        counts.update(event.counts)
    first = min(filter(None, started.values()), default=last)
    times = {
        key: VideoTime(key[1], key[0], event.at - started.get(key, event.at))
        for key, event in finished.items()
    }
    at_work = [VideoTime(key[1], key[0], now - at) for key, at in started.items() if key not in finished]
    state = _state(folder, len(finished), videos, now - last if last else None)
    seconds = max(0.0, last - first)
    return RunStatus(
        run=folder.name,
        kind=kind,
        state=state,
        videos=videos,
        videos_done=len(finished),
        clips=sum(batch.clips for batch in batches) if kind == "build" else counts["clips"],
        ok=counts["ok"] if kind == "build" else counts["clips"],
        failed=counts["failed"],
        kept=counts["kept"],
        seconds=seconds,
        videos_per_hour=3600 * len(finished) / seconds if seconds else None,
        left_sec=_left(first, [event.at for event in finished.values()], videos, now)
        if state == "running"
        else None,
        failures=_failures(root, {video for _, video in finished}),
        at_work=_longest(at_work) if state == "running" else (),
        slowest=_longest(times.values()),
        cpu_by_stage=_by_stage(finished.values()),
    )


def _batches(folder: Path) -> tuple[Literal["build", "discover"], list[_Batch]]:
    try:
        found = read_batches(folder)
    except ValidationError:
        raw = discovering.read_batches(folder)
        places = [discovering.events_path(folder, batch.name) for batch in raw]
        return "discover", [
            _Batch(place, batch.name, len(batch.videos), 0) for place, batch in zip(places, raw, strict=True)
        ]
    return "build", [_Batch(events_path(folder, b.name), b.name, b.videos, b.clips) for b in found]


def _by_stage(finished: Iterable[Event]) -> tuple[StageTime, ...]:
    spent: Counter[str] = Counter()
    for event in finished:
        spent.update(event.cpu)
    whole = sum(spent.values())
    return tuple(
        StageTime(stage, round(seconds, 2), round(seconds / whole, 4))
        for stage, seconds in spent.most_common()
        if seconds
    )


def _newest(root: Path) -> Path:
    runs = sorted((root / ".runs").glob("*/batches.json"), key=lambda place: place.parent.name)
    if not runs:
        raise DatasetError(
            f"no build has run at {root}: there is no batches.json in {root / '.runs'} (of a discovery, the root is "
            "OUT.discover/LANGUAGE)"
        )
    return runs[-1].parent


def _state(
    folder: Path, finished: int, videos: int, silent_sec: float | None
) -> Literal["running", "silent", "stopped", "done"]:
    if finished >= videos:
        return "done"
    if (folder / STOP_FILE).exists():
        return "stopped"
    return "silent" if silent_sec is not None and silent_sec > _SILENT_SEC else "running"


def _left(first: float, ends: list[float], videos: int, now: float) -> float | None:
    remaining = RemainingTime()
    remaining.update(first, 0, videos)
    for done, at in enumerate(sorted(ends), 1):
        remaining.update(at, done, videos)
    return remaining.seconds(now)


def _failures(root: Path, videos: set[str]) -> tuple[Failures, ...]:
    if not (root / "manifest").is_dir():
        return ()
    rows = read_manifest(root, ["video_id", "status", "error_code", "stage"])
    rows = rows.filter(
        pc.and_(
            pc.is_in(rows["video_id"], pa.array(sorted(videos), pa.string())),
            pc.equal(rows["status"], "failed"),
        )
    )
    reasons = Counter(zip(rows["error_code"].to_pylist(), rows["stage"].to_pylist(), strict=True))
    return tuple(Failures(code or "", stage or "", count) for (code, stage), count in reasons.most_common())


def _longest(times: Iterable[VideoTime]) -> tuple[VideoTime, ...]:
    return tuple(sorted(times, key=lambda time: -time.seconds)[:_SHOWN])

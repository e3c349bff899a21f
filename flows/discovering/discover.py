"""A discovery from end to end, in plain Python: from raw videos to an annotation file in MultiTalk's format.

`multitalk discover` calls `discover`. The Prefect flow (`flows.discover`) calls `prepare` and `finish`, and hands out
the batches in between.
"""

import hashlib
import json
import math
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from multitalk.extract.annotations import is_safe_name
from multitalk.extract.downloading.playlist import list_videos
from multitalk.extract.errors import ClipError, ErrorCode, Stage
from multitalk.filters.language_codes import whisper_code
from multitalk.filters.policy import load_policy
from multitalk.flows.discovering.batch import RawBatch, discover_batch, events_path, write_batches
from multitalk.flows.discovering.results import RawVideo, VideoResult, is_done, read_result
from multitalk.flows.discovering.settings import DiscoverSettings
from multitalk.flows.running.event_counter import EventCounter, RunProgress
from multitalk.flows.running.pool import make_run_folder, run_batches
from multitalk.flows.running.progress import ShownProgress
from multitalk.ground.files import atomic, sweep_temporary
from multitalk.ground.settings import SettingsError
from multitalk.manifests.schema import MANIFEST

_BATCH = 32
_LONGEST_ID = 120  # leaves room for a clip's number


@dataclass(frozen=True, slots=True)
class FailedVideo:
    """An address or a video that gave nothing, and why."""

    address: str
    error_code: str
    message: str


@dataclass(frozen=True, slots=True)
class DiscoverSummary:
    """What a discovery found."""

    out: str
    videos: int
    looked_at: int
    """Videos of this run; the others were done before."""
    clips: int
    minutes: float
    seconds: float
    failed: tuple[FailedVideo, ...]
    refused: dict[str, int]
    """Candidates by the rule that they break."""
    without_candidates: int
    """Videos that could be looked at and hold no interval to judge."""


@dataclass(frozen=True, slots=True)
class PreparedDiscovery:
    """What a discovery has to do."""

    settings: DiscoverSettings
    videos: tuple[RawVideo, ...]
    failed: tuple[FailedVideo, ...]
    run_folder: Path | None
    """None where there is nothing to do."""
    batches: tuple[RawBatch, ...]
    started: float

    @property
    def pending(self) -> int:
        """Videos that are to be looked at."""
        return sum(len(batch.videos) for batch in self.batches)


def discover(settings: DiscoverSettings) -> DiscoverSummary:
    """Look for talking-head clips in raw videos and write them as annotations.

    Call it again to continue: videos that were looked at with the same settings are not looked at again.

    Raises
    ------
    SettingsError, PolicyError, AssetError, HeadModelError
        What the user has to mend; told before any work.
    KeyboardInterrupt
        Ctrl-C, after the workers have stopped; the next call goes on.
    """
    prepared = prepare(settings)
    if prepared.run_folder is not None:
        _run(prepared, prepared.run_folder)
    return finish(prepared)


def prepare(settings: DiscoverSettings) -> PreparedDiscovery:
    """Check what can be checked at once, list the videos, and see which are to be looked at."""
    started = time.monotonic()
    load_policy(settings.policy, MANIFEST)
    if whisper_code(settings.language) is None:
        raise SettingsError(
            f"language: {settings.language!r} is not known to Whisper, which has to verify it"
        )
    videos, failed = raw_videos(settings)
    settings.folder.mkdir(parents=True, exist_ok=True)
    sweep_temporary(settings.folder)
    batches = _batches([video for video in videos if not is_done(video, settings)], settings)
    run_folder = make_run_folder(settings.folder) if batches else None
    if run_folder is not None:
        write_batches(batches, run_folder)
    return PreparedDiscovery(settings, tuple(videos), tuple(failed), run_folder, batches, started)


def finish(prepared: PreparedDiscovery) -> DiscoverSummary:
    """Write what all videos gave into the annotation file, and sum up."""
    settings = prepared.settings
    results = [r for video in prepared.videos if (r := read_result(video, settings)) is not None]
    clips = {clip_id: clip for result in results for clip_id, clip in result.clips.items()}
    with atomic(settings.out.absolute()) as place:
        place.write_text(json.dumps(clips, ensure_ascii=False, indent=1), encoding="utf-8")
    seconds = time.monotonic() - prepared.started
    return _summary(settings, results, prepared.failed, prepared.pending, seconds)


def counter(batches: Sequence[RawBatch], run_folder: Path) -> EventCounter:
    """Return what counts how far a run is."""
    return EventCounter(events_path(run_folder, batch.name) for batch in batches)


def progress_text(batches: Sequence[RawBatch], progress: RunProgress) -> str:
    """Say how far a run is."""
    videos = sum(len(batch.videos) for batch in batches)
    return f"{progress.items}/{videos} videos, {progress.counts['clips']} clips"


def _run(prepared: PreparedDiscovery, run_folder: Path) -> None:
    settings, events = prepared.settings, counter(prepared.batches, run_folder)
    with ShownProgress() as shown:

        def show() -> None:
            progress = events.count()
            shown.update(
                "discover", progress.done, prepared.pending, progress_text(prepared.batches, progress)
            )

        def run(batch: RawBatch) -> None:
            discover_batch(batch, settings, run_folder)

        run_batches(prepared.batches, run, at_once=settings.workers, run_folder=run_folder, show=show)


def _batches(videos: Sequence[RawVideo], settings: DiscoverSettings) -> tuple[RawBatch, ...]:
    size = max(1, min(_BATCH, math.ceil(len(videos) / (2 * settings.workers))))
    cuts = range(0, len(videos), size)
    return tuple(RawBatch(f"batch-{n}", tuple(videos[at : at + size])) for n, at in enumerate(cuts))


def raw_videos(settings: DiscoverSettings) -> tuple[list[RawVideo], list[FailedVideo]]:
    """Turn files and addresses into videos, playlists expanded, each video once; and what can not be."""
    videos: dict[str, RawVideo] = {}
    failed: list[FailedVideo] = []
    for named in settings.videos:
        try:
            found = _behind(named, settings)
        except ClipError as error:
            failed.append(FailedVideo(named, str(error.code), error.message))
            continue
        for video in found:
            known = videos.setdefault(video.video_id, video)
            if (
                known.address != video.address
            ):  # two files of one name: the later one is told apart by its place
                video_id = safe_id(video.video_id, video.address)
                videos.setdefault(video_id, RawVideo(video_id, video.address, video.local))
    return list(videos.values()), failed


def safe_id(name: str, distinct: str | None = None) -> str:
    """Return an id that may name files, for whatever a video is called; the same for the same name.

    Parameters
    ----------
    name
        A file's name without its ending, or a source's id.
    distinct
        What tells videos of one name apart; None: the name alone makes the id.
    """
    if distinct is None and is_safe_name(name) and len(name) <= _LONGEST_ID:
        return name
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = re.sub(r"[^A-Za-z0-9_-]+", "-", plain).strip("-")[:80]
    digest = hashlib.sha256((name if distinct is None else distinct).encode(errors="surrogatepass"))
    return f"{words}-{digest.hexdigest()[:10]}".lstrip("-")


def _behind(named: str, settings: DiscoverSettings) -> list[RawVideo]:
    try:
        scheme = urlsplit(named).scheme
    except ValueError as error:
        raise ClipError(ErrorCode.VIDEO_UNAVAILABLE, f"{named}: {error}", Stage.SOURCE) from error
    if scheme in ("http", "https"):
        listed = list_videos(named, settings.build.download)
        return [RawVideo(safe_id(video.video_id), video.url, local=False) for video in listed]
    path = Path(named)
    if not path.is_file():
        message = f"{named}: no such file, and no http(s) address"
        raise ClipError(ErrorCode.VIDEO_UNAVAILABLE, message, Stage.SOURCE)
    return [RawVideo(safe_id(path.stem), str(path.absolute()), local=True)]


def _summary(
    settings: DiscoverSettings,
    results: Sequence[VideoResult],
    failed: Sequence[FailedVideo],
    looked_at: int,
    seconds: float,
) -> DiscoverSummary:
    durations = [clip["duration"] for result in results for clip in result.clips.values()]
    broken = [
        FailedVideo(result.address, str(result.error_code), result.error_message or "")
        for result in results
        if result.error_code is not None
    ]
    refused = Counter(reason for result in results for one in result.refused for reason in one.reasons)
    return DiscoverSummary(
        out=str(settings.out),
        videos=len(results),
        looked_at=looked_at,
        clips=len(durations),
        minutes=sum(duration["end_sec"] - duration["start_sec"] for duration in durations) / 60,
        seconds=seconds,
        failed=(*failed, *broken),
        refused=dict(refused.most_common()),
        without_candidates=sum(not (r.clips or r.refused or r.error_code) for r in results),
    )

"""The source of a video's clips: fetched, or the one that an earlier build has kept."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from multitalk.extract.downloading.download import DownloadedVideo, download, scratch_folder
from multitalk.extract.downloading.fork_server import ForkServer
from multitalk.extract.downloading.pace import Pace
from multitalk.extract.errors import ClipError, Stage, as_clip_error
from multitalk.extract.probe import probe_stranger
from multitalk.flows.building.plan import AnnotatedVideo
from multitalk.flows.building.settings import BuildSettings
from multitalk.manifests import paths
from multitalk.manifests.clip_row import ClipRow


def fetch_source(
    video: AnnotatedVideo,
    intervals: Sequence[tuple[float, float]],
    before: Sequence[ClipRow],
    wanted: str,
    settings: BuildSettings,
    process: ForkServer | None = None,
) -> DownloadedVideo | ClipError:
    """Fetch a source video to its place, or take the one that is kept; a failure is returned, for the rows.

    The take-down list is `multitalk.flows.building.video`'s to heed.

    Parameters
    ----------
    intervals
        Beginnings and ends, in seconds, of the clips that it is wanted for.
    before
        The rows that are there of the video's clips.
    wanted
        The fingerprint of the stage `source`.
    process
        That downloads are forked from; None starts one for each.
    """
    root = settings.root
    place = source_path(video, settings)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if (kept := _kept_source(video, place, before, wanted, settings)) is not None:
            return kept
        pace = Pace(root / ".pause.json", settings.download.first_pause_sec)
        return download(video.source_url, place, settings.download, pace, clips=intervals, process=process)
    except Exception as error:
        return as_clip_error(error, video.file_id, Stage.SOURCE)


def drop_source(video: AnnotatedVideo, settings: BuildSettings) -> None:
    """Delete a source video, unless it is to be kept, and what had come of it when its process was killed."""
    place = source_path(video, settings)
    if not settings.keep_raw:
        place.unlink(missing_ok=True)
    shutil.rmtree(scratch_folder(place), ignore_errors=True)


def source_path(video: AnnotatedVideo, settings: BuildSettings) -> Path:
    """Return where a source video lies while it is worked on, and after, where it is kept."""
    return paths.raw_path(settings.root, video.language, video.file_id)


def _kept_source(
    video: AnnotatedVideo, place: Path, before: Sequence[ClipRow], wanted: str, settings: BuildSettings
) -> DownloadedVideo | None:
    """Return the source video that an earlier build with `keep_raw` left, where it is whole and the wanted one."""
    # Rows that say what they were cut from; new annotations have none, a failed download has no width.
    carried = [row for row in before if row.source_width is not None]
    if not place.is_file() or Stage.SOURCE in settings.redo or not carried or settings.download.sections:
        return None
    if any((row.stage_fingerprints or {}).get(str(Stage.SOURCE)) != wanted for row in carried):
        return None
    try:
        found = probe_stranger(place, settings.download.media_limits)
    except ClipError:
        return None
    language = carried[0].source_audio_language
    return DownloadedVideo(place, carried[0].source_url or video.source_url, found, None, language, "", 0)

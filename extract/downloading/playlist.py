"""From an address to the videos behind it: one, or all of a playlist or channel."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, urlsplit

from multitalk.extract.downloading.errors import Failure, classify, explain
from multitalk.extract.downloading.process import Limits, run_yt_dlp
from multitalk.extract.downloading.settings import DownloadSettings, yt_dlp_options
from multitalk.extract.errors import ClipError, Stage


@dataclass(frozen=True, slots=True)
class ListedVideo:
    """A video as a site lists it."""

    video_id: str
    """The site's own id; it may be no safe file name."""
    url: str


def list_videos(url: str, settings: DownloadSettings) -> list[ListedVideo]:
    """List the videos behind an address, in the site's order, without fetching any.

    Parameters
    ----------
    url
        Any address that yt-dlp takes: a video, a playlist, a channel.

    Raises
    ------
    ClipError
        With stage ``download``: the address can not be read.
    """
    with tempfile.TemporaryDirectory(prefix="multitalk-") as folder:
        options = yt_dlp_options(settings, Path(folder), local_files=False)
        del options["playlist_items"]
        options["extract_flat"] = "in_playlist"
        # Lists write no file, whose growth could be watched: only the time limit counts.
        limits = Limits(settings.timeout_sec, settings.timeout_sec, 0.0)
        answer = run_yt_dlp(url, options, Path(folder), limits, expand=True)
    if isinstance(answer, Failure):
        code = classify(answer)
        raise ClipError(code, f"{url}: {explain(answer, code)}", Stage.SOURCE)
    return [
        ListedVideo(str(video["id"] or _name_in(video["url"])), str(video["url"]))
        for video in answer["videos"]
        if video["url"]
    ]


def _name_in(url: str) -> str:
    # Feeds name YouTube's videos by their address only: watch?v=ID. Of a plain file's, yt-dlp takes the stem.
    parts = urlsplit(url)
    return parse_qs(parts.query).get("v", [PurePosixPath(parts.path).stem])[0]

"""How source videos are fetched, and what that is in yt-dlp's options."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from multitalk.extract.ffmpeg import ffmpeg_exe
from multitalk.extract.probe import MediaLimits
from multitalk.ground.outcome import OUTCOME, RUNTIME


class DownloadSettings(BaseModel):
    """How source videos are fetched."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_height: Annotated[int, OUTCOME] = Field(
        default=1080, ge=144, description="Largest shorter side in pixels of the format to choose"
    )
    min_fps: Annotated[float, OUTCOME] = Field(
        default=25.0, ge=0, description="Formats with fewer frames a second come last"
    )
    sections: Annotated[bool, RUNTIME] = Field(
        default=False,
        description="Fetch only the parts of a video that its clips need; slower, for small disks. Not from "
        "playlists of pieces (HLS, DASH) nor through a SOCKS proxy: these come whole",
    )
    max_pixels: Annotated[int, RUNTIME] = Field(
        default=4096 * 4096,
        ge=256,
        description="Most pixels of a picture; files with more are refused unseen",
    )
    max_streams: Annotated[int, RUNTIME] = Field(
        default=64, ge=2, description="Most streams (pictures, sounds, subtitles) in a file"
    )
    max_hours: Annotated[float, RUNTIME] = Field(
        default=24.0, gt=0, description="Longest source video, by what the file says"
    )
    cookies_file: Annotated[Path | None, RUNTIME] = Field(
        default=None, description="Netscape cookies file, for videos behind a login; it is only read"
    )
    cookies_browser: Annotated[str | None, RUNTIME] = Field(
        default=None, description="Browser to take cookies from, for instance firefox"
    )
    proxy: Annotated[str | None, RUNTIME] = Field(
        default=None, description="Proxy address, for instance socks5://127.0.0.1:1080"
    )
    private_hosts: Annotated[tuple[str, ...], RUNTIME] = Field(
        default=(),
        description="Hosts of your own network that sources may lead to; a source's own host need not be listed "
        "where it is an address or has no public name",
    )
    max_gib: Annotated[float | None, RUNTIME] = Field(
        default=None,
        gt=0,
        description="Largest size of a source video; none: what 16 Mbit/s take for two hours, or for twice the "
        "time of the last clip's end",
    )
    rate_limit: Annotated[int | None, RUNTIME] = Field(
        default=None, ge=1, description="Bytes a second at most, for one download"
    )
    sleep_sec: Annotated[float, RUNTIME] = Field(
        default=0.0, ge=0, description="Shortest pause before a download"
    )
    max_sleep_sec: Annotated[float, RUNTIME] = Field(
        default=0.0, ge=0, description="Longest pause before a download; random in between"
    )
    sleep_requests_sec: Annotated[float, RUNTIME] = Field(
        default=0.0, ge=0, description="Pause between requests for pages"
    )
    concurrent_fragments: Annotated[int, RUNTIME] = Field(
        default=1, ge=1, le=32, description="Pieces of one video fetched at a time"
    )
    js_runtimes: Annotated[dict[str, str | None], RUNTIME] = Field(
        default={"deno": None, "node": None},
        description="JavaScript runtimes that YouTube needs, with their paths, or null to search PATH",
    )
    extractor_args: Annotated[dict[str, dict[str, list[str]]], RUNTIME] = Field(
        default={}, description="yt-dlp's extractor arguments, for instance {youtube: {player_client: [web]}}"
    )
    attempts: Annotated[int, RUNTIME] = Field(default=4, ge=1, description="Tries for what is transient")
    backoff_sec: Annotated[float, RUNTIME] = Field(
        default=2.0, ge=0, description="Pause before the second try; then doubled"
    )
    max_backoff_sec: Annotated[float, RUNTIME] = Field(
        default=120.0, ge=0, description="Longest pause between tries; a server that asks for more ends them"
    )
    first_pause_sec: Annotated[float, RUNTIME] = Field(
        default=60.0, ge=0, description="First pause of all downloads after a bot check or a rate limit"
    )
    socket_timeout_sec: Annotated[float, RUNTIME] = Field(
        default=30.0, gt=0, description="Longest silence of a server before the connection is given up"
    )
    min_bytes_per_sec: Annotated[float, RUNTIME] = Field(
        default=1024.0, ge=0, description="Slower transfers are given up"
    )
    stall_timeout_sec: Annotated[float, RUNTIME] = Field(
        default=120.0, gt=0, description="Time over which the slowness of a transfer is judged"
    )
    timeout_sec: Annotated[float, RUNTIME] = Field(
        default=7200.0, gt=0, description="Longest time for one try"
    )

    @property
    def media_limits(self) -> MediaLimits:
        """How large a source video may be."""
        return MediaLimits(self.max_pixels, self.max_streams, self.max_hours)

    @field_validator("cookies_file")
    @classmethod
    def _cookies_can_be_read(cls, path: Path | None) -> Path | None:
        if path is not None and not (os.access(path, os.R_OK) and path.is_file()):
            raise ValueError(
                f"{path} is no file that can be read; export the cookies from a browser, or leave cookies_file out"
            )
        return path

    @model_validator(mode="after")
    def _rate_limit_is_no_stall(self) -> Self:
        if self.rate_limit is not None and self.rate_limit <= self.min_bytes_per_sec:
            raise ValueError(
                f"rate_limit: must be more than min_bytes_per_sec, {self.min_bytes_per_sec:g}, below which "
                "transfers are given up; raise it or lower that"
            )
        return self


def yt_dlp_options(settings: DownloadSettings, folder: Path, *, local_files: bool) -> dict[str, Any]:
    """Return yt-dlp's options, plain enough for JSON.

    Parameters
    ----------
    settings
        What the user chose.
    folder
        Where yt-dlp works: partial files stay there.
    local_files
        Whether addresses of files on this machine are allowed.
    """
    # yt-dlp knows neither a sign nor an exponent.
    fast_enough = f"[fps>=?{settings.min_fps - 0.1:.2f}]" if settings.min_fps > 0.1 else ""
    options = {
        # An unknown frame rate passes (a plain file's is); what is too slow comes last, not never:
        # the trimmer refuses it with a better message than "format not available".
        "format": f"bestvideo*{fast_enough}+bestaudio/best{fast_enough}/bestvideo*+bestaudio/best",
        # The original language before all (dubbed tracks exist); HDR last, since tone mapping only guesses.
        "format_sort": ["lang", f"res:{settings.max_height}", "hdr:sdr", "fps", "vcodec:h264"],
        "merge_output_format": "mp4",
        # MP4 does not hold what older containers do (VP8, Flash and Windows video): Matroska takes all.
        "postprocessors": [
            {"key": "FFmpegVideoRemuxer", "preferedformat": "mp4>mp4/mov>mp4/m4v>mp4/mkv"},
        ],
        "ffmpeg_location": str(ffmpeg_exe()),
        "paths": {"home": str(folder.absolute())},
        # The format in the name keeps partial files of different formats apart.
        "outtmpl": {"default": "%(format_id)s.%(ext)s"},
        "restrictfilenames": True,
        "continuedl": True,
        "updatetime": False,
        "noplaylist": True,
        "playlist_items": "1",
        "skip_unavailable_fragments": False,  # the default writes files with silent gaps
        "enable_file_urls": local_files,
        "quiet": True,
        "noprogress": True,
        "color": {"stdout": "never", "stderr": "never"},
        "socket_timeout": settings.socket_timeout_sec,
        "retries": 3,
        "fragment_retries": 5,
        "extractor_retries": 2,
        "concurrent_fragment_downloads": settings.concurrent_fragments,
        "sleep_interval": settings.sleep_sec,
        "max_sleep_interval": max(settings.sleep_sec, settings.max_sleep_sec),
        "sleep_interval_requests": settings.sleep_requests_sec,
        "extractor_args": settings.extractor_args,
        "js_runtimes": {name: {"path": path} if path else {} for name, path in settings.js_runtimes.items()},
        "cookiefile": str(settings.cookies_file) if settings.cookies_file else None,
        "cookiesfrombrowser": [settings.cookies_browser] if settings.cookies_browser else None,
        "proxy": settings.proxy,
        "private_hosts": list(settings.private_hosts) or None,
        # Pieces are fetched by yt-dlp itself: ffmpeg's connections nobody looks at.
        "external_downloader": {"default": "native"},
        "ratelimit": settings.rate_limit,
    }
    return {name: value for name, value in options.items() if value is not None}

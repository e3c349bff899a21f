"""Run yt-dlp, each time in a process of its own that can be killed when it hangs, forked from one that has it loaded.

A job is an object of JSON: ``{"url": ..., "options": {...}}``, with ``"expand": true`` to list an address's videos
instead of fetching one, or ``"parts": [[start, end], ...]`` to fetch only these, in seconds. Its process writes one
line of JSON to standard output: ``{"info": {...}}`` or ``{"failure": {...}}``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from multitalk.extract.downloading.addresses import refuse_private_addresses
from multitalk.extract.downloading.errors import Failure, describe
from multitalk.extract.downloading.fork_server import serve
from multitalk.extract.downloading.sections import Interval, Media, copy_parts
from multitalk.ground.untrusted.confinement import Confinement


class _Silent:
    """Keeps yt-dlp's own messages off the terminal: what matters arrives in the exception."""

    def debug(self, message: str) -> None:
        pass

    def warning(self, message: str) -> None:
        pass

    def error(self, message: str) -> None:
        pass


def _skip_live(info: dict[str, Any], *, incomplete: bool) -> str | None:
    del incomplete
    return "live" if info.get("live_status") in ("is_live", "is_upcoming") else None


def _download(
    url: str, options: dict[str, Any], *, expand: bool, parts: Sequence[Interval]
) -> dict[str, Any]:
    import yt_dlp

    if options.get("cookiesfrombrowser"):
        options["cookiesfrombrowser"] = tuple(options["cookiesfrombrowser"])
    options |= {"logger": _Silent(), "match_filter": _skip_live}
    options["retry_sleep_functions"] = {"http": _pause, "fragment": _pause}
    try:
        if "cookiefile" in options:
            # As a stream, because yt-dlp writes cookies back, and several processes share the file.
            options["cookiefile"] = io.StringIO(Path(options["cookiefile"]).read_text(encoding="utf-8"))
        with yt_dlp.YoutubeDL(options) as ydl:
            if expand:
                return _videos(ydl.extract_info(url, download=False))
            if parts and (partial := _parts(ydl, ydl.extract_info(url, download=False), parts)):
                return partial
            return _outcome(ydl.extract_info(url))
    except Exception as error:  # the boundary: whatever happens must reach the parent as data
        return {"failure": asdict(describe(error))}


def _pause(n: int) -> float:
    return min(2.0**n / 4, 10.0)


def _parts(ydl: Any, info: dict[str, Any] | None, parts: Sequence[Interval]) -> dict[str, Any] | None:
    """Fetch parts of a video; None where it is not given as plain files over HTTP."""
    files = (info or {}).get("requested_formats") or [info or {}]
    proxy = ydl.params.get("proxy")
    plain = all(file.get("protocol") in ("http", "https") for file in files)
    if info is None or not plain or (proxy and not proxy.startswith("http:")):
        return None
    media = [Media(_final_address(ydl, file), _headers(ydl, file)) for file in files]
    path = Path(ydl.prepare_filename(info)).with_suffix(".mp4")
    fps = copy_parts(media, parts, path, timeout_sec=ydl.params["socket_timeout"], proxy=proxy)
    answer = _outcome(info | {"requested_downloads": [{"filepath": str(path)}]})
    answer["info"]["fps"] = fps
    return answer


def _final_address(ydl: Any, file: dict[str, Any]) -> str:
    """Follow a file's redirects here, where each connection is looked at; ffmpeg, which then reads it, follows none."""
    from yt_dlp.networking import Request

    first = {**(file.get("http_headers") or {}), "Range": "bytes=0-0"}
    with ydl.urlopen(Request(file["url"], headers=first)) as answer:
        return str(answer.url)


def _headers(ydl: Any, file: dict[str, Any]) -> dict[str, str]:
    headers = dict(file.get("http_headers") or {})
    if cookies := ydl.cookiejar.get_cookie_header(file["url"]):
        headers["Cookie"] = cookies
    return headers


def _outcome(info: dict[str, Any] | None) -> dict[str, Any]:
    files = (info or {}).get("requested_downloads") or []
    if info is None or len(files) != 1:
        live = (info or {}).get("live_status") in ("is_live", "is_upcoming")
        reason = (
            "the video is a live event that has not ended" if live else "the address gave no single video"
        )
        return {"failure": asdict(Failure(message=reason, types=("UnsupportedError",)))}
    parts = info.get("requested_formats") or [info]
    sound: dict[str, Any] = next((part for part in parts if part.get("acodec") not in (None, "none")), {})
    return {
        "info": {
            "path": files[0]["filepath"],
            "format_id": info.get("format_id"),
            "language": sound.get("language"),
            "duration": info.get("duration"),
            "fps": None,
        }
    }


def _videos(info: dict[str, Any] | None) -> dict[str, Any]:
    videos: dict[str, dict[str, Any]] = {}
    for video in _entries(info or {}):
        found = {"id": video.get("id"), "url": video.get("webpage_url") or video.get("url")}
        # A channel lists a video under each of its tabs that holds it.
        videos.setdefault(str(found["id"] or found["url"]), found)
    return {"info": {"videos": list(videos.values())}}


def _entries(info: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the videos of a playlist and of those in it: a channel is a playlist of its tabs."""
    if info.get("_type") in ("playlist", "multi_video"):
        for entry in info.get("entries") or ():
            yield from _entries(entry or {})
    elif info:
        yield info


def _do(text: bytes) -> None:
    job = json.loads(text)
    Confinement(**job["confinement"]).apply()
    url, options = job["url"], job["options"]
    # For all of this job's process, and for good: there is no way to take such a hook back.
    refuse_private_addresses(url, proxy=options.get("proxy"), hosts=options.pop("private_hosts", ()))
    answer = _download(url, options, expand=job.get("expand", False), parts=job.get("parts", ()))
    print(json.dumps(answer), flush=True)  # noqa: T201


def main() -> None:
    """Load yt-dlp with what it loads when first used, and do the jobs that are asked for."""
    from yt_dlp import YoutubeDL
    from yt_dlp.extractor import gen_extractor_classes

    with YoutubeDL({"logger": _Silent()}) as ydl:
        for extractor in ("Youtube", "Generic"):
            ydl.get_info_extractor(extractor)
    for kind in gen_extractor_classes():
        kind.suitable("https://example.org/")  # compiles its pattern: half a second for all of them
    serve(_do)


if __name__ == "__main__":
    main()

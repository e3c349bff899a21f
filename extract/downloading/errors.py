"""From yt-dlp's exceptions to error codes.

yt-dlp tells most causes in the text of its messages only: `MESSAGES` is the table of them.
A message that no rule knows is never taken for permanent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from multitalk.extract.errors import NO_SPACE, ErrorCode

MESSAGES: tuple[tuple[str, ErrorCode], ...] = (
    (r"no space left on device|disk quota exceeded|file too large", ErrorCode.DISK_FULL),
    (r"larger than a source video may be", ErrorCode.TOO_LARGE),
    (r"private address", ErrorCode.VIDEO_UNAVAILABLE),
    (r"requested format|no video formats", ErrorCode.DOWNLOAD_FAILED),
    (r"confirm you.{1,8}re not a (ro)?bot|captcha|unusual traffic", ErrorCode.BOT_CHECK),
    (r"page needs to be reloaded", ErrorCode.BOT_CHECK),
    (r"^(\[youtube\] [\w-]+: )?please sign in", ErrorCode.BOT_CHECK),
    (r"try again later|rate.?limited|too many requests", ErrorCode.RATE_LIMITED),
    (r"confirm your age|age.?restricted|inappropriate for some users", ErrorCode.AGE_RESTRICTED),
    (r"(in|from) your (country|location|region)|geo.?restrict|geo.?block", ErrorCode.GEO_BLOCKED),
    (r"private video|(video|playlist) is private|members?.only|channel's members", ErrorCode.PRIVATE),
    (r"join this channel|requires payment|purchase|premium|subscribers", ErrorCode.PRIVATE),
    (r"registered users|log ?in required|need to (be logged|log) in|sign in", ErrorCode.PRIVATE),
    (r"unable to download webpage: \[errno 2\]", ErrorCode.VIDEO_UNAVAILABLE),
    (r"video (is )?unavailable|(not|no longer) available", ErrorCode.VIDEO_UNAVAILABLE),
    (r"content isn.t available|does not exist|was deleted", ErrorCode.VIDEO_UNAVAILABLE),
    (r"removed by|has been removed|has been terminated", ErrorCode.VIDEO_UNAVAILABLE),
    (r"violat\w+ youtube|copyright|account .{0,40}closed", ErrorCode.VIDEO_UNAVAILABLE),
    (r"premieres in|will begin in|live (event|stream)|is offline|has ended", ErrorCode.VIDEO_UNAVAILABLE),
    (r"drm protect", ErrorCode.VIDEO_UNAVAILABLE),
    (r"unsupported url|is not a valid url|incomplete youtube id|truncated_id", ErrorCode.VIDEO_UNAVAILABLE),
    (r"postprocessing:|conversion failed|invalid data found", ErrorCode.CORRUPT_MEDIA),
    (r"redirect loop|too many redirects|redirect error", ErrorCode.NETWORK),
    (r"more expected|giving up after|incomplete ?read", ErrorCode.NETWORK),
    (r"downloaded file is empty|not get any data", ErrorCode.NETWORK),
    (r"timed? ?out|connection (reset|refused|aborted)|broken pipe|name resolution", ErrorCode.NETWORK),
    (r"failed to resolve|remote end closed|unable to connect|network is unreachable", ErrorCode.NETWORK),
)  # fmt: skip
"""Patterns, looked for in lower case and in this order, with the code that each means."""

_TYPES = {
    "GeoRestrictedError": ErrorCode.GEO_BLOCKED,
    "UserNotLive": ErrorCode.VIDEO_UNAVAILABLE,
    "UnsupportedError": ErrorCode.VIDEO_UNAVAILABLE,
    "UnsupportedRequest": ErrorCode.VIDEO_UNAVAILABLE,
    "NoSupportingHandlers": ErrorCode.VIDEO_UNAVAILABLE,
    "ContentTooShortError": ErrorCode.NETWORK,
    "TransportError": ErrorCode.NETWORK,
    "IncompleteRead": ErrorCode.NETWORK,
    "ProxyError": ErrorCode.NETWORK,
    "SSLError": ErrorCode.NETWORK,
    "CertificateVerifyError": ErrorCode.NETWORK,
    "PostProcessingError": ErrorCode.CORRUPT_MEDIA,
    # FFmpeg's own, where only parts are fetched.
    "HTTPNotFoundError": ErrorCode.VIDEO_UNAVAILABLE,
    "HTTPUnauthorizedError": ErrorCode.PRIVATE,
    "HTTPForbiddenError": ErrorCode.BOT_CHECK,
    "HTTPServerError": ErrorCode.NETWORK,
    "InvalidDataError": ErrorCode.CORRUPT_MEDIA,
    "EOFError": ErrorCode.NETWORK,
}

_ADVICE = {
    ErrorCode.PRIVATE: "Cookies of an account that may see it help.",
    ErrorCode.AGE_RESTRICTED: "Cookies of an adult's account help.",
    ErrorCode.GEO_BLOCKED: "A proxy in another country helps.",
    ErrorCode.BOT_CHECK: "Cookies, another proxy or a pause of an hour help.",
    ErrorCode.RATE_LIMITED: "Run again later, with longer sleep intervals or another proxy.",
    ErrorCode.NETWORK: "Run again later.",
    ErrorCode.DISK_FULL: "Free some space and run again.",
    ErrorCode.DOWNLOAD_FAILED: "Run again; if it stays, upgrade yt-dlp and install the runtime deno.",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """What can be known of a failed download, plain enough to pass between processes."""

    message: str
    types: tuple[str, ...] = ()
    """Names of the exceptions' classes, from the outermost cause inwards."""
    http_status: int | None = None
    host: str = ""
    """Where the HTTP status came from."""
    retry_after: str | None = None
    """The answer's Retry-After header."""
    os_errno: int | None = None


def describe(error: BaseException) -> Failure:
    """Take apart an exception of yt-dlp: it hides the cause in ``exc_info`` or ``cause``."""
    chain = list(_causes(error))
    answer = next((e for e in chain if isinstance(getattr(e, "status", None), int)), None)
    response = getattr(answer, "response", None)
    system = next((e for e in chain if isinstance(e, OSError) and e.errno), None)
    return Failure(
        message=_one_line(str(error)),
        types=tuple(type(e).__name__ for e in chain),
        http_status=getattr(answer, "status", None),
        host=urlsplit(getattr(response, "url", None) or "").hostname or "",
        retry_after=response.headers.get("Retry-After") if response is not None else None,
        os_errno=system.errno if system is not None else None,
    )


def classify(failure: Failure) -> ErrorCode:
    """Return the error code that a failure means; ``download_failed`` when no rule knows it."""
    if failure.os_errno in NO_SPACE:
        return ErrorCode.DISK_FULL
    text = failure.message.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    by_text = next((code for pattern, code in MESSAGES if re.search(pattern, text)), None)
    by_status = _by_status(failure.http_status, failure.host) if failure.http_status else None
    if by_status is not None and by_text in (None, ErrorCode.NETWORK):
        return by_status  # "giving up after 3 retries" says less than "404" does
    if by_text is not None:
        return by_text
    return next((_TYPES[name] for name in failure.types if name in _TYPES), ErrorCode.DOWNLOAD_FAILED)


def explain(failure: Failure, code: ErrorCode) -> str:
    """Return one line for the user: what yt-dlp said and what helps."""
    return " ".join((failure.message.rstrip(".") + ".", _ADVICE.get(code, ""))).strip()


def retry_after_seconds(failure: Failure, now: datetime | None = None) -> float | None:
    """Return the seconds that the server asked to wait, which it may give as a number or a date."""
    value = (failure.retry_after or "").strip()
    if not value:
        return None
    if value.isdecimal():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    wait = date.replace(tzinfo=date.tzinfo or UTC) - (now or datetime.now(UTC))
    return max(wait.total_seconds(), 0.0)


def _by_status(status: int, host: str) -> ErrorCode | None:
    if status == 403:
        # YouTube's media servers answer so to clients that they take for robots.
        return ErrorCode.BOT_CHECK if _is_youtube(host) else ErrorCode.PRIVATE
    if status >= 500:
        return ErrorCode.NETWORK
    return {
        401: ErrorCode.PRIVATE,
        402: ErrorCode.PRIVATE,
        404: ErrorCode.VIDEO_UNAVAILABLE,
        408: ErrorCode.NETWORK,
        410: ErrorCode.VIDEO_UNAVAILABLE,
        416: ErrorCode.NETWORK,
        425: ErrorCode.NETWORK,
        429: ErrorCode.RATE_LIMITED,
        451: ErrorCode.GEO_BLOCKED,
    }.get(status)


def _is_youtube(host: str) -> bool:
    return f".{host}".endswith((".youtube.com", ".googlevideo.com"))


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    queue: list[object] = [error]
    while queue:
        found = queue.pop(0)
        if not isinstance(found, BaseException) or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        info = getattr(found, "exc_info", None)
        queue += [info[1] if isinstance(info, tuple) and len(info) > 1 else None]
        queue += [getattr(found, "cause", None), found.__cause__, found.__context__]


def _one_line(text: str, limit: int = 300) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text).removeprefix("ERROR: ")
    # yt-dlp appends advice for its own command line, which does not fit here.
    plain = re.split(r"; please report this issue|\. Use --cookies|\(caused by", plain)[0]
    line = " ".join("".join(c if c.isprintable() else " " for c in plain).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."

"""The table from yt-dlp's messages and exceptions to error codes."""

import errno
from datetime import UTC, datetime

import pytest
import yt_dlp.utils as yt
from yt_dlp.networking import Response
from yt_dlp.networking import exceptions as net

from multitalk.extract.downloading.errors import Failure, classify, describe, explain, retry_after_seconds
from multitalk.extract.errors import ErrorCode

YOUTUBE = [
    ("Private video. Sign in if you've been granted access to this video", "private"),
    ("This video is private", "private"),
    ("Join this channel to get access to members-only content like this video", "private"),
    ("This video is available to this channel's members on level: Fan (or any higher level)", "private"),
    ("This video requires payment to watch", "private"),
    ("This video is only available to Music Premium members", "private"),
    ("This video is only available for registered users", "private"),
    ("Sign in to confirm your age. This video may be inappropriate for some users.", "age_restricted"),
    ("This video is age-restricted and only available on YouTube", "age_restricted"),
    ("Video unavailable. The uploader has not made this video available in your country", "geo_blocked"),
    ("This video is not available in your country", "geo_blocked"),
    ("Video unavailable. It contains content from X, who has blocked it in your country", "geo_blocked"),
    ("This video is not available from your location due to geo restriction", "geo_blocked"),
    ("Sign in to confirm you\u2019re not a bot. Use --cookies-from-browser or --cookies", "bot_check"),
    ("Sign in to confirm you're not a bot", "bot_check"),
    ("Please sign in", "bot_check"),
    ("The page needs to be reloaded.", "bot_check"),
    ("Unable to solve the captcha challenge", "bot_check"),
    ("Video unavailable. This content isn't available, try again later. The current session has been "
     "rate-limited by YouTube for up to an hour", "rate_limited"),
    ("Video unavailable", "video_unavailable"),
    ("Video unavailable. This video has been removed by the uploader", "video_unavailable"),
    ("This video has been removed for violating YouTube's Community Guidelines", "video_unavailable"),
    ("This video is no longer available because the YouTube account associated with this video has been "
     "terminated.", "video_unavailable"),
    ("Video unavailable. It is no longer available due to a copyright claim by X", "video_unavailable"),
    ("This video is not available", "video_unavailable"),
    ("Premieres in 3 days", "video_unavailable"),
    ("This live event will begin in a few moments.", "video_unavailable"),
    ("This live stream recording is not available.", "video_unavailable"),
    ("This video is DRM protected", "video_unavailable"),
    ("Incomplete YouTube ID abc. URL x looks truncated.", "video_unavailable"),
    ("Requested format is not available. Use --list-formats for a list", "download_failed"),
    ("No video formats found!", "download_failed"),
    ("Precondition check failed.", "download_failed"),
    ("Some sentence that YouTube will invent next year", "download_failed"),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "code"), YOUTUBE)
def test_youtubes_sentences(sentence, code):
    error = yt.ExtractorError(sentence, expected=True, video_id="QrDZjUeiUwc", ie="youtube")
    assert classify(describe(wrapped(error))) == code


@pytest.mark.parametrize(
    ("status", "host", "code"),
    [
        (401, "example.org", "private"),
        (403, "example.org", "private"),
        (403, "rr4---sn-4g5e6nz7.googlevideo.com", "bot_check"),
        (403, "www.youtube.com", "bot_check"),
        (403, "notyoutube.com", "private"),
        (404, "example.org", "video_unavailable"),
        (410, "example.org", "video_unavailable"),
        (429, "www.youtube.com", "rate_limited"),
        (451, "example.org", "geo_blocked"),
        (500, "example.org", "network"),
        (503, "example.org", "network"),
        (418, "example.org", "download_failed"),
    ],
)
def test_http_statuses_in_yt_dlps_own_wrapping(status, host, code):
    response = Response(None, f"https://{host}/video", {"Retry-After": "7"}, status=status)
    error = yt.ExtractorError("Unable to download webpage", cause=net.HTTPError(response))
    failure = describe(wrapped(error))
    assert classify(failure) == code
    assert (failure.http_status, failure.host) == (status, host)
    assert retry_after_seconds(failure) == 7


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (yt.GeoRestrictedError("Only for some", countries=["DE"]), "geo_blocked"),
        (yt.UnsupportedError("https://example.org/page.html"), "video_unavailable"),
        (yt.UserNotLive(), "video_unavailable"),
        (yt.ContentTooShortError(10, 20), "network"),
        (yt.PostProcessingError("something with the audio"), "corrupt_media"),
        (net.TransportError("the wire broke"), "network"),
        (net.IncompleteRead(partial=10, expected=20), "network"),
        (net.ProxyError("no proxy"), "network"),
        (net.SSLError("handshake"), "network"),
        (net.UnsupportedRequest("gopher"), "video_unavailable"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (RuntimeError("unheard of"), "download_failed"),
    ],
)
def test_yt_dlps_exception_types(error, code):
    assert classify(describe(wrapped(error))) == code


def wrapped(error: Exception) -> yt.DownloadError:
    """As YoutubeDL raises it: the cause only in exc_info."""
    try:
        raise error
    except Exception as caught:
        return yt.DownloadError(f"ERROR: {caught}", (type(caught), caught, caught.__traceback__))


def test_unknown_failures_are_never_permanent():
    assert classify(Failure("???")).transient


def test_message_is_one_short_plain_line():
    failure = describe(RuntimeError("ERROR: \x1b[0;31mfirst\x1b[0m\nsecond \x00" + "x" * 1000))
    assert failure.message.startswith("first second")
    assert len(failure.message) == 300
    assert failure.message.isprintable()


def test_advice_is_ours_and_not_yt_dlps():
    failure = describe(RuntimeError("Sign in to confirm you're not a bot. Use --cookies-from-browser"))
    text = explain(failure, ErrorCode.BOT_CHECK)
    assert "--cookies" not in text
    assert text.startswith("Sign in to confirm you're not a bot. Cookies")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("120", 120),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30),
        ("Wed, 21 Oct 2026 07:00:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("Wed, 21 Oct 2026 07:28:30 +99999999999999", None),
    ],
)
def test_retry_after_as_number_or_date(header, seconds):
    now = datetime(2026, 10, 21, 7, 28, 0, tzinfo=UTC)
    assert retry_after_seconds(Failure("", retry_after=header), now) == seconds

"""Downloading one model file over HTTPS."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

from multitalk.assets.asset import AssetFile
from multitalk.assets.errors import AssetCorrupt, DownloadFailed
from multitalk.assets.files import CHUNK_BYTES, record_sha256, write_verified

Progress = Callable[[int, int | None], None]
"""Called with the bytes received so far and the total, None where the server does not tell."""

TIMEOUT_SEC = 30.0
"""Seconds without a byte after which a connection counts as dead."""


def download(file: AssetFile, target: Path, progress: Progress | None = None) -> None:
    """Download a file to its final place, verified.

    Where no hash is published, the hash of what came is recorded as `NAME.sha256` beside it.

    Parameters
    ----------
    file : AssetFile
        What to download; its `url` must not be None.
    target : Path
        Where to put it.
    progress : callable, optional

    Raises
    ------
    DownloadFailed
        Offline, refused by the server, cut short, or not the expected content; `target` is untouched.
    """
    if file.url is None:
        raise ValueError(f"{file.name} has no URL")
    _require_safe(file.url)
    by_hand = f"Check the network, or put the file by hand at {target}"
    try:
        request = urllib.request.Request(file.url, headers={"User-Agent": "multitalk"})  # noqa: S310  checked above
        with urllib.request.urlopen(request, timeout=TIMEOUT_SEC) as response:  # noqa: S310
            _require_safe(response.url)
            _store(file, target, _received(response, progress), file.url)
    except urllib.error.HTTPError as error:
        raise DownloadFailed(
            f"{file.url}: the server answered {error.code} {error.reason}. {by_hand}."
        ) from error
    except urllib.error.URLError as error:
        host = urlsplit(file.url).hostname
        raise DownloadFailed(f"{file.url}: no connection to {host} ({error.reason}). {by_hand}.") from error
    except (TimeoutError, HTTPException, ConnectionError, ssl.SSLError) as error:
        raise DownloadFailed(f"{file.url}: the connection broke off ({error!r}). {by_hand}.") from error
    except AssetCorrupt as error:
        raise DownloadFailed(
            f"{error}. Nothing was kept. Try again, or put the file by hand at {target}."
        ) from error
    except OSError as error:
        raise DownloadFailed(
            f"{target}: cannot be written ({error.strerror}). Free space or permissions?"
        ) from error


def _store(file: AssetFile, target: Path, content: Iterator[bytes], source: str) -> None:
    sha256 = write_verified(target, file, content, source)
    if file.sha256 is not None:
        return
    try:
        record_sha256(target, sha256)
    except OSError:
        target.unlink(missing_ok=True)  # else it would count as fetched, and its later damage never show
        raise


def _received(response: HTTPResponse, progress: Progress | None) -> Iterator[bytes]:
    announced = response.headers.get("Content-Length")
    total = int(announced) if announced is not None and announced.isdigit() else None
    received = 0
    while chunk := response.read(CHUNK_BYTES):
        received += len(chunk)
        yield chunk
        if progress is not None:
            progress(received, total)
    # read(n) of http.client does not tell a connection that closed early from the end
    if total is not None and received != total:
        raise ConnectionError(f"{received} of {total} bytes came")


def _require_safe(url: str) -> None:
    """Refuse unencrypted transport, except from this very machine."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (
        parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost"}
    ):
        raise DownloadFailed(f"{url}: refused, because it is not https")

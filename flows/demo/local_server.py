"""A file server on this machine: what the demo and the tests download their videos from."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

_CHUNK_BYTES = 1 << 18
_CONTENT_TYPES = {".mp4": "video/mp4", ".json": "application/json"}


@contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """Serve the files of a folder over HTTP, to this machine only.

    Byte ranges are answered as RFC 9110 asks, since downloaders resume with them. What does not exist, is no
    plain file, or lies outside the folder (also through a link) is answered with 404.

    Parameters
    ----------
    folder : Path

    Yields
    ------
    str
        Base URL without a slash at its end, such as `http://127.0.0.1:40123`.

    Raises
    ------
    NotADirectoryError
        There is no such folder.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder: nothing to serve")
    with _FolderServer(folder.resolve()) as server:
        # The default poll of 0.5 s would be the time that leaving the context takes.
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="serve_folder", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _FolderServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that went away; anything else is a fault of this server."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    server: _FolderServer
    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds that an idle connection may hold its thread

    def do_GET(self) -> None:  # the name is http.server's
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: progress on the terminal is the caller's."""

    def _answer(self, *, with_body: bool) -> None:
        path = self._requested_file()
        if path is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        size = path.stat().st_size
        span = _byte_range(self.headers.get("Range"), size)
        if span is None:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start, stop, partial = span
        self.send_response(HTTPStatus.PARTIAL_CONTENT if partial else HTTPStatus.OK)
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", _CONTENT_TYPES.get(path.suffix, "application/octet-stream"))
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        if with_body:
            self._send(path, start, stop)

    def _requested_file(self) -> Path | None:
        try:
            name = unquote(urlsplit(self.path).path, errors="strict").lstrip("/")
            path = (self.server.folder / name).resolve()
            inside = path.is_relative_to(self.server.folder)
            return path if inside and path.is_file() else None
        except (ValueError, OSError):  # a NUL byte, bad encoding, a name too long
            return None

    def _send(self, path: Path, start: int, stop: int) -> None:
        try:
            with path.open("rb") as stream:
                stream.seek(start)
                while start < stop and (chunk := stream.read(min(_CHUNK_BYTES, stop - start))):
                    self.wfile.write(chunk)
                    start += len(chunk)
        except ConnectionError:
            self.close_connection = True  # the client went away


def _byte_range(header: str | None, size: int) -> tuple[int, int, bool] | None:
    """Return first byte, byte after the last, and whether that is a part; None if it cannot be satisfied."""
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header.strip()) if header else None
    if match is None or match.group(0) == "bytes=-":
        return 0, size, False  # RFC 9110: a range that is not understood is ignored
    first, last = match.groups()
    if not first:
        count = min(int(last), size)
        return (size - count, size, True) if count else None
    start, stop = int(first), min(int(last) + 1 if last else size, size)
    if last and int(last) < int(first):
        return 0, size, False
    return (start, stop, True) if start < size else None

"""A server on this machine that misbehaves in every way a server can."""

import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from multitalk.extract.downloading.download import DownloadSettings

PATIENT = DownloadSettings(attempts=3, backoff_sec=0.05, socket_timeout_sec=10)
ONCE = PATIENT.model_copy(update={"attempts": 1})


class BadServer(ThreadingHTTPServer):
    """Each path is a way to misbehave; counts the requests for each."""

    daemon_threads = True

    def __init__(self, video: bytes) -> None:
        super().__init__(("127.0.0.1", 0), BadHandler)
        self.video = video
        self.hits: dict[str, list[str]] = {}
        self.times: dict[str, list[float]] = {}

    def handle_error(self, request, client_address):
        """Stay quiet about clients that we cut off."""


class BadHandler(BaseHTTPRequestHandler):
    server: BadServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.way = self.path.strip("/").removesuffix(".mp4")
        self.server.hits.setdefault(self.way, []).append(self.headers.get("Range") or "")
        self.server.times.setdefault(self.way, []).append(time.monotonic())
        self.count = len(self.server.hits[self.way])
        self.close_connection = True
        getattr(self, f"way_{self.way.replace('-', '_')}", self.by_status)()

    def by_status(self):
        self.refuse(int(self.way.removeprefix("status-")))

    def refuse(self, status, **headers):
        self.send_response(status)
        for name, value in ({"Content-Length": "0", "Connection": "close"} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def serve(self, body, length=None, kind="video/mp4", send=None):
        """Answer with the rest of the body that was asked for."""
        asked = self.headers.get("Range")
        first = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        length = len(body) if length is None else length
        self.send_response(206 if asked else 200)
        self.send_header("Connection", "close")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length - first))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{length - 1}/{length}")
        self.end_headers()
        if self.command == "GET":
            (send or self.wfile.write)(body[first:])

    def way_good(self):
        self.serve(self.server.video)

    def way_slow_down(self):
        if self.count == 1:
            self.refuse(429, Retry_After="1")
        else:
            self.serve(self.server.video)

    def way_limited_for_long(self):
        self.refuse(429, Retry_After="3600")

    def way_recovers(self):
        if self.count <= 2:
            self.refuse(500)
        else:
            self.serve(self.server.video)

    def way_reset(self):
        """Break off in mid-file, twice."""
        half = len(self.server.video) // 3

        def send_part(rest):
            self.wfile.write(rest[:half])
            self.wfile.flush()
            # A reset and not an orderly end.
            self.connection.setsockopt(1, 13, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            self.connection.close()

        breaking = sum(1 for _ in self.server.hits[self.way]) <= 4
        self.serve(self.server.video, send=send_part if breaking else None)

    def way_stalled(self):
        def send_part(rest):
            self.wfile.write(rest[:5000])
            self.wfile.flush()
            time.sleep(20)

        self.serve(self.server.video, send=send_part)

    def way_drip(self):
        def send_drops(rest):
            for byte in rest:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(0.2)

        self.serve(self.server.video, send=send_drops)

    def way_claims_more(self):
        self.serve(self.server.video, length=len(self.server.video) + 5000)

    def way_claims_less(self):
        half = self.server.video[: len(self.server.video) // 2]
        self.serve(half)

    def way_html(self):
        self.serve(b"<!DOCTYPE html><html><body>Nothing here</body></html>", kind="text/html")

    def way_html_as_video(self):
        self.serve(b"<!DOCTYPE html><html><body>Please log in</body></html>")

    def way_empty(self):
        self.serve(b"")

    def way_playlist(self):
        """An HLS playlist under a video's name that asks for a file of this machine."""
        self.serve(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")

    def way_loop(self):
        self.refuse(302, Location=self.path)

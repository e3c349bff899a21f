"""A source's server can not lead a download into the user's own network, nor fill the disk."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import ValidationError

from multitalk.extract.downloading.addresses import _check, _check_program, _is_own_network
from multitalk.extract.downloading.download import DownloadSettings, download
from multitalk.extract.errors import ClipError
from multitalk.flows.building.settings import BuildSettings


@contextmanager
def serving(answer):
    """Serve what `answer(path)` gives: status, headers, body."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            status, headers, body = answer(self.path)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()


PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{}/piece.ts\n#EXT-X-ENDLIST\n"
KEYED = PLAYLIST.replace("#EXTINF", '#EXT-X-KEY:METHOD=AES-128,URI="{}/key"\n#EXTINF', 1)
MPD = (
    '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT4S">'
    '<BaseURL>{}/</BaseURL><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1" '
    'codecs="avc1"><BaseURL>v.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>'
)
LEADS = {
    "redirect": lambda to: (302, {"Location": f"{to}/secret"}, b""),
    "pieces": lambda to: (200, {"Content-Type": "application/vnd.apple.mpegurl"}, PLAYLIST.format(to).encode()),
    "keys": lambda to: (
        200, {"Content-Type": "application/vnd.apple.mpegurl"}, KEYED.format(to, to).encode()
    ),
    "base": lambda to: (200, {"Content-Type": "application/dash+xml"}, MPD.format(to).encode()),
}  # fmt: skip


@pytest.mark.parametrize("way", LEADS)
@pytest.mark.parametrize("sections", [False, True])
def test_a_server_leads_to_no_other_private_address(tmp_path, way, sections):
    settings = DownloadSettings(attempts=1, sections=sections)
    name = {"pieces": "v.m3u8", "keys": "v.m3u8", "base": "v.mpd"}.get(way, "v.mp4")
    with (
        serving(lambda _: (200, {}, b"x" * 1000)) as (inside, asked),
        serving(lambda _: LEADS[way](inside)) as (
            outside,
            _,
        ),
    ):
        with pytest.raises(ClipError):
            download(f"{outside}/{name}", tmp_path / "v.mp4", settings, clips=[(0.0, 1.0)])
        assert asked == []


def test_a_video_without_end_is_stopped_at_its_largest_size(tmp_path):
    settings = DownloadSettings(attempts=3, max_gib=1e6 / 2**30)

    class Endless(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "video/mp4")
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"x" * 65536)
            except OSError:
                pass

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(ClipError, match="larger than a source video may be") as caught:
            download(f"http://127.0.0.1:{server.server_port}/v.mp4", tmp_path / "v.mp4", settings)
    finally:
        server.shutdown()
    assert caught.value.attempts == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "0.0.0.0",
                "100.64.0.1", "::1", "fe80::1%eth0",
                "fd00::1", "::ffff:127.0.0.1", "224.0.0.1"]
)  # fmt: skip
def test_private_addresses_are_refused(address):
    with pytest.raises(OSError, match="private address"):
        _check((address, 80), (), ())
    _check((address, 80), {(address, 80)}, ())
    _check((address, 80), (), {address})


def test_public_ones_are_not():
    _check(("8.8.8.8", 443), (), ())
    _check(("2606:4700::1111", 443, 0, 0), (), ())
    _check("/run/socket", (), ())
    assert not _is_own_network("www.youtube.com")
    assert all(map(_is_own_network, ["127.0.0.1", "localhost", "nas", "nas.local", "::1"]))


def test_ffmpeg_is_given_no_address():
    _check_program(["ffmpeg", "-i", "file:/tmp/v.mp4", "out.mp4"])
    with pytest.raises(OSError, match="ffmpeg"):
        _check_program(["ffmpeg", "-i", "https://example.org/v.m3u8"])


@pytest.mark.parametrize(
    "template", ["data:video/mp4;base64,{video_id}", "gopher://x/{video_id}", "{video_id}",
                 "ytsearch:{video_id}", "http:"]
)  # fmt: skip
def test_only_web_and_file_addresses_are_sources_of_builds(template):
    with pytest.raises(ValidationError, match="no address of http"):
        BuildSettings(source_url=template)

"""Downloads from a server on this machine that misbehaves in every way a server can."""

import json
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest

from extract.download import DownloadedVideo, DownloadSettings, Pace, download, source_url
from extract.download_settings import yt_dlp_options
from extract.errors import ClipError, ErrorCode, Stage
from extract.ffmpeg import run_ffmpeg

PATIENT = DownloadSettings(attempts=3, backoff_sec=0.05, socket_timeout_sec=10)
ONCE = PATIENT.model_copy(update={"attempts": 1})


@pytest.fixture(scope="module")
def video_bytes(tmp_path_factory) -> bytes:
    """A real video of 2 s with sound, its index in front, of about 300 kB."""
    path = tmp_path_factory.mktemp("source") / "video.mp4"
    noise = np.random.default_rng(0)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        picture = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "20"})
        picture.width, picture.height, picture.pix_fmt = 160, 120, "yuv420p"
        sound = container.add_stream("aac", rate=16000, layout="mono")
        for _ in range(50):
            frame = av.VideoFrame.from_ndarray(
                noise.integers(0, 255, (120, 160, 3), np.uint8), format="rgb24"
            )
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        for _ in range(32):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.int16), format="s16", layout="mono")
            samples.sample_rate = 16000
            container.mux(sound.encode(samples))
        container.mux(sound.encode())
    return path.read_bytes()


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


@pytest.fixture(scope="module")
def server(video_bytes):
    server = BadServer(video_bytes)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


WAYS = {
    "good": PATIENT, "slow-down": PATIENT, "recovers": PATIENT, "reset": PATIENT,
    "limited-for-long": PATIENT, "status-404": PATIENT, "status-403": PATIENT, "status-410": PATIENT,
    "status-503": PATIENT.model_copy(update={"attempts": 2}),
    "stalled": ONCE.model_copy(update={"socket_timeout_sec": 1}),
    "drip": ONCE.model_copy(update={"stall_timeout_sec": 4, "min_bytes_per_sec": 1000}),
    "claims-more": ONCE, "claims-less": PATIENT,
    "html": PATIENT, "html-as-video": PATIENT, "empty": ONCE, "playlist": PATIENT, "loop": ONCE,
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(server, tmp_path_factory):
    """Every way tried once, several at a time, since most of them wait."""
    folder = tmp_path_factory.mktemp("raw")

    def outcome(way):
        url = source_url(f"http://127.0.0.1:{server.server_port}/{{video_id}}.mp4", way)
        try:
            return download(url, folder / f"{way}.mp4", WAYS[way])
        except ClipError as error:
            return error

    with ThreadPoolExecutor(6) as pool:
        return folder, dict(zip(WAYS, pool.map(outcome, WAYS), strict=True))


@pytest.mark.parametrize(("way", "attempts"), [("good", 1), ("slow-down", 2), ("recovers", 3), ("reset", 1)])
def test_these_end_well(outcomes, video_bytes, way, attempts):
    folder, found = outcomes
    result = found[way]
    assert isinstance(result, DownloadedVideo), result
    assert result.path == folder / f"{way}.mp4"
    assert result.path.read_bytes() == video_bytes
    assert (result.video.width, result.video.height, result.video.fps) == (160, 120, 25)
    assert result.video.has_audio
    assert result.tool_version.startswith("yt-dlp 20")
    assert result.attempts == attempts


@pytest.mark.parametrize(
    ("way", "code", "attempts", "text"),
    [
        ("status-404", "video_unavailable", 1, "404"),
        ("status-403", "private", 1, "403"),
        ("status-410", "video_unavailable", 1, "410"),
        ("status-503", "network", 2, "503"),
        ("limited-for-long", "rate_limited", 1, "429"),
        ("stalled", "network", 1, "timed out"),
        ("drip", "network", 1, "stalled"),
        ("claims-more", "network", 1, "more expected"),
        ("claims-less", "corrupt_media", 1, "cut off"),
        ("html", "video_unavailable", 1, "Unsupported URL"),
        ("html-as-video", "corrupt_media", 1, "no video"),
        ("empty", "network", 1, "not get any data"),
        ("playlist", "corrupt_media", 1, "no video"),
        ("loop", "network", 1, "redirect"),
    ],
)
def test_these_end_with_a_code_and_a_reason(outcomes, way, code, attempts, text):
    folder, found = outcomes
    error = found[way]
    assert isinstance(error, ClipError), error
    assert (error.code, error.stage, error.attempts) == (code, Stage.DOWNLOAD, attempts), error
    assert f"/{way}.mp4" in str(error)
    assert text in str(error)
    assert "\n" not in str(error)
    assert not (folder / f"{way}.mp4").exists()


def test_only_what_can_be_continued_stays_on_disk(outcomes):
    folder, found = outcomes
    left = {path.name for path in folder.iterdir() if path.name.startswith(".")}
    kept = {
        f".{way}.mp4.download"
        for way, end in found.items()
        if isinstance(end, ClipError) and end.code.transient
    }
    assert left <= kept
    assert any((folder / ".stalled.mp4.download").iterdir())


def test_retry_after_is_honoured(outcomes, server):
    first, second = server.times["slow-down"][:2]
    assert second - first >= 1


def test_a_broken_transfer_goes_on_where_it_broke(outcomes, server, video_bytes):
    continued = [
        int(r.removeprefix("bytes=").split("-")[0]) for r in server.hits["reset"] if r and r != "bytes=0-"
    ]
    assert continued == sorted(continued)
    assert 0 < continued[0] < continued[-1] < len(video_bytes)


def test_next_run_continues_a_partial_download(server, tmp_path, video_bytes):
    url = f"http://127.0.0.1:{server.server_port}/good.mp4"
    scratch = tmp_path / ".good.mp4.download"
    scratch.mkdir()
    (scratch / "mp4.mp4.part").write_bytes(video_bytes[:100_000])
    before = len(server.hits.get("good", []))
    download(url, tmp_path / "good.mp4", PATIENT)
    assert "bytes=100000-" in server.hits["good"][before:]
    assert (tmp_path / "good.mp4").read_bytes() == video_bytes
    assert not scratch.exists()


def test_a_partial_file_of_something_else_costs_a_fresh_start_only(server, tmp_path, video_bytes):
    scratch = tmp_path / ".good.mp4.download"
    scratch.mkdir()
    (scratch / "mp4.mp4.part").write_bytes(b"x" * 100_000)
    result = download(f"http://127.0.0.1:{server.server_port}/good.mp4", tmp_path / "good.mp4", PATIENT)
    assert result.attempts == 2
    assert result.path.read_bytes() == video_bytes


def test_files_of_this_machine_and_no_connection(tmp_path, video_bytes):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "abc.mp4").write_bytes(video_bytes)
    template = (tmp_path / "mirror").as_uri() + "/{video_id}.mp4"
    assert download(source_url(template, "abc"), tmp_path / "abc.mp4", ONCE).video.width == 160
    with pytest.raises(ClipError) as caught:
        download("http://127.0.0.1:9/abc.mp4", tmp_path / "none.mp4", ONCE)
    assert caught.value.code is ErrorCode.NETWORK


def test_picture_and_sound_from_different_files_are_merged(tmp_path, video_bytes):
    """As YouTube gives them; here by a DASH manifest, which also comes in pieces."""
    folder = tmp_path / "dash"
    folder.mkdir()
    (folder / "whole.mp4").write_bytes(video_bytes)
    run_ffmpeg(
        ["-v", "error", "-i", str(folder / "whole.mp4"), "-c", "copy", "-f", "dash", str(folder / "abc.mpd")],
        30,
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietFiles, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        result = download(f"http://127.0.0.1:{server.server_port}/abc.mpd", tmp_path / "abc.mp4", PATIENT)
        server.shutdown()
    assert result.format_id.count("+") == 1
    assert (result.video.has_audio, result.video.fps, result.video.width) == (True, 25, 160)
    assert result.video.video_end_sec == pytest.approx(2, abs=0.05)
    assert {path.name for path in tmp_path.iterdir()} == {"dash", "abc.mp4"}


class QuietFiles(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_a_rate_limit_pauses_the_whole_run(server, tmp_path):
    pace = Pace(tmp_path / "pause.json", first_pause_sec=60)
    with pytest.raises(ClipError):
        download(
            f"http://127.0.0.1:{server.server_port}/limited-for-long.mp4", tmp_path / "x.mp4", ONCE, pace
        )
    assert pace.remaining_sec() > 3500
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        (tmp_path / "pause.json").unlink()  # the pause is over

    download(f"http://127.0.0.1:{server.server_port}/good.mp4", tmp_path / "y.mp4", ONCE, pace, sleep)
    assert slept


def test_full_disk(server, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(ClipError) as caught:
        download(f"http://127.0.0.1:{server.server_port}/good.mp4", tmp_path / "y.mp4", PATIENT)
    assert caught.value.code is ErrorCode.DISK_FULL


def test_worker_ends_itself_when_its_parent_is_gone(server, tmp_path):
    worker = subprocess.Popen(
        [sys.executable, "-m", "extract.download_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )
    options = yt_dlp_options(PATIENT, tmp_path, local_files=False)
    job = {"url": f"http://127.0.0.1:{server.server_port}/drip.mp4", "options": options}
    worker.stdin.write(json.dumps(job).encode() + b"\n")
    worker.stdin.flush()
    time.sleep(1)
    assert worker.poll() is None
    worker.stdin.close()  # what the system does when the parent is killed
    assert worker.wait(10) == -signal.SIGKILL


@pytest.mark.parametrize("video_id", ["", "..", "a/b", "a b", "a\n", "{x}", "a" * 129, "'; rm"])
def test_unsafe_video_id_makes_no_address(video_id):
    with pytest.raises(ValueError, match="no video id"):
        source_url("http://localhost/{video_id}.mp4", video_id)


@pytest.mark.parametrize(
    "template", ["", "http://localhost/x.mp4", "{video_id}", "ftp://h/{video_id}", "/x/{video_id}"]
)
def test_unusable_template(template):
    with pytest.raises(ValueError, match="no source address"):
        source_url(template, "abc")


def test_template_is_no_format_string():
    template = "http://localhost/{video_id.__class__}/{video_id}.mp4"
    assert source_url(template, "abc") == "http://localhost/{video_id.__class__}/abc.mp4"


def test_settings_become_yt_dlps_options(tmp_path):
    settings = DownloadSettings(
        max_height=720,
        cookies_browser="firefox",
        proxy="socks5://127.0.0.1:1",
        js_runtimes={"node": "/opt/node"},
        rate_limit=1000,
        sleep_sec=5,
        extractor_args={"youtube": {"player_client": ["web"]}},
    )
    options = yt_dlp_options(settings, tmp_path, local_files=False)
    assert options["format_sort"][:2] == ["lang", "res:720"]
    assert "[fps>=?24.9]" in options["format"]
    assert options["js_runtimes"] == {"node": {"path": "/opt/node"}}
    assert options["max_sleep_interval"] == 5
    assert options["skip_unavailable_fragments"] is False
    assert not options["enable_file_urls"]
    assert "cookiefile" not in options
    assert json.loads(json.dumps(options)) == options


def choose(formats, settings, tmp_path):
    """Let yt-dlp choose among formats as it would for a video with these."""
    import yt_dlp

    options = yt_dlp_options(settings, tmp_path, local_files=False)
    with yt_dlp.YoutubeDL(options | {"logger": None}) as ydl:
        info = {"id": "x", "title": "x", "extractor": "x", "webpage_url": "http://x", "formats": formats}
        chosen = ydl.process_ie_result(info, download=False)
    return chosen["format_id"]


def picture(name, height, fps, **more):
    return {"format_id": name, "url": f"http://x/{name}", "ext": "mp4", "fps": fps, "height": height,
            "width": height * 16 // 9, "vcodec": "avc1", "acodec": "none"} | more  # fmt: skip


def sound(name, language, preference):
    return {"format_id": name, "url": f"http://x/{name}", "ext": "m4a", "vcodec": "none", "acodec": "mp4a",
            "language": language, "language_preference": preference, "abr": 128}  # fmt: skip


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        ([picture("v720", 720, 30), picture("v1080", 1080, 30), picture("v2160", 2160, 30)], "v1080+de"),
        ([picture("slow", 1080, 15), picture("v480", 480, 30)], "v480+de"),
        ([picture("slow", 1080, 15)], "slow+de"),
        ([picture("hdr", 1080, 30, dynamic_range="HDR10"), picture("sdr", 1080, 30)], "sdr+de"),
        ([picture("vp9", 1080, 30, vcodec="vp9"), picture("h264", 1080, 30)], "h264+de"),
    ],
)
def test_choice_of_format(tmp_path, formats, expected):
    """The original sound, also when a dubbed track comes later, which yt-dlp takes for better."""
    sounds = [sound("de", "de", 10), sound("dub-en", "en", -1)]
    assert choose(formats + sounds, DownloadSettings(), tmp_path) == expected


def test_cookies_file_is_only_read(server, tmp_path):
    cookies = tmp_path / "cookies.txt"
    cookies.write_text("# Netscape HTTP Cookie File\nlocalhost\tFALSE\t/\tFALSE\t0\tsession\tsecret\n")
    cookies.chmod(0o400)
    before = cookies.read_bytes()
    settings = ONCE.model_copy(update={"cookies_file": cookies})
    download(f"http://127.0.0.1:{server.server_port}/good.mp4", tmp_path / "good.mp4", settings)
    assert cookies.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"cookies.txt", "good.mp4"}

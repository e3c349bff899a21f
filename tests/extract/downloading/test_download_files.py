"""What downloads leave on the disk: continued, merged, complete, or nothing."""

import json
import shutil
import signal
import socket
import subprocess
import threading
from dataclasses import asdict
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from multitalk.extract.downloading.download import download, source_url
from multitalk.extract.downloading.errors import Failure
from multitalk.extract.downloading.process import yt_dlp_process
from multitalk.extract.downloading.settings import yt_dlp_options
from multitalk.extract.errors import ClipError, ErrorCode
from multitalk.extract.ffmpeg import run_ffmpeg
from multitalk.ground.untrusted.confinement import Confinement
from tests.extract.bad_server import ONCE, PATIENT
from tests.extract.small_files import small_files


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


def test_full_disk(server, tmp_path):
    with pytest.raises(ClipError) as caught, small_files(50_000):
        download(f"http://127.0.0.1:{server.server_port}/good.mp4", tmp_path / "y.mp4", PATIENT)
    assert caught.value.code is ErrorCode.DISK_FULL
    assert caught.value.attempts == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Failure("Postprocessing: Conversion failed!", ("PostProcessingError",)), ErrorCode.DISK_FULL),
        ({"duration": 2.4}, ErrorCode.NETWORK),  # announced with the clip's end, and came without it
        ({"duration": 2.2}, None),  # the clip lies outside the video: for the trimmer to say
        ({"duration": None}, None),
        ({"duration": 60}, ErrorCode.NETWORK),
    ],
)
def test_what_came_is_compared_with_what_was_announced(tmp_path, video_bytes, monkeypatch, answer, code):
    """A video of 2 s, for a clip that ends at 2.3 s."""

    def came(url, options, folder, limits, *, parts, process):
        (folder / "x.mp4").write_bytes(video_bytes)
        if isinstance(answer, Failure):
            monkeypatch.setattr("shutil.disk_usage", lambda place: disk._replace(free=1000))
            return answer
        found = {"path": str(folder / "x.mp4"), "format_id": "x", "language": "de", "fps": None}
        return found | answer

    disk = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("multitalk.extract.downloading.download.run_yt_dlp", came)
    try:
        found = download("http://x/x.mp4", tmp_path / "x.mp4", ONCE, clips=[(0.2, 2.3)])
    except ClipError as error:
        assert error.code is code
    else:
        assert code is None
        assert found.audio_language == "de"


def ask(server, folder, name):
    """A job of yt-dlp's process."""
    options = yt_dlp_options(PATIENT, folder, local_files=False)
    url = f"http://127.0.0.1:{server.server_port}/{name}.mp4"
    may = asdict(Confinement(writable=None, network=True))
    job = {"url": url, "options": options, "expand": False, "parts": [], "confinement": may}
    return json.dumps(job).encode()


def test_one_process_forks_for_every_download_and_outlives_them(server, tmp_path, video_bytes):
    with yt_dlp_process() as process, (tmp_path / "answer").open("w+b") as answer:
        folders = [tmp_path / name for name in ("hangs", "comes")]
        hangs = process.fork(ask(server, folders[0], "drip"), stdout=answer)
        first = process._process.pid
        with pytest.raises(subprocess.TimeoutExpired):
            hangs.wait(1)
        hangs._connection.shutdown(socket.SHUT_WR)  # what the system does when who asked is killed
        assert hangs.wait(20) == -signal.SIGKILL
        hangs.end()
        comes = process.fork(ask(server, folders[1], "good"), stdout=answer)
        assert comes.wait(30) == 0
        assert process.cpu_sec > comes.server_cpu_sec > 0  # it has loaded yt-dlp
        comes.end()
        assert process._process.pid == first
        answer.seek(0)
        assert Path(json.loads(answer.read())["info"]["path"]).read_bytes() == video_bytes


def test_a_fork_server_that_died_is_started_anew(server, tmp_path):
    url = f"http://127.0.0.1:{server.server_port}/good.mp4"
    with yt_dlp_process() as process:
        download(url, tmp_path / "a.mp4", PATIENT, process=process)
        process._process.kill()
        process._process.wait()
        download(url, tmp_path / "b.mp4", PATIENT, process=process)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_cookies_file_is_only_read(server, tmp_path):
    cookies = tmp_path / "cookies.txt"
    cookies.write_text("# Netscape HTTP Cookie File\nlocalhost\tFALSE\t/\tFALSE\t0\tsession\tsecret\n")
    cookies.chmod(0o400)
    before = cookies.read_bytes()
    settings = ONCE.model_copy(update={"cookies_file": cookies})
    download(f"http://127.0.0.1:{server.server_port}/good.mp4", tmp_path / "good.mp4", settings)
    assert cookies.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"cookies.txt", "good.mp4"}


def test_what_breaks_the_probe_is_not_found_again_by_the_next_run(tmp_path, video_bytes, monkeypatch):
    def breaks(path, limits):
        raise UnicodeDecodeError("utf-8", b"Caf\xe9", 3, 4, "invalid")

    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "abc.mp4").write_bytes(video_bytes)
    monkeypatch.setattr("multitalk.extract.downloading.download.probe_stranger", breaks)
    with pytest.raises(UnicodeDecodeError):
        download((tmp_path / "mirror" / "abc.mp4").as_uri(), tmp_path / "abc.mp4", ONCE)
    assert {path.name for path in tmp_path.iterdir()} == {"mirror"}


@pytest.mark.parametrize(
    ("name", "codecs"),
    [
        ("old.webm", ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libvorbis"]),
        ("old.wmv", ["-c:v", "wmv2", "-c:a", "wmav2"]),
    ],
)
def test_what_mp4_does_not_hold_is_fetched_all_the_same(tmp_path, video_bytes, name, codecs):
    (tmp_path / "plain.mp4").write_bytes(video_bytes)
    run_ffmpeg(["-v", "error", "-i", str(tmp_path / "plain.mp4"), *codecs, str(tmp_path / name)], 30)
    found = download((tmp_path / name).as_uri(), tmp_path / "abc.mp4", ONCE)
    assert (found.video.width, found.video.fps, found.video.has_audio) == (160, 25, True)
    assert found.video.seekable

import http.client
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from multitalk.flows.demo.local_server import serve_folder

CONTENT = bytes(range(256)) * 4_000


@pytest.fixture
def base(tmp_path):
    (tmp_path / "served" / "videos").mkdir(parents=True)
    (tmp_path / "served" / "videos" / "a.mp4").write_bytes(CONTENT)
    (tmp_path / "secret.txt").write_text("secret")
    with serve_folder(tmp_path / "served") as url:
        yield url


def get(base, path, **headers):
    """Ask with the path exactly as it is written: urllib would tidy it up."""
    connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=10)
    connection.putrequest("GET", path, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


def test_serves_a_whole_file(base):
    response, content = get(base, "/videos/a.mp4")
    assert (response.status, content) == (200, CONTENT)
    assert response.headers["Content-Type"] == "video/mp4"
    assert response.headers["Accept-Ranges"] == "bytes"


def test_head_gives_the_size_alone(base):
    request = urllib.request.Request(f"{base}/videos/a.mp4", method="HEAD")
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.headers["Content-Length"] == str(len(CONTENT))
        assert response.read() == b""


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=1000-", 1000, len(CONTENT)),
        ("bytes=-7", len(CONTENT) - 7, len(CONTENT)),
        (f"bytes=10-{10 * len(CONTENT)}", 10, len(CONTENT)),
    ],
)
def test_answers_a_byte_range(base, asked, start, stop):
    response, content = get(base, "/videos/a.mp4", Range=asked)
    assert response.status == 206
    assert content == CONTENT[start:stop]
    assert response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(CONTENT)}"


@pytest.mark.parametrize("asked", [f"bytes={len(CONTENT)}-", "bytes=-0"])
def test_range_beyond_the_end_is_refused(base, asked):
    response, _ = get(base, "/videos/a.mp4", Range=asked)
    assert response.status == 416
    assert response.headers["Content-Range"] == f"bytes */{len(CONTENT)}"


@pytest.mark.parametrize("asked", ["bytes=9-3", "bytes=-", "bytes=a-b", "frames=0-9", "bytes=0-1,5-6"])
def test_range_that_is_not_understood_is_ignored(base, asked):
    response, content = get(base, "/videos/a.mp4", Range=asked)
    assert (response.status, content) == (200, CONTENT)


@pytest.mark.parametrize(
    "path",
    [
        "/absent.mp4",
        "/videos",
        "/",
        "/../secret.txt",
        "/videos/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "//../secret.txt",
        "/videos/a.mp4%00.txt",
        "/%ff",
        "/" + "a" * 5000,
    ],
)
def test_nothing_else_is_found(base, path):
    response, content = get(base, path)
    assert response.status == 404
    assert b"secret" not in content.replace(path.encode(), b"")


def test_absolute_path_is_not_followed(base, tmp_path):
    response, _ = get(base, f"/{tmp_path}/secret.txt")
    assert response.status == 404


def test_link_out_of_the_folder_is_not_followed(base, tmp_path):
    (tmp_path / "served" / "link.txt").symlink_to(tmp_path / "secret.txt")
    response, _ = get(base, "/link.txt")
    assert response.status == 404


def test_connections_are_served_side_by_side(base):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: get(base, "/videos/a.mp4")[1], range(16)))
    assert answers == [CONTENT] * 16


def test_leaving_stops_it_soon_and_quietly(tmp_path, capfd):
    with serve_folder(tmp_path) as url:
        get(url, "/absent")
        left = time.perf_counter()
    assert time.perf_counter() - left < 1
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=1)
    assert capfd.readouterr() == ("", "")


def test_absent_folder_is_refused(tmp_path):
    with pytest.raises(NotADirectoryError, match="absent"), serve_folder(tmp_path / "absent"):
        pass

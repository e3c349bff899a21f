"""Downloads from a server that misbehaves: each ends well, or with a code and a reason."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from multitalk.extract.downloading.download import DownloadedVideo, Pace, download, source_url
from multitalk.extract.errors import ClipError, Stage
from tests.extract.bad_server import ONCE, PATIENT

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
    assert (error.code, error.stage, error.attempts) == (code, Stage.SOURCE, attempts), error
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

"""Discovery, end to end: raw videos in, annotations out, which build into clips that the policy accepts."""

import http.server
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from multitalk.extract.errors import ClipError, ErrorCode
from multitalk.flows.discover import raw_videos
from multitalk.flows.discovering.batch import DiscoveryCounts, count_signs
from multitalk.flows.discovering.settings import DiscoverSettings
from multitalk.flows.running.worker_process import read_signs
from multitalk.ground.settings import SettingsError
from multitalk.manifests import open_dataset

SHARED = Path(__file__).parents[2].parent / "shared"
MULTITALK = [sys.executable, "-m", "multitalk.flows.commands.main"]


@pytest.fixture
def run(prefect_environment):
    def multitalk(*arguments, **environment):
        done = subprocess.run(
            [*MULTITALK, *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            timeout=500,
            env={**prefect_environment, **environment},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return multitalk


def settings(*videos, **more):
    return DiscoverSettings(videos=tuple(map(str, videos)), language="german", **more)


def test_files_become_videos_and_what_is_none_is_told_of(tmp_path):
    (tmp_path / "good.mp4").touch()
    (tmp_path / "two words.mp4").touch()
    files = [tmp_path / "good.mp4", tmp_path / "good.mp4", tmp_path / "two words.mp4", tmp_path / "gone.mp4"]
    videos, failed = raw_videos(settings(*files))
    assert [video.video_id for video in videos] == ["good"]
    assert [failure.error_code for failure in failed] == ["invalid_annotation", "video_unavailable"]


def test_two_videos_of_one_name_are_refused(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.mp4").touch()
    with pytest.raises(SettingsError, match="same id"):
        raw_videos(settings(tmp_path / "a/same.mp4", tmp_path / "b/same.mp4"))


def test_playlists_are_expanded_in_their_order(tmp_path):
    feed = """<?xml version="1.0"?><rss version="2.0"><channel><title>talks</title>
    <item><title>one</title><link>{base}/first.mp4</link></item>
    <item><title>two</title><link>{base}/second.mp4</link></item></channel></rss>"""

    class Feed(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            body = feed.format(base=f"http://127.0.0.1:{self.server.server_port}").encode()
            self.send_response(200 if self.path == "/talks.xml" else 404)
            self.send_header("Content-Type", "application/rss+xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Feed) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        videos, failed = raw_videos(settings(f"{base}/talks.xml", f"{base}/nothing"))
        server.shutdown()
    assert [Path(video.address).name for video in videos] == ["first.mp4", "second.mp4"]
    assert not any(video.local for video in videos)
    assert [failure.error_code for failure in failed] == ["video_unavailable"]


@pytest.mark.slow
def test_discovered_clips_build_and_are_accepted(run, demo_source, demo_url, tmp_path):
    out = tmp_path / "found.json"
    names = ("deSpeaker00", "deTwoFaces0", "deWrongLang", "itNoAudio00", "jaLowFps000", "enNoFace000")
    videos = [demo_source.videos / f"{name}.mp4" for name in names]
    # The demo's mouths follow loudness alone, in which no trained eye sees speech.
    config = tmp_path / "config.yaml"
    config.write_text("min_av_correlation: -1\nbuild: {speaking_score: false}\n")
    command = ("discover", *videos, "--language", "german", "--out", out, "--config", config)
    run(*command)
    clips = json.loads(out.read_text())
    assert {clip["youtube_id"] for clip in clips.values()} == {"deSpeaker00"}
    assert all(2 <= c["duration"]["end_sec"] - c["duration"]["start_sec"] <= 12 for c in clips.values())
    for clip in clips.values():
        words, (start, end) = clip["words"], clip["duration"].values()
        assert clip["transcript"] and "".join(word["word"] for word in words) == "".join(
            clip["transcript"].split()
        )
        assert all(start <= word["start_sec"] <= word["end_sec"] <= end for word in words)
    (run_folder,) = tmp_path.glob("found.discover/german/.runs/*")
    assert count_signs(run_folder) == DiscoveryCounts(len(names), len(names), len(clips))
    shares = [s["share"] for f in run_folder.glob("*.jsonl") for s in read_signs(f) if s["video"] == names[0]]
    assert shares == sorted(shares) and 0 < shares[0] < shares[-1] == 1, "a long video is no hung worker"

    summary = json.loads(run(*command, "--json").stdout)
    assert summary["looked_at"] == 0 and summary["clips"] == len(clips)
    assert summary["without_candidates"] == 2  # two faces, and none
    assert {f["error_code"] for f in summary["failed"]} == {"no_audio", "fps_too_low"}

    root = tmp_path / "dataset"
    run("build", out, "--root", root, "--source-url", demo_url)
    built = open_dataset(root).clips()
    assert len(built) == len(clips) and built["accepted"].all()


@pytest.mark.exhaustive
def test_a_video_behind_an_address_gives_what_its_file_gives(run, demo_source, demo_url, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("min_av_correlation: -1\nbuild: {speaking_score: false}\n")
    results = []
    for name, video in (
        ("file", demo_source.videos / "itSpeaker00.mp4"),
        ("url", demo_url.format(video_id="itSpeaker00")),
    ):
        out = tmp_path / f"{name}.json"
        run("discover", video, "--language", "italian", "--out", out, "--config", config)
        results.append(json.loads(out.read_text()))
    assert results[0] and results[0] == results[1]
    assert not list((tmp_path / "url.discover").rglob("*.mp4"))


@pytest.mark.exhaustive
@pytest.mark.skipif(not SHARED.exists(), reason="needs the sample videos: ../shared/sample")
@pytest.mark.parametrize(
    ("language", "good", "bad"),
    [
        ("english", {"enAOCsynced", "enSyncedKKK", "enSyncedLow"}, {"enFullBody0", "enNoFace000"}),
        ("russian", {"ruSyncedJJJ"}, {"ruLowFps000"}),
        ("german", set(), {"deTwoFaces0", "deNoAudio00"}),
        ("italian", set(), {"itWrongLang", "itFilm24fps"}),
        ("french", set(), {"frSilent000"}),
        ("japanese", set(), {"jaTruncated"}),
    ],
)
def test_real_videos(run, tmp_path, language, good, bad):
    weights = tmp_path / "assets"
    weights.mkdir()
    shutil.copy(SHARED / "weights/lr_asd_talkset.model", weights / "finetuning_TalkSet.model")
    out = tmp_path / "found.json"
    videos = [SHARED / f"sample/videos/{name}.mp4" for name in sorted(good | bad)]
    run("discover", *videos, "--language", language, "--out", out, MULTITALK_ASSETS=str(weights))
    clips = json.loads(out.read_text())
    assert {clip["youtube_id"] for clip in clips.values()} == good
    if good:
        root = tmp_path / "dataset"
        url = f"file://{SHARED}/sample/videos/{{video_id}}.mp4"
        run("build", out, "--root", root, "--source-url", url)
        assert open_dataset(root).clips()["accepted"].all()


def test_a_worker_that_dies_costs_its_video_only(tmp_path, monkeypatch):
    from multitalk.flows.discovering import supervise as discover_supervise
    from multitalk.flows.discovering.results import (
        RawVideo,
        VideoResult,
        read_result,
        video_fingerprint,
        write_result,
    )

    videos = [RawVideo(name, str(tmp_path / f"{name}.mp4"), local=True) for name in ("a", "b", "c")]
    chosen = settings("a.mp4", root=tmp_path, build={"crash_retries": 1})
    calls = []

    def process(left, settings, stem):
        calls.append([video.video_id for video in left])
        for video in left:
            if video.video_id == "b":
                return "was killed"
            write_result(
                video,
                VideoResult(video.video_id, video.address, video_fingerprint(video, settings), {}),
                settings,
            )
        return "ended"

    monkeypatch.setattr(discover_supervise, "_run_process", process)
    discover_supervise.discover_batch(videos, chosen, tmp_path / "batch-0")
    assert calls == [["a", "b", "c"], ["b", "c"], ["c"]]
    codes = [read_result(video, chosen).error_code for video in videos]
    assert codes == [None, ErrorCode.INTERNAL, None]


def test_settings_with_another_outcome_are_another_fingerprint():
    plain = settings("a.mp4")
    assert settings("a.mp4", workers=7, out="x.json", keep_raw=True).fingerprint() == plain.fingerprint()
    assert settings("a.mp4", candidates={"box_scale": 3}).fingerprint() != plain.fingerprint()
    assert settings("a.mp4", build={"trim": {"crf": 30}}).fingerprint() != plain.fingerprint()


def test_an_address_that_can_not_be_read_is_a_clip_error(tmp_path):
    from multitalk.extract.downloading.playlist import list_videos
    from multitalk.extract.downloading.settings import DownloadSettings

    with pytest.raises(ClipError) as caught:
        list_videos("http://127.0.0.1:9/none", DownloadSettings(socket_timeout_sec=2))
    assert caught.value.code is ErrorCode.NETWORK

"""Discovery, end to end: raw videos in, annotations out, which build into clips that the policy accepts."""

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from multitalk.extract.annotations import is_safe_name, read_annotations
from multitalk.extract.errors import ClipError, ErrorCode
from multitalk.flows.building.plan import source_videos
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.discovering import batch as discovering_batch
from multitalk.flows.discovering.batch import RawBatch, discover_batch, events_path, read_batches
from multitalk.flows.discovering.discover import counter, raw_videos, safe_id
from multitalk.flows.discovering.results import (
    RawVideo,
    VideoResult,
    read_result,
    video_fingerprint,
    write_result,
)
from multitalk.flows.discovering.settings import DiscoverSettings
from multitalk.flows.discovering.video import _annotation, _CheckedCandidate
from multitalk.flows.running.events import EventWriter, read_events
from multitalk.manifests import open_dataset
from multitalk.manifests.clip_row import ClipRow

SHARED = Path(__file__).parents[2].parent / "shared"
MULTITALK = [sys.executable, "-m", "multitalk.flows.commands.main"]


@pytest.fixture
def run():
    def multitalk(*arguments, **environment):
        done = subprocess.run(
            [*MULTITALK, *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            timeout=500,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
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
    assert [video.video_id for video in videos] == ["good", safe_id("two words")]
    assert [failure.error_code for failure in failed] == ["video_unavailable"]


def test_two_videos_of_one_name_have_ids_of_their_own(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.mp4").touch()
    files = [tmp_path / "a/same.mp4", tmp_path / "b/same.mp4"]
    for _ in range(2):  # and the same ones in every run
        videos, failed = raw_videos(settings(*files))
        assert not failed
        assert [video.address for video in videos] == list(map(str, files))
        first, second = (video.video_id for video in videos)
        assert first == "same" and second == safe_id("same", str(files[1]))


@pytest.mark.parametrize(
    "name",
    [
        "Interview (final)",
        "two words",
        "ärger",
        "日本語のビデオ",
        "-rf",
        "a" * 200,
        "..",
        "x'; rm -rf",
        "a.b",
        "\udcff",
        " ",
        "con\n",
    ],
)
def test_any_name_gets_a_safe_id(name):
    found = safe_id(name)
    assert is_safe_name(found) and is_safe_name(f"{found}_9999"), found
    assert safe_id(name) == found
    assert safe_id(name + "2") != found


def test_a_safe_name_stays_as_it_is():
    assert safe_id("QrDZjUeiUwc") == "QrDZjUeiUwc"


def test_an_interview_goes_by_its_words(tmp_path):
    (tmp_path / "Interview (final).mp4").touch()
    ((video,), failed) = raw_videos(settings(tmp_path / "Interview (final).mp4"))
    assert not failed
    assert video.video_id.startswith("Interview-final-")
    assert video.address == str(tmp_path / "Interview (final).mp4")


@pytest.mark.parametrize("name", ["Interview (final)", "50% off #1?"])
def test_a_build_goes_on_with_the_source_that_was_discovered(tmp_path, name):
    """Not with a stranger's video that YouTube has under the file's name."""
    path = tmp_path / f"{name}.mp4"
    path.touch()
    found = [
        RawVideo(safe_id(name), str(path), local=True),
        RawVideo("talk", "https://x.org/t.mp4?a=b", local=False),
    ]
    row = ClipRow("c", "v", "german", start_sec=1.0, end_sec=3.0, recognised_transcript="so")
    row.bbox = {"top": 0.1, "bottom": 0.9, "left": 0.1, "right": 0.9}
    clips = {f"{v.video_id}_0": _annotation(v, _CheckedCandidate(row, (), []), "german") for v in found}
    (tmp_path / "a.json").write_text(json.dumps(clips))
    videos = source_videos(read_annotations([tmp_path / "a.json"]), BuildSettings())
    assert not any(video.invalid for video in videos)
    urls = {video.file_id: video.source_url for video in videos}
    assert urls == {safe_id(name): path.as_uri(), "talk": "https://x.org/t.mp4?a=b"}
    assert Path(unquote(urlsplit(urls[safe_id(name)]).path)) == path


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
    progress = counter(read_batches(run_folder), run_folder).count()
    assert (progress.items, progress.done, progress.counts["clips"]) == (len(names), len(names), len(clips))
    shares = [
        event.share
        for file in run_folder.glob("*.jsonl")
        for event in read_events(file)
        if event.item == names[0] and event.kind == "progress"
    ]
    shares = shares[next(i for i, share in enumerate(shares) if share) :]
    assert shares == sorted(shares) and 0 < shares[0] < shares[-1] < 1, "a long video is no hung worker"

    summary = json.loads(run(*command, "--json").stdout)
    assert summary["looked_at"] == 0 and summary["clips"] == len(clips)
    assert summary["without_candidates"] == 1  # two faces; where there is none, another language is heard
    assert {f["error_code"] for f in summary["failed"]} == {"no_audio", "fps_too_low"}

    root = tmp_path / "dataset"
    run("build", out, "--root", root)  # the annotations say where the videos are
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
        run("build", out, "--root", root)
        assert open_dataset(root).clips()["accepted"].all()


def test_a_worker_that_dies_costs_its_video_only(tmp_path, monkeypatch):
    videos = tuple(RawVideo(name, str(tmp_path / f"{name}.mp4"), local=True) for name in ("a", "b", "c"))
    chosen = settings("a.mp4", root=tmp_path, build={"crash_retries": 1})
    calls = []

    def process(name, settings, run_folder, left):
        calls.append([video.video_id for video in left])
        with events_path(run_folder, name).open("a", encoding="utf-8") as file:
            events = EventWriter(file)
            for video in left:
                events.started(video.video_id)
                if video.video_id == "b":
                    return "was killed"
                fingerprint = video_fingerprint(video, settings)
                write_result(video, VideoResult(video.video_id, video.address, fingerprint, {}), settings)
                events.finished(video.video_id, clips=0)
        return "ended early"

    monkeypatch.setattr(discovering_batch, "_run_worker", process)
    discover_batch(RawBatch("batch-0", videos), chosen, tmp_path)
    assert calls == [["a", "b", "c"], ["b", "c"], ["c"]]
    codes = [read_result(video, chosen).error_code for video in videos]
    assert codes == [None, ErrorCode.INTERNAL, None]


def test_settings_with_another_outcome_are_another_fingerprint():
    plain = settings("a.mp4")
    assert settings("a.mp4", workers=7, out="x.json", keep_raw=True).fingerprint == plain.fingerprint
    assert settings("a.mp4", candidates={"box_scale": 3}).fingerprint != plain.fingerprint
    assert settings("a.mp4", build={"trim": {"crf": 30}}).fingerprint != plain.fingerprint


def test_an_address_that_can_not_be_read_is_a_clip_error(tmp_path):
    from multitalk.extract.downloading.playlist import list_videos
    from multitalk.extract.downloading.settings import DownloadSettings

    with pytest.raises(ClipError) as caught:
        list_videos("http://127.0.0.1:9/none", DownloadSettings(socket_timeout_sec=2))
    assert caught.value.code is ErrorCode.NETWORK

"""A rate limit or a bot check slows a whole run down; it never burns through the list."""

import json
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from multitalk.extract.errors import ClipError, ErrorCode, Stage
from multitalk.flows.building.batch import events_path, run_batch
from multitalk.flows.building.plan import Batch, annotated_videos, write_batches
from multitalk.flows.building.settings import build_settings
from multitalk.flows.building.stages import stage_fingerprints
from multitalk.flows.running import worker_process
from multitalk.flows.running.events import read_events
from multitalk.manifests import open_dataset

VIDEOS = 6
PAUSE_SEC = 1


class Limiter(BaseHTTPRequestHandler):
    """Answers every request with "too many requests", and keeps when each came."""

    times: list[float]

    def do_GET(self):
        self.times.append(time.monotonic())
        self.send_response(429)
        self.send_header("Retry-After", str(PAUSE_SEC))
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *args):
        pass


@pytest.fixture
def limiter():
    handler = type("Handler", (Limiter,), {"times": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{{video_id}}.mp4", handler.times
        server.shutdown()


def annotate(folder: Path) -> Path:
    clip = {
        "duration": {"start_sec": 1, "end_sec": 2}, "language": "german",
        "bbox": {"top": 0, "bottom": 1, "left": 0, "right": 1},
    }  # fmt: skip
    path = folder / "annotations.json"
    path.write_text(json.dumps({f"v{n}_0": clip | {"youtube_id": f"v{n}"} for n in range(VIDEOS)}))
    return path


@pytest.mark.slow
def test_a_rate_limit_slows_the_run_instead_of_burning_the_list(limiter, tmp_path):
    url, times = limiter
    settings = build_settings(
        annotations=(str(annotate(tmp_path)),), root=tmp_path / "dataset", source_url=url, prefetch=1,
        download={"attempts": 1, "first_pause_sec": PAUSE_SEC},
    )  # fmt: skip
    settings.root.mkdir()
    videos = tuple(annotated_videos(settings))
    halves = [Batch("first", "german", videos[::2]), Batch("second", "german", videos[1::2])]
    names = write_batches(halves, stage_fingerprints(settings), tmp_path)
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda half: run_batch(half, settings, tmp_path), names))
    assert sum(result.failed for result in results) == VIDEOS
    events = [event for name in names for event in read_events(events_path(tmp_path, name.name))]
    assert sum(event.kind == "started" for event in events) == VIDEOS, "a worker died"
    assert set(open_dataset(settings.root).clips()["error_code"]) == {"rate_limited"}
    # Two workers with a download each: the third request comes after an answer, so after its pause, and so on.
    assert len(times) == VIDEOS
    assert times[2] - times[0] >= PAUSE_SEC
    assert times[4] - times[2] >= PAUSE_SEC


def test_a_download_in_a_pause_is_no_hung_worker(monkeypatch):
    monkeypatch.setattr(worker_process, "_SIGN_OF_LIFE_SEC", 0.01)
    download, signs = Future(), []

    def sign():
        signs.append(1)
        if len(signs) == 3:
            download.set_result(ClipError(ErrorCode.RATE_LIMITED, "wait", Stage.SOURCE))

    assert worker_process.await_prepared(download, sign).code is ErrorCode.RATE_LIMITED
    assert len(signs) == 3

import json
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class SmallSource:
    annotations: Path
    url: str


@pytest.fixture(scope="session")
def demo_source(tmp_path_factory):
    """The demo's source videos, made once for all slow tests."""
    pytest.importorskip("espeakng_loader", reason="the extra `demo` is not installed")
    from flows.demo import make_demo_source

    return make_demo_source(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="session")
def demo_url(demo_source):
    from flows.local_server import serve_folder

    with serve_folder(demo_source.videos) as base:
        yield base + "/{video_id}.mp4"


@pytest.fixture(scope="session")
def small_source(demo_source, demo_url, tmp_path_factory):
    """One clip that comes out well, one without a face, and one whose video is not there."""
    clips = {}
    for path in demo_source.annotations:
        clips |= json.loads(path.read_text())
    chosen = {clip_id: clips[clip_id] for clip_id in ("deSpeaker00_0", "enNoFace000_0", "esGone40400_0")}
    path = tmp_path_factory.mktemp("small") / "annotations.json"
    path.write_text(json.dumps(chosen))
    return SmallSource(path, demo_url)

import json
import wave
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest

from assets.fetch import require
from fit_flame.canonical import canonical_head_model
from fit_flame.synthetic import speaking
from manifests import paths
from manifests.store import commit_fragment


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


@pytest.fixture(scope="session")
def talking_dataset(tmp_path_factory):
    """Twelve short clips in two languages, fitted with the bundled head model: noise, and a mouth that moves."""
    head, root = canonical_head_model(require("face_landmarker")), tmp_path_factory.mktemp("talking")
    random = np.random.default_rng(0)
    for number in range(12):
        language, frames = ("german", "japanese")[number % 2], 20 + number % 3
        video, motion = f"video{number:02}", asdict(speaking(head, frames))
        clip = f"{video}_0"
        sound = paths.audio_path(root, language, clip)
        sound.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(sound), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(random.normal(0, 2000, 640 * frames).astype("<i2").tobytes())
        row = {"clip_id": clip, "status": "ok", "frame_count": frames, "duration_sec": frames / 25}
        row |= {"head_model": head.key, "accepted": True, "transcript": "guten Tag"}
        moved = {"expression": motion["expression"] * random.uniform(0.5, 1.5)}
        commit_fragment(
            root, language, video, [row], motion_rows=[motion | moved | {"clip_id": clip}], fingerprint="f"
        )
    return root

"""`multitalk sync` on a made-up dataset: lips whose width of opening is heard, and one dubbed video."""

import wave
from datetime import UTC, datetime

import numpy as np
import pytest

from multitalk.flows.commands.main import main
from multitalk.flows.datasets import sync
from multitalk.flows.modelling import sync_predictor
from multitalk.manifests import open_dataset
from multitalk.manifests.paths import DatasetError, audio_path
from multitalk.manifests.store import commit_fragment, committed

FRAMES = 150
RATE = 16_000


def openings(seed):
    rng = np.random.default_rng(seed)
    raw = np.convolve(rng.normal(size=FRAMES + 8), np.hanning(7), "same")[4:-4]
    return 0.5 + 0.5 * np.tanh(raw)


def landmarks(opening):
    points = np.zeros((FRAMES, 478, 3), np.float32)
    points[:, 33], points[:, 263] = (180, 200, 0), (330, 200, 0)
    points[:, 13] = points[:, 14] = (256, 330, 0)
    points[:, 14, 1] += 40 * opening
    points[:, 2], points[:, 152] = (256, 290, 0), (256, 420, 0)
    points[:, 152, 1] += 30 * opening
    points[:, 61], points[:, 291] = (220, 335, 0), (292, 335, 0)
    points[:, 291, 0] -= 12 * opening
    return points


def sound(opening, seed):
    """Low noise that is always there, and high noise that grows with the opening."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=FRAMES * 640)
    high = np.diff(noise, prepend=0)
    loudness = np.interp(np.arange(len(noise)) / 640, np.arange(FRAMES), opening)
    return np.clip(2000 * np.cumsum(noise * 0.05) / 10 + 2500 * loudness * high, -32000, 32000).astype(
        np.int16
    )


@pytest.fixture
def root(tmp_path):
    for seed in range(8):
        video = f"video{seed}"
        heard = openings(100) if seed == 7 else openings(seed)
        place = audio_path(tmp_path, "german", f"{video}_0")
        place.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(place), "wb") as file:
            file.setparams((1, 2, RATE, 0, "NONE", ""))
            file.writeframes(sound(heard, seed).tobytes())
        row = {
            "clip_id": f"{video}_0",
            "status": "ok",
            "audio_path": place.relative_to(tmp_path).as_posix(),
            "av_correlation": 0.0,
            "tool_versions": {"multitalk": "1"},
            "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        }
        seen = {
            "clip_id": f"{video}_0",
            "landmarks": landmarks(openings(seed)),
            "valid": np.ones(FRAMES, bool),
        }
        commit_fragment(tmp_path, "german", video, [row], landmark_rows=[seen], fingerprint="f")
    return tmp_path


def test_the_dubbed_video_scores_below_the_others(root):
    summary = sync.train_and_rescore(root, min_videos=8)
    clips = open_dataset(root).clips().set_index("video_id")
    assert (summary.learned_from, summary.rescored_clips) == (8, 8)
    true = clips["av_correlation"].drop("video7")
    assert true.min() > 0.5 > clips["av_correlation"]["video7"] + 0.2
    assert (clips["av_offset_frames"].drop("video7").abs() <= 1).all()


def test_rows_name_their_predictor_and_stay_done(root):
    sync.train_and_rescore(root, min_videos=8)
    version = sync_predictor.predictor_version(root / sync_predictor.PREDICTOR)
    for versions in open_dataset(root).clips()["tool_versions"]:
        named = {pair["key"]: pair["value"] for pair in versions}
        assert named == {"multitalk": "1", sync_predictor.VERSION_KEY: version}
    assert committed(root, "german", "video3") == "f"
    once = open_dataset(root).clips()
    sync.train_and_rescore(root, min_videos=8)
    assert once.equals(open_dataset(root).clips())


def test_builds_find_what_was_learned(root):
    assert sync_predictor.load_predictor(root) is None
    sync.train_and_rescore(root, min_videos=8)
    assert sync_predictor.load_predictor(root).weights.shape == (100, 3)


def test_clips_without_landmarks_or_sound_keep_their_scores(root):
    audio_path(root, "german", "video0_0").unlink()
    (root / "landmarks/language=german/video1.parquet").unlink()
    sync.train_and_rescore(root, min_videos=6)
    clips = open_dataset(root).clips().set_index("video_id")
    assert clips["av_correlation"][["video0", "video1"]].tolist() == [0.0, 0.0]
    assert clips["av_correlation"]["video2"] > 0.5


def test_too_few_videos_are_refused_with_a_way_out(root, capsys):
    with pytest.raises(DatasetError, match="--min-videos"):
        sync.train_and_rescore(root, min_videos=9)
    assert main(["sync", "--root", str(root)]) == 2
    assert "at least 20" in capsys.readouterr().err

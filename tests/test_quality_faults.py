"""What the benchmark of acceptance plants is what its table says."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.quality import judged, wilson
from benchmarks.quality_faults import Others, Shown, faults
from benchmarks.quality_held_out import prior_from
from multitalk.filters.policy import load_policy
from multitalk.filters.sync.features import SyncClip, log_mel
from multitalk.filters.sync.score import measure_sync
from multitalk.manifests.clip_row import ClipRow
from multitalk.manifests.schema import MANIFEST

FRAMES, SIDE = 60, 96


@pytest.fixture(scope="module")
def shown() -> Shown:
    rng = np.random.default_rng(0)
    landmarks = np.full((FRAMES, 478, 3), 48, np.float32)
    for point, place in ((33, (30, 40)), (133, (40, 40)), (263, (66, 40)), (362, (56, 40)), (50, (32, 55))):
        landmarks[:, point, :2] = place
    landmarks[:, [13, 14], :2] = 48, 62
    frames = rng.integers(0, 255, (FRAMES, SIDE, SIDE, 3), np.uint8)
    return Shown(frames, rng.integers(-9000, 9000, FRAMES * 640, np.int16), landmarks, "english")


@pytest.fixture(scope="module")
def others() -> Others:
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 255, (20, SIDE, SIDE, 3), np.uint8)
    return Others(rng.integers(-9000, 9000, 5000, np.int16), "german", frames)


@pytest.mark.parametrize("fault", faults(), ids=lambda fault: fault.name)
def test_a_fault_changes_what_it_touches_and_nothing_else(fault, shown, others):
    before = shown.frames.copy(), shown.samples.copy()
    planted = fault.plant(shown, others)
    assert (shown.frames == before[0]).all() and (shown.samples == before[1]).all()
    pictures = not np.array_equal(planted.frames, shown.frames)
    sounds = not np.array_equal(planted.samples, shown.samples)
    assert pictures == (fault.touches in ("picture", "both"))
    assert sounds == (fault.touches in ("sound", "voices", "both"))
    assert (planted.language == "german") == ("language" in fault.name)
    assert len(planted.samples) == 640 * len(planted.frames)
    assert planted.frames.dtype == np.uint8 and planted.samples.dtype == np.int16


def test_late_sound_is_late(shown, others):
    late = next(fault for fault in faults() if fault.name == "sound 200 ms late").plant(shown, others)
    assert (late.samples[3200:] == shown.samples[:-3200]).all() and not late.samples[:3200].any()


def test_what_other_videos_teach_of_sync_serves_an_unseen_one():
    def clip(seed: int) -> SyncClip:
        rng = np.random.default_rng(seed)
        opening = np.convolve(rng.uniform(size=200), np.hanning(7) / np.hanning(7).sum(), "same")
        time = np.arange(200 * 640) / 16_000
        voice = np.interp(time * 25, np.arange(200), opening) * np.sin(2 * np.pi * 1200 * time)
        audio = log_mel(voice + 0.01 * rng.normal(size=len(time)), 200)
        mouth = np.stack([opening] * 3, axis=1).astype(np.float32)
        return SyncClip(mouth, audio, np.ones(200, bool), np.ones(200, bool))

    predictor = prior_from([[clip(seed)] for seed in range(3)])
    assert measure_sync([clip(9)], predictor).video.video_sync == "yes"
    swapped = replace(clip(9), audio=clip(10).audio)
    assert measure_sync([swapped], predictor).video.video_sync == "no"


def test_wilsons_interval_is_the_published_one():
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(9, 9)[1] == pytest.approx(1.0)
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_what_a_policy_rejects_and_what_stays_unknown_is_counted():
    def row(**values):
        good = {"duration_sec": 4.0, "face_count_max": 1, "face_coverage": 1.0, "face_size_px": 99.0,
                "yaw_deg": [0.0] * 3, "pitch_deg": [0.0] * 3, "speech_ratio": 1.0,
                "fit_landmark_error": 0.01}  # fmt: skip
        return ClipRow("c", "v", "english", config_fingerprint="f", **good | values)

    rows = [row(video_sync="no"), row(video_sync="unknown"), row(video_sync="yes"), row(status="failed")]
    [outcome] = judged({"planted": rows}, load_policy("default", MANIFEST))
    assert (outcome.clips, outcome.rejected, outcome.unknown) == (4, 2, 1)
    assert outcome.by_rule == {"status": 1, "sync": 1}

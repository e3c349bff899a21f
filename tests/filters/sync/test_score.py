"""Sync on signals whose truth is known, then on the sample videos' measured mouths where they are there."""

import numpy as np
import pytest

from multitalk.filters.speech import measure_speech
from multitalk.filters.sync.features import SyncClip, log_mel, mouth_openings, sync_clip
from multitalk.filters.sync.predictor import SyncPredictor, train_predictor, video_statistics
from multitalk.filters.sync.prior import prior_predictor
from multitalk.filters.sync.score import OFFSETS, UNMEASURED, VideoSync, measure_sync
from multitalk.ground.units import FPS

RATE = 16_000
EYES, GAP, JAW, WIDTH = (33, 263), (13, 14), (2, 152), (61, 291)


def face(gap: np.ndarray, jaw: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Landmarks (T, 478, 3) with these openings in inter-ocular distances of 100 px."""
    landmarks = np.full((len(gap), 478, 3), 250, np.float32)
    landmarks[:, EYES[1], 0] += 100
    landmarks[:, GAP[1], 1] += 100 * gap
    landmarks[:, JAW[1], 1] += 100 * jaw
    landmarks[:, WIDTH[1], 0] += 100 * width
    return landmarks


def talk(seed: int, seconds: float, late_frames: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks and the sound that belongs to them: what open lips, jaw and mouth let through, over a hum."""
    rng = np.random.default_rng(seed)
    frames = int(seconds * FPS)

    def motion() -> np.ndarray:
        steps = np.repeat(rng.uniform(0, 1, frames // 4 + 2), 4)[: frames + 4]
        return np.convolve(steps, np.hanning(7) / np.hanning(7).sum(), "same")[2 : frames + 2]

    gap, jaw, width = motion(), motion(), motion()
    time = np.arange(frames * 640) / RATE
    gap_t, jaw_t, width_t = (np.interp(time * FPS - 0.5, np.arange(frames), m) for m in (gap, jaw, width))
    hum, *formants = (np.sin(2 * np.pi * pitch * time) for pitch in (200, 900, 2200, 3000))
    opened = sum(motion * formant for motion, formant in zip((jaw_t, gap_t, width_t), formants, strict=True))
    sound = (0.2 * hum + opened) * 0.2 + rng.normal(size=len(time)) * 0.01
    sound = np.roll(sound, late_frames * 640)
    landmarks = face(0.02 + 0.2 * gap, 0.9 + 0.1 * jaw, 0.6 + 0.1 * width)
    noise = rng.normal(0, 0.5, landmarks.shape).astype(np.float32)
    return landmarks + noise, sound.astype(np.float32)


def clip(seed: int, seconds: float = 8, late_frames: int = 0) -> SyncClip:
    landmarks, sound = talk(seed, seconds, late_frames)
    return sync_clip(landmarks, sound, [(0, len(sound))])


def dubbed(seed: int, seconds: float = 8) -> SyncClip:
    landmarks, _ = talk(seed, seconds)
    _, sound = talk(seed + 1000, seconds)
    return sync_clip(landmarks, sound, [(0, len(sound))])


def measure(clips: list[SyncClip], predictor: SyncPredictor | None = None) -> VideoSync:
    return measure_sync(clips, predictor or prior_predictor())


def test_openings_are_shares_of_the_eye_distance_however_near_the_face():
    gap, jaw, width = np.full(3, 0.2), np.full(3, 1.1), np.full(3, 0.7)
    landmarks = face(gap, jaw, width)
    landmarks[1] *= 2
    landmarks[2] = np.nan
    openings = mouth_openings(landmarks)
    np.testing.assert_allclose(openings[:2], [[0.2, 1.1, 0.7]] * 2, rtol=1e-5)
    assert np.isnan(openings[2]).all()


def test_mel_bands_follow_the_pitch_and_are_aligned_with_the_frames():
    time = np.arange(RATE) / RATE
    bands = [log_mel(np.sin(2 * np.pi * f * time), FPS).mean(axis=0).argmax() for f in (200, 1000, 4000)]
    assert bands == sorted(set(bands))
    click = np.zeros(RATE)
    click[10 * 640 + 320] = 1
    assert log_mel(click, FPS).sum(axis=1).argmax() == 10


def test_sound_is_cut_or_padded_to_the_frames():
    assert log_mel(np.ones(RATE), 10).shape == (10, 20)
    padded = log_mel(np.ones(640), 10)
    assert padded.shape == (10, 20)
    np.testing.assert_allclose(padded[5:], np.log(1e-7), rtol=1e-3)


def test_true_talk_scores_above_dubbed_talk():
    true = [measure([clip(seed)]).clips[0].av_correlation for seed in range(6)]
    false = [measure([dubbed(seed)]).clips[0].av_correlation for seed in range(6)]
    assert min(true) > 0.4
    assert max(false) < 0.35


@pytest.mark.parametrize("late", [-10, -3, 0, 5, 12])
def test_the_offset_is_found_and_positive_where_the_sound_is_late(late):
    sync = measure([clip(1, late_frames=late)])
    assert abs(sync.clips[0].av_offset_frames - late) <= 1
    assert sync.clips[0].av_offset_frames == sync.video.video_av_offset_frames
    assert sync.video.video_sync == ("yes" if 0 <= late <= 3 else "no")


def test_one_dubbed_clip_stands_out_of_a_video_in_order():
    together = measure([*(clip(seed, 3) for seed in range(7)), dubbed(7, 3)])
    assert together.video.video_sync == "yes"
    correlations = [metrics.av_correlation for metrics in together.clips]
    assert correlations[7] < 0.3 < min(correlations[:7])


def test_a_video_with_a_few_seconds_of_speech_is_unknown_until_there_are_more_of_it():
    short = [clip(0, 3)]
    assert measure(short).video.video_sync == "unknown"
    assert measure([dubbed(0, 3)]).video.video_sync == "unknown"
    assert measure([*short, clip(1, 3)]).video.video_sync == "yes"
    assert measure([dubbed(0, 3), dubbed(1, 3)]).video.video_sync == "no"


def test_confidence_grows_with_the_seconds():
    confidences = [measure([clip(3, seconds)]).clips[0].av_confidence for seconds in (2.5, 6, 20)]
    assert confidences == sorted(confidences)
    assert confidences[0] < 0.5
    assert confidences[2] > 0.95


def test_a_still_mouth_under_speech_has_no_confidence():
    _, sound = talk(4, 8)
    still = face(np.full(200, 0.02), np.full(200, 0.9), np.full(200, 0.6))
    still += np.random.default_rng(0).normal(0, 0.1, still.shape).astype(np.float32)
    sync = measure([sync_clip(still, sound, [(0, len(sound))])])
    assert sync.clips[0].av_confidence == 0
    assert sync.clips[0].av_correlation < 0.4
    assert sync.video.video_sync == "no"


def test_no_speech_has_no_confidence_even_with_sound():
    landmarks, sound = talk(5, 8)
    sync = measure([sync_clip(landmarks, sound, ())])
    assert sync.clips[0].av_confidence == 0
    assert (sync.video.video_sync, sync.video.video_speech_sec) == ("unknown", 0)


@pytest.mark.parametrize("case", ["silence", "no face", "short", "empty", "frozen"])
def test_what_cannot_be_measured_is_not(case):
    landmarks, sound = talk(6, 8)
    if case == "silence":
        sound = np.zeros_like(sound)
    elif case == "no face":
        landmarks[:] = np.nan
    elif case == "short":
        landmarks, sound = landmarks[:40], sound[: 40 * 640]
    elif case == "empty":
        landmarks, sound = landmarks[:0], sound[:0]
    else:
        landmarks[:] = landmarks[0]
    unmeasured = sync_clip(landmarks, sound, ())
    assert measure([unmeasured]).clips == (UNMEASURED,)
    assert measure([unmeasured]).video.video_sync == "unknown"
    if case == "frozen":
        frozen = sync_clip(landmarks, sound, [(0, len(sound))])
        assert measure([frozen]).video.video_sync == "no"  # speech from lips that never move
    if case == "short":
        return  # with others of its video it can be measured
    mixed = measure([unmeasured, clip(7)])
    assert mixed.clips[0] == UNMEASURED
    assert mixed.clips[1].av_correlation > 0.3


def test_no_clips_are_no_measurement():
    assert measure([]).video.video_sync == "unknown"


def test_gaps_in_the_track_do_not_matter():
    landmarks, sound = talk(8, 8, late_frames=3)
    landmarks[50:90] = np.nan
    landmarks[120] = np.nan
    metrics = measure([sync_clip(landmarks, sound, [(0, len(sound))])]).clips[0]
    assert metrics.av_correlation > 0.4
    assert abs(metrics.av_offset_frames - 3) <= 1


def test_landmarks_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(10, 468, 3\)"):
        sync_clip(np.zeros((10, 468, 3), np.float32), np.zeros(100, np.float32), ())


def test_a_predictor_learned_where_a_third_is_dubbed_tells_short_unseen_clips_apart(tmp_path):
    dataset = [video_statistics([clip(seed, 6, late_frames=seed % 3)]) for seed in range(20, 28)]
    dataset += [video_statistics([dubbed(seed, 6)]) for seed in range(40, 44)]
    train_predictor(dataset).save(tmp_path / "sync.npz")
    predictor = SyncPredictor.load(tmp_path / "sync.npz")
    true = [measure([clip(seed, 3, late_frames=6)], predictor).clips[0] for seed in range(60, 64)]
    false = [measure([dubbed(seed, 3)], predictor).clips[0] for seed in range(70, 74)]
    assert min(m.av_correlation for m in true) > max(m.av_correlation for m in false)
    assert all(abs(m.av_offset_frames - 6) <= 2 for m in true)


def test_scoring_from_statistics_is_scoring_the_clips():
    predictor = train_predictor([video_statistics([clip(seed)]) for seed in (80, 81)])
    curve = predictor.correlations(video_statistics([clip(82)]))
    metrics = measure([clip(82)], predictor).clips[0]
    assert OFFSETS[curve.argmax()] == metrics.av_offset_frames
    assert curve.max() == pytest.approx(metrics.av_correlation, abs=0.05)


def test_nothing_to_learn_from_is_an_error():
    landmarks, sound = talk(9, 8)
    assert video_statistics([sync_clip(landmarks, sound * 0, ())]) is None
    with pytest.raises(ValueError, match="no video"):
        train_predictor([])


@pytest.mark.parametrize("content", [b"", b"not an npz", b"PK\x03\x04 torn"])
def test_a_file_that_is_no_predictor_is_refused(tmp_path, content):
    path = tmp_path / "sync.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"sync\.npz is not a sync predictor"):
        SyncPredictor.load(path)


def test_a_pickle_in_a_predictor_is_not_opened(tmp_path):
    path = tmp_path / "sync.npz"
    np.savez(path, version=np.int64(1), weights=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="not a sync predictor"):
        SyncPredictor.load(path)
    np.savez(path, version=np.int64(1), weights=np.zeros((5, 3)))
    with pytest.raises(ValueError, match="another version"):
        SyncPredictor.load(path)


def test_speech_detection_feeds_the_evidence(german, detector):
    frames = len(german) // 640
    landmarks, _ = talk(10, frames / FPS)
    _, intervals = measure_speech(german, detector)
    silence = np.zeros(2 * RATE, np.int16)
    both = np.concatenate([german[: frames * 640], silence])
    landmarks = np.concatenate([landmarks, landmarks[:50]])
    reduced = sync_clip(landmarks, both, intervals)
    assert reduced.evidence[:frames].mean() > 0.8
    assert not reduced.evidence[frames + 5 :].any()

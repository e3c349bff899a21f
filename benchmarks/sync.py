"""Audio-visual sync on real videos whose truth is known: true sound against dubbed, and moved sound.

Takes the sample videos through the real stages (trim, landmarks, track, speech) and prints, for each, the sync
that `multitalk.filters.sync.score` measures over the whole video; how well true videos part from dubbed ones, by what
is known beforehand and by a predictor that the other videos taught; and how far the offset is off when the sound is
delayed. With all other videos' sound laid under the true ones' faces there are many more dubbed videos (not with
--quick), and LR-ASD's speaking score stands beside where its weights are.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `python benchmarks/sync.py`, too

import numpy as np

from benchmarks.real_clips import track_clips
from multitalk.assets.fetch import find
from multitalk.extract.annotations import read_annotations
from multitalk.filters.speech import SpeechDetector
from multitalk.filters.sync.active_speaker import ActiveSpeaker
from multitalk.filters.sync.features import SyncClip, sync_clip
from multitalk.filters.sync.predictor import SyncPredictor, train_predictor, video_statistics
from multitalk.filters.sync.prior import prior_predictor
from multitalk.filters.sync.score import VideoSync, VideoSyncMetrics, measure_sync
from multitalk.ground.wav import read_wav

TRUE = ("enAOCsynced", "ruSyncedJJJ", "enSyncedLow", "enSyncedKKK")
DUBBED = ("deTalkerAAA", "frTalkerBBB", "ruTalkerCCC", "zhTalkerDDD", "jaTalkerEEE")
DELAYS = (-10, 10)
FRAME = 640  # samples


@dataclass
class Clip:
    """A trimmed clip with its face's landmarks (T, 478, 3) and its sound (N,)."""

    landmarks: np.ndarray
    samples: np.ndarray
    path: Path


Videos = dict[str, list[Clip]]
Metrics = dict[str, VideoSyncMetrics]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=Path, default=Path(__file__).parents[2] / "shared" / "sample")
    parser.add_argument("--quick", action="store_true", help="leave out exchanged sound and speaking scores")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    if not (arguments.sample / "videos").is_dir():
        parser.error(f"no sample videos in {arguments.sample}: name their folder with --sample")
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(arguments.sample, Path(scratch), quick=arguments.quick)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


def measure(sample: Path, scratch: Path, *, quick: bool) -> dict[str, object]:
    """Measure all figures and print them."""
    started = time.monotonic()
    detector = SpeechDetector()
    videos = read_videos(sample, scratch)
    print(f"{len(videos)} videos read in {time.monotonic() - started:.0f} s\n")
    reduced = {name: reduce_clips(clips, detector) for name, clips in videos.items()}
    started = time.process_time()
    measured = {name: measured_beforehand(clips) for name, clips in reduced.items()}
    seconds = time.process_time() - started
    own = {name: sync.video for name, sync in measured.items()}
    true_clips = [clip.av_correlation for name in TRUE for clip in measured[name].clips]
    dubbed_clips = [clip.av_correlation for name in DUBBED for clip in measured[name].clips]
    taught = {
        name: measure_sync(clips, predictor_without(name, reduced)).video for name, clips in reduced.items()
    }
    scores = {} if quick else speaking_scores(videos)
    print("video         truth     known beforehand      taught by others      speaking")
    for name in (*TRUE, *DUBBED):
        a, b = own[name], taught[name]
        print(
            f"{name:13} {'true' if name in TRUE else 'dubbed':7}"
            f"{a.video_av_correlation:7.2f} @{a.video_av_offset_frames:+3d} {a.video_sync:8}"
            f"{b.video_av_correlation:9.2f} @{b.video_av_offset_frames:+3d} {b.video_sync:8}"
            + (f"{scores[name]:9.1f}" if name in scores else "")
        )
    figures: dict[str, object] = {
        "auc": auc(own),
        "auc_taught": auc(taught),
        "auc_clips": above(true_clips, dubbed_clips),
        "lowest_true_clip": min(true_clips),
        "highest_dubbed_clip": max(dubbed_clips),
        "measure_sync_ms_per_video": 1000 * seconds / len(videos),
        "correlation": {name: metrics.video_av_correlation for name, metrics in own.items()},
        "correlation_taught": {name: metrics.video_av_correlation for name, metrics in taught.items()},
        "speaking_score": scores,
    }
    errors = offset_errors(videos, own, detector)
    figures["largest_offset_error_frames"] = max(errors)
    print(
        f"\narea under the curve, true above dubbed: {figures['auc']:.3f}; taught {figures['auc_taught']:.3f}"
    )
    print(
        f"single clips: {figures['auc_clips']:.3f}; the lowest true one {min(true_clips):.2f}, "
        f"the highest dubbed one {max(dubbed_clips):.2f}"
    )
    print(
        f"sound moved by {DELAYS} frames: offset off by {max(errors)} frames at most ({len(errors)} trials)"
    )
    if not quick:
        exchanged = exchange_sound(videos, detector)
        figures["auc_exchanged"] = above([own[name].video_av_correlation for name in TRUE], exchanged)
        print(f"area under the curve against {len(exchanged)} exchanges: {figures['auc_exchanged']:.3f}")
    print(f"measure_sync: {figures['measure_sync_ms_per_video']:.0f} ms of CPU a video")
    return figures


def read_videos(sample: Path, scratch: Path) -> Videos:
    """Take the sample's clips through trim, landmarks and track."""
    annotations = defaultdict(list)
    for annotation in read_annotations(sorted((sample / "annotations").glob("*.json"))).annotations:
        if annotation.video_id in TRUE + DUBBED:
            annotations[annotation.video_id].append(annotation)
    return {
        name: [
            Clip(track.landmarks, read_wav(trimmed.audio_path), trimmed.clip_path)
            for trimmed, track in track_clips(sample / "videos" / f"{name}.mp4", annotations[name], scratch)
        ]
        for name in (*TRUE, *DUBBED)
    }


def reduce_clips(clips: list[Clip], detector: SpeechDetector) -> list[SyncClip]:
    """Reduce clips to what sync is measured from."""
    return [sync_clip(clip.landmarks, clip.samples, detector.intervals(clip.samples)) for clip in clips]


def measured_beforehand(clips: list[SyncClip]) -> VideoSync:
    """Measure sync by what is known before any video was seen, as a build does it."""
    return measure_sync(clips, prior_predictor())


def predictor_without(name: str, reduced: dict[str, list[SyncClip]]) -> SyncPredictor:
    """Learn a predictor from all videos but one, true and dubbed."""
    statistics = [video_statistics(clips) for other, clips in reduced.items() if other != name]
    return train_predictor([video for video in statistics if video is not None])


def offset_errors(videos: Videos, own: Metrics, detector: SpeechDetector) -> list[int]:
    """Frames by which the found offset misses, over true videos with their sound moved."""
    errors = []
    for name in TRUE:
        for delay in DELAYS:
            moved = [Clip(c.landmarks, delayed(c.samples, delay), c.path) for c in videos[name]]
            found = measured_beforehand(reduce_clips(moved, detector)).video.video_av_offset_frames
            errors.append(abs(found - own[name].video_av_offset_frames - delay))
    return errors


def delayed(samples: np.ndarray, frames: int) -> np.ndarray:
    """Move sound to later (or, negative, earlier) by frames, its length kept."""
    silence = np.zeros(abs(frames) * FRAME, samples.dtype)
    if frames > 0:
        return np.concatenate([silence, samples[: -len(silence)]])
    return np.concatenate([samples[len(silence) :], silence])


def exchange_sound(videos: Videos, detector: SpeechDetector) -> list[float]:
    """Correlations of true videos' faces with every other video's sound."""
    correlations = []
    for name in TRUE:
        for other in (set(TRUE) | set(DUBBED)) - {name}:
            sound = np.concatenate([clip.samples for clip in videos[other]])
            ends = np.cumsum([0] + [len(clip.samples) for clip in videos[name]])
            laid = np.resize(sound, ends[-1])
            clips = [
                Clip(clip.landmarks, laid[start:end], clip.path)
                for clip, start, end in zip(videos[name], ends[:-1], ends[1:], strict=True)
            ]
            correlations.append(measured_beforehand(reduce_clips(clips, detector)).video.video_av_correlation)
    return correlations


def speaking_scores(videos: Videos) -> dict[str, float]:
    """Mean speaking score of each video's clips; empty where the network's weights are not here."""
    weights = find("lr_asd")
    if weights is None:
        print("no speaking scores: LR-ASD's weights are not here (multitalk assets fetch lr_asd)\n")
        return {}
    speaker = ActiveSpeaker(weights)
    return {
        name: float(np.mean([speaker.measure(c.path, c.landmarks, c.samples) for c in clips]))
        for name, clips in videos.items()
    }


def auc(metrics: Metrics) -> float:
    """Area under the curve of true videos above dubbed ones."""
    return above(
        [metrics[name].video_av_correlation for name in TRUE],
        [metrics[name].video_av_correlation for name in DUBBED],
    )


def above(high: list[float], low: list[float]) -> float:
    """Share of pairs in the right order: the area under the curve."""
    return float(np.mean([[(a > b) + 0.5 * (a == b) for b in low] for a in high]))


if __name__ == "__main__":
    main()

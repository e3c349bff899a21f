"""How the manifest behaves at MultiTalk's size: 9,900 source videos, 293,812 clips, 20 languages.

Makes a synthetic dataset with realistic columns and measures committing, compacting, filtering, querying and
reading it, with the memory that each step takes; and the same questions asked of 20 JSON files with pandas, which
is what the published annotations offer.

    python benchmarks/manifests.py [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

# This file bears the name of the package that it measures: its folder must not be searched first.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]

VIDEOS, CLIPS, LANGUAGES = 9_900, 293_812, 20
QUICK_SHARE = 1 / 20
SAMPLE_VIDEOS = 60
"""Videos committed with motion and landmarks, too, to time that."""

QUERIES = {
    "hours by language": (
        "SELECT language, sum(duration_sec) / 3600 AS hours FROM clips WHERE status = 'ok' GROUP BY language"
    ),
    "clips by error": "SELECT error_code, count(*) AS n FROM clips WHERE status = 'failed' GROUP BY error_code",
    "widest mouths": (
        "SELECT clip_id, mouth_open_range FROM clips WHERE accepted ORDER BY mouth_open_range DESC LIMIT 20"
    ),
    "common rejections": (
        "SELECT rule, count(*) AS n FROM (SELECT unnest(rejected_by) AS rule FROM clips) GROUP BY rule ORDER BY n DESC"
    ),
    "frontal and in sync": (
        "SELECT language, count(*) AS n FROM clips WHERE abs(yaw_deg[2]) < 15 AND av_correlation > 0.3 "
        "GROUP BY language"
    ),
    "one clip": "SELECT * FROM clips WHERE clip_id = 'l03-v000001_2'",
    "text search": "SELECT clip_id, transcript FROM clips WHERE transcript LIKE '%word 777 %'",
}
JSON_QUESTIONS = ("hours by language", "one clip", "text search")


def make_rows(rng: np.random.Generator, video_id: str, clips: int) -> list[dict[str, object]]:
    """Manifest rows of one source video, with every column filled."""
    numbers = rng.random((clips, 40))
    frames = np.clip(rng.exponential(130, clips), 12, 1250).astype(int)
    alive = rng.random() > 0.15
    rows: list[dict[str, object]] = []
    for i in range(clips):
        row: dict[str, object] = {
            "clip_id": f"{video_id}_{i}",
            "source_url": f"https://www.example.org/watch?v={video_id}",
            "start_sec": float(i * 10),
            "end_sec": float(i * 10 + frames[i] / 25),
            "start_frame": i * 250,
            "bbox": dict(zip(("top", "bottom", "left", "right"), numbers[i, :4].tolist(), strict=True)),
            "transcript": " ".join(f"word {n}" for n in rng.integers(0, 1000, 12)),
            "attempts": 1,
            "tool_versions": {"ffmpeg": "7.1", "mediapipe": "1.2.2", "faster-whisper": "1.2.1"},
            "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        }
        rows.append({**row, **(_measured(row, frames[i], numbers[i]) if alive else _failed(video_id))})
    return rows


def _failed(video_id: str) -> dict[str, object]:
    message = f"{video_id}: the source says that the video is private; nothing can be done"
    return {"status": "failed", "error_code": "private", "error_message": message, "stage": "download"}


def _measured(row: dict[str, object], frames: int, u: np.ndarray) -> dict[str, object]:
    f = u.astype(np.float32).tolist()
    yaw = sorted(float(40 * (x - 0.5)) for x in u[20:23])
    return {
        "status": "ok",
        "clip_path": f"clips/x/{row['clip_id']}.mp4",
        "audio_path": f"wav/x/{row['clip_id']}.wav",
        "frame_count": int(frames),
        "duration_sec": frames / 25,
        "source_width": 1920,
        "source_height": 1080,
        "source_fps": 25.0,
        "source_scale": 0.6 + 2 * f[4] ** 4,
        "clip_sha256": f"{int(u[5] * 2**53):064x}",
        "face_coverage": 1 - f[6] ** 20,
        "face_count_max": 1 + int(f[7] > 0.93),
        "face_size_px": 60 + 100 * f[8],
        "yaw_deg": yaw,
        "pitch_deg": yaw,
        "roll_deg": yaw,
        "sharpness": f[9],
        "brightness": f[10],
        "landmark_jitter": f[11] / 100,
        "mouth_open_range": f[12] / 3,
        "mouth_visibility": 1 - f[13] ** 30,
        "bbox_iou": f[14],
        "shot_changes": int(f[15] > 0.97),
        "speech_ratio": 1 - f[16] ** 5,
        "loudness_dbfs": -40 * f[17],
        "clipping_ratio": f[18] ** 30,
        "snr_db": 40 * f[19],
        "detected_language": "english",
        "detected_language_probability": f[24],
        "annotated_language_probability": 1 - f[25] ** 6,
        "recognised_transcript": row["transcript"],
        "transcript_cer": f[26] / 2,
        "av_correlation": f[27] - 0.3,
        "av_offset_frames": int(20 * f[28]) - 10,
        "av_confidence": f[29],
        "speaking_score": 8 * f[30] - 3,
        "fit_landmark_error": 0.006 + 0.03 * f[31] ** 6,
        "fit_landmark_error_lips": 0.01 + 0.03 * f[32] ** 6,
        "fit_jitter": f[33] / 100,
        "head_model": "canonical:3f2a9c0d11e4b5a7",
    }


def commit_all(root: Path, share: float) -> dict[str, float]:
    """Commit every video's manifest rows; then some videos with motion and landmarks."""
    from multitalk.manifests.store import commit_fragment

    rng = np.random.default_rng(0)
    videos = round(VIDEOS * share)
    sizes = _sizes(rng, videos, round(CLIPS * share))
    spent = 0.0
    for v, clips in enumerate(sizes):
        video_id = f"l{v % LANGUAGES:02d}-v{v // LANGUAGES:06d}"
        rows = make_rows(rng, video_id, clips)
        started = time.perf_counter()
        commit_fragment(root, f"language{v % LANGUAGES:02d}", video_id, rows, fingerprint="f")
        spent += time.perf_counter() - started
    return {"videos": videos, "clips": int(sum(sizes)), "seconds": spent, "videos_per_second": videos / spent}


def _sizes(rng: np.random.Generator, videos: int, clips: int) -> list[int]:
    """Clips of each video: a long tail, as MultiTalk's, with an exact sum and at least one each."""
    weights = rng.gamma(1.2, size=videos)
    sizes = 1 + np.floor(weights / weights.sum() * (clips - videos)).astype(int)
    sizes[: clips - sizes.sum()] += 1
    return sizes.tolist()


def commit_motion(root: Path, share: float) -> dict[str, float]:
    """Commit videos of 30 clips of 130 frames with motion (100 expressions) and landmarks."""
    from multitalk.manifests.store import commit_fragment

    rng = np.random.default_rng(1)
    count = max(5, round(SAMPLE_VIDEOS * share))
    spent, written = 0.0, 0
    for v in range(count):
        rows = make_rows(rng, f"m{v:06d}", 30)
        motion = [_motion(rng, str(row["clip_id"])) for row in rows]
        points = rng.uniform(0, 512, (130, 478, 3)).astype(np.float32)
        landmarks = [{"clip_id": m["clip_id"], "landmarks": points, "valid": m["valid"]} for m in motion]
        started = time.perf_counter()
        commit_fragment(
            root / "with-motion",
            "x",
            f"m{v:06d}",
            rows,
            motion_rows=motion,
            landmark_rows=landmarks,
            fingerprint="f",
        )
        spent += time.perf_counter() - started
    written = sum(file.stat().st_size for file in (root / "with-motion" / "motion").rglob("*.parquet"))
    vertices = count * 30 * 130 * 5023 * 3 * 4
    return {
        "videos": count,
        "seconds": spent,
        "videos_per_second": count / spent,
        "share_of_vertices": written / vertices,
    }


def _motion(rng: np.random.Generator, clip_id: str, frames: int = 130) -> dict[str, object]:
    widths = {"expression": 100, "jaw": 3, "eyes": 6, "rotation": 3, "translation": 3}
    smooth = {n: np.cumsum(rng.normal(0, 0.1, (frames, w)), 0).astype(np.float32) for n, w in widths.items()}
    return {
        "clip_id": clip_id,
        "head_model": "flame:0123",
        "fps": 25.0,
        "shape": rng.normal(size=300).astype(np.float32),
        "camera": np.array([1200, 256, 256], np.float32),
        "valid": np.ones(frames, bool),
        "residual": rng.random(frames).astype(np.float32),
        **smooth,
    }


def compact_all(root: Path, _: float) -> dict[str, float]:
    """Merge all fragments into one part a language."""
    from multitalk.manifests.store import compact

    started = time.perf_counter()
    compact(root)
    size = sum(file.stat().st_size for file in (root / "manifest").rglob("*.parquet"))
    return {"seconds": time.perf_counter() - started, "megabytes": size / 1e6}


def running_query(root: Path, _: float) -> dict[str, float]:
    """Ask a question in the middle of a run, when nothing is compacted yet."""
    from multitalk.manifests.query import query

    return {"seconds": _timed(lambda: query(root, QUERIES["hours by language"]), 1)}


def filter_all(root: Path, _: float) -> dict[str, float]:
    """Judge all clips by the default policy: dry, then written; then again with nothing to change."""
    from multitalk.filters.policy import load_policy
    from multitalk.filters.verdicts import apply, evaluate_policy, metric_columns, waterfall_by_language
    from multitalk.manifests.schema import MANIFEST
    from multitalk.manifests.store import compact, read_manifest

    policy = load_policy("default", MANIFEST)

    def dry() -> None:
        clips = read_manifest(root, metric_columns(policy))
        waterfall_by_language(evaluate_policy(policy, clips), clips)

    return {
        "dry_seconds": _timed(dry, 1),
        "written_seconds": _timed(lambda: compact(root, lambda clips: apply(policy, clips)), 1),
        "unchanged_seconds": _timed(lambda: compact(root, lambda clips: apply(policy, clips)), 1),
    }


def query_all(root: Path, _: float) -> dict[str, float]:
    """Median time of each question, connection and views included."""
    from multitalk.manifests.query import query

    return {name: _timed(lambda sql=sql: query(root, sql)) for name, sql in QUERIES.items()}


def read_all(root: Path, _: float) -> dict[str, float]:
    """Read the whole manifest as Arrow and as a DataFrame."""
    from multitalk.manifests import open_dataset

    dataset = open_dataset(root)
    return {"arrow_seconds": _timed(dataset.arrow, 1), "pandas_seconds": _timed(dataset.clips, 1)}


def report_page(root: Path, _: float) -> dict[str, float]:
    """Write the report page, without pictures."""
    from multitalk.manifests.report.report import write_report

    out = root / "report.html"
    return {"seconds": _timed(lambda: write_report(root, out), 1), "megabytes": out.stat().st_size / 1e6}


def release_all(root: Path, _: float) -> dict[str, float]:
    """Freeze a release of what the default policy accepts."""
    from multitalk.filters.policy import load_policy
    from multitalk.filters.verdicts import apply
    from multitalk.manifests.releases.release import create_release
    from multitalk.manifests.schema import MANIFEST

    policy = load_policy("default", MANIFEST)
    return {
        "seconds": _timed(
            lambda: create_release(root, "v1", policy="", add_verdicts=lambda t: apply(policy, t)), 1
        )
    }


def write_json(root: Path, _: float) -> dict[str, float]:
    """Write the annotations as one JSON file a language, as MultiTalk publishes them."""
    from multitalk.manifests.store import read_manifest

    (root / "json").mkdir()
    for number in range(LANGUAGES):
        clips = read_manifest(root, languages=[f"language{number:02d}"]).to_pylist()
        content = {
            row["clip_id"]: {
                "youtube_id": row["video_id"],
                "duration": {"start_sec": row["start_sec"], "end_sec": row["end_sec"]},
                "bbox": row["bbox"],
                "language": row["language"],
                "transcript": row["transcript"],
            }
            for row in clips
        }
        (root / "json" / f"{number:02d}.json").write_text(json.dumps(content))
    return {"megabytes": sum(file.stat().st_size for file in (root / "json").iterdir()) / 1e6}


def pandas_on_json(root: Path, _: float) -> dict[str, float]:
    """Answer what these files can answer at all: each question reads them anew, as a script does."""
    import pandas as pd

    def load() -> pd.DataFrame:
        files = sorted((root / "json").glob("*.json"))
        return pd.concat(pd.json_normalize(list(json.loads(f.read_text()).values())) for f in files)

    def hours() -> object:
        clips = load()
        return (clips["duration.end_sec"] - clips["duration.start_sec"]).groupby(clips.language).sum() / 3600

    def one() -> object:
        return next(
            c["l03-v000001_2"]
            for f in (root / "json").glob("*.json")
            if "l03-v000001_2" in (c := json.loads(f.read_text()))
        )

    def text() -> object:
        clips = load()
        return clips[clips.transcript.str.contains("word 777 ", regex=False)]

    return {name: _timed(ask, 1) for name, ask in zip(JSON_QUESTIONS, (hours, one, text), strict=True)}


STEPS: dict[str, Callable[[Path, float], dict[str, float]]] = {
    "commit": commit_all,
    "commit with motion": commit_motion,
    "query while running": running_query,
    "compact": compact_all,
    "filter": filter_all,
    "query": query_all,
    "read all": read_all,
    "report": report_page,
    "release": release_all,
    "write JSON": write_json,
    "pandas on JSON": pandas_on_json,
}


def _timed(call: Callable[[], object], repeats: int = 5) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _step(name: str, root: Path, share: float) -> dict[str, float]:
    result = STEPS[name](root, share)
    return {**result, "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main() -> int:
    """Run every step in a process of its own, print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the size, in under a minute")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    share = QUICK_SHARE if options.quick else 1.0
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in STEPS:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                figures[name] = pool.apply(_step, (name, Path(folder), share))
            for key, value in figures[name].items():
                print(f"{name:20}  {key:22}  {value:12,.4g}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

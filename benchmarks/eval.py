"""Time motion metrics beside the reference's per-vertex loop, and rendering with and without encoding.

The reference's test script collects the frames of all clips in lists, makes two arrays of them, and loops over
the lip vertices; CodeTalker's does the same for the upper face, clip by clip. Both are run here as they are
written, on as many clips as memory allows, and compared a clip; the figures must be the same. Clips are 130
frames of 5023 vertices, MultiTalk's mean; the pool that they are drawn from does not fit the caches.

    python -m benchmarks.eval [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `python benchmarks/eval.py`, too

import numpy as np

from eval.camera import Camera
from eval.catalog import METRICS
from eval.dynamics import fdd_signed
from eval.metric import MotionPair, gather
from eval.motion import lip_vertex_error_squared
from eval.regions import FLAME_VERTICES, FaceRegions, Region, flame_regions
from eval.render import MeshRenderer
from eval.talking_video import write_head_video
from manifests.media import Samples

FRAMES = 130
T = TypeVar("T")

POOL = 24
UPPER_FACE = 827


@dataclass(frozen=True)
class Figures:
    """What was measured; metrics' times are the processor's, a clip: all of them compute on one core."""

    clips: int
    reference_clips: int
    lve_reference_ms: float
    """Lists, arrays and loop, as the script does it."""
    lve_reference_loop_ms: float
    """The loop alone, with the arrays at hand."""
    lve_ours_ms: float
    lve_reading_ms: float
    """Copying the lip vertices of both out of memory, and nothing else: what no program in numpy can beat."""
    lve_speed_up: float
    """Over the script."""
    lve_speed_up_over_loop: float
    lve_relative_difference: float
    fdd_reference_ms: float
    fdd_ours_ms: float
    fdd_speed_up: float
    fdd_relative_difference: float
    script_speed_up: float
    """Of both figures together, over a script that computes both, as CodeTalker's does."""
    all_metrics_ms: float
    """Every named metric of the catalogue."""
    render_fps: float
    render_cpu_ms: float
    """Processor time of all threads a frame."""
    render_rough_fps: float
    """Without smooth edges, as lip reading draws."""
    video_fps: float
    """Rendering, H.264 and AAC."""
    cores: int


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer clips and frames, under a minute")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    clips, reference_clips, frames = (120, 40, 60) if options.quick else (1000, 200, 300)
    figures = Figures(
        clips=clips,
        reference_clips=reference_clips,
        **measure_metrics(clips, reference_clips),
        **measure_rendering(frames),
        cores=len(os.sched_getaffinity(0)),
    )
    for name, value in asdict(figures).items():
        print(f"{name:26} {value:.4g}" if isinstance(value, float) else f"{name:26} {value}")
    if options.json:
        options.json.write_text(json.dumps(asdict(figures), indent=1))


def measure_metrics(clips: int, reference_clips: int) -> dict[str, float]:
    """Time both ways on clips from one pool."""
    rng = np.random.default_rng(0)
    template = rng.normal(scale=0.05, size=(FLAME_VERTICES, 3)).astype(np.float32)
    pool = [
        template + rng.normal(scale=0.002, size=(FRAMES, FLAME_VERTICES, 3)).astype(np.float32)
        for _ in range(POOL)
    ]
    lips = flame_regions()
    upper = Region.of("upper_face", range(3000, 3000 + UPPER_FACE), "as many as FLAME's")
    regions = FaceRegions("flame", FLAME_VERTICES, lips.lips, lips.inner_lips, upper)

    def pair(k: int) -> tuple[np.ndarray, np.ndarray]:
        return pool[k % POOL], pool[(k + 1 + k // POOL) % POOL]

    def motion_pair(k: int) -> MotionPair:
        return MotionPair(*pair(k), regions, template)

    ids = regions.lips.vertices
    lve_time, lve = worked(lambda: [lip_vertex_error_squared(*pair(k), ids) for k in range(clips)])
    reading_time, _ = worked(lambda: [len(gather(v, ids)) for k in range(clips) for v in pair(k)])
    fdd_time, fdd = worked(lambda: [fdd_signed(motion_pair(k)) for k in range(clips)])
    some = max(1, clips // 10)
    METRICS["mtm"].measure(motion_pair(0))  # imports scipy
    all_time, _ = worked(
        lambda: [m.measure(p) for p in map(motion_pair, range(some)) for m in METRICS.values()]
    )

    first = [pair(k) for k in range(reference_clips)]
    build_time, loop_time, reference_lve = time_reference_lip_vertex_error(first, ids)
    reference_fdd_time, reference_fdd = worked(
        lambda: [reference_fdd_of(*p, template, upper.vertices) for p in first]
    )
    ours_lve, ours_fdd = np.mean(lve[:reference_clips]), np.array(fdd[:reference_clips])
    whole, loop = (build_time + loop_time) / reference_clips, loop_time / reference_clips
    reference_fdd_time /= reference_clips
    lve_time, fdd_time = lve_time / clips, fdd_time / clips
    return {
        "lve_reference_ms": 1000 * whole,
        "lve_reference_loop_ms": 1000 * loop,
        "lve_ours_ms": 1000 * lve_time,
        "lve_reading_ms": 1000 * reading_time / clips,
        "lve_speed_up": whole / lve_time,
        "lve_speed_up_over_loop": loop / lve_time,
        "lve_relative_difference": abs(float(ours_lve / reference_lve) - 1),
        "fdd_reference_ms": 1000 * reference_fdd_time,
        "fdd_ours_ms": 1000 * fdd_time,
        "fdd_speed_up": reference_fdd_time / fdd_time,
        "fdd_relative_difference": float(
            np.abs(ours_fdd - reference_fdd).max() / np.abs(reference_fdd).max()
        ),
        "script_speed_up": (whole + reference_fdd_time) / (lve_time + fdd_time),
        "all_metrics_ms": 1000 * all_time / some,
    }


def time_reference_lip_vertex_error(
    clips: list[tuple[np.ndarray, np.ndarray]], lips: np.ndarray
) -> tuple[float, float, float]:
    """Seconds for the arrays, seconds for the loop, and the figure."""
    build_time, arrays = worked(lambda: stacked(clips))
    loop_time, figure = worked(lambda: reference_lip_vertex_error(*arrays, lips))
    return build_time, loop_time, figure


def stacked(clips: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Frames of all clips in one array each, by way of lists."""
    ground_truth: list[np.ndarray] = []
    prediction: list[np.ndarray] = []
    for true, predicted in clips:
        ground_truth.extend(list(true))
        prediction.extend(list(predicted))
    return np.array(ground_truth), np.array(prediction)


def reference_lip_vertex_error(ground_truth: np.ndarray, prediction: np.ndarray, lips: np.ndarray) -> float:
    """One vertex after the other, then sums over coordinates and the maximum."""
    squares = np.array([np.square(ground_truth[:, v] - prediction[:, v]) for v in lips])
    return float(np.mean(squares.transpose(1, 0, 2).sum(axis=2).max(axis=1)))


def reference_fdd_of(
    ground_truth: np.ndarray, prediction: np.ndarray, template: np.ndarray, upper: np.ndarray
) -> float:
    """One vertex after the other, on offsets of the whole mesh."""
    dynamics = []
    for vertices in (ground_truth, prediction):
        motion = vertices - template
        squares = np.array([np.square(motion[:, v]) for v in upper])
        dynamics.append(squares.transpose(1, 0, 2).sum(axis=2).std(axis=0).mean())
    return float(dynamics[0] - dynamics[1])


def measure_rendering(frames: int) -> dict[str, float]:
    """Draw a sphere with about as many vertices and triangles as FLAME."""
    sphere, faces = ball(71)
    moving = sphere + 0.01 * np.sin(np.arange(frames) / 5)[:, None, None] * np.float32([0, 1, 0])
    drawing, processor = draw(sphere, faces, moving, smooth_edges=True)
    rough, _ = draw(sphere, faces, moving, smooth_edges=False)
    sound: Samples = (8000 * np.sin(np.arange(frames * 640) / 20)).astype(np.int16)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "head.mp4"
        writing, _ = timed(lambda: write_head_video(path, moving, faces, sphere, sound=sound))
    return {
        "render_fps": frames / drawing,
        "render_cpu_ms": 1000 * processor / frames,
        "render_rough_fps": frames / rough,
        "video_fps": frames / writing,
    }


def draw(
    template: np.ndarray, faces: np.ndarray, moving: np.ndarray, *, smooth_edges: bool
) -> tuple[float, float]:
    """Seconds by the clock and of the processor."""
    camera = Camera.portrait(template, 512)
    with MeshRenderer(faces, len(template), camera, smooth_edges=smooth_edges) as renderer:
        renderer.render(template)
        processor = time.process_time()
        seconds, _ = timed(lambda: [renderer.render(vertices) for vertices in moving])
        return seconds, time.process_time() - processor


def ball(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Sphere of side x side vertices, radius 0.1, and its triangles."""
    latitude, longitude = np.meshgrid(
        np.linspace(0, np.pi, side), np.linspace(0, 2 * np.pi, side), indexing="ij"
    )
    points = [np.sin(latitude) * np.sin(longitude), np.cos(latitude), np.sin(latitude) * np.cos(longitude)]
    corner = np.arange(side * side).reshape(side, side)
    a, b, c, d = corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]
    faces = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    return (0.1 * np.stack(points, -1)).reshape(-1, 3).astype(np.float32), faces


def worked(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds of the processor that work takes, and what it gives."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds by the clock that work takes, and what it gives."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


if __name__ == "__main__":
    main()

"""Time motion metrics beside the reference's per-vertex loop, and rendering with and without encoding.

The reference's test script collects the frames of all clips in lists, makes two arrays of them, and loops over
the lip vertices; CodeTalker's does the same for the upper face, clip by clip. Both are run here as they are
written, on the same clips, in turn with ours; the figures must be the same. Clips are 130 frames of 5023
vertices, MultiTalk's mean; the pool that they are drawn from does not fit the caches. Our loops are compiled
before the clock starts: that is done once, when they are first used on a machine.

    python -m benchmarks.eval [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `python benchmarks/eval.py`, too

import numpy as np

from multitalk.eval.drawing.camera import Camera
from multitalk.eval.drawing.render import MeshRenderer
from multitalk.eval.drawing.talking_video import write_head_video
from multitalk.eval.motion.catalog import METRICS
from multitalk.eval.motion.distances import lip_vertex_error_squared
from multitalk.eval.motion.dynamics import fdd_signed
from multitalk.eval.motion.metric import MotionPair
from multitalk.eval.motion.regions import FLAME_VERTICES, FaceRegions, VertexRegion, flame_regions
from multitalk.manifests.media import Samples

FRAMES = 130
T = TypeVar("T")

POOL = 24
UPPER_FACE = 827
ROUNDS = 5


@dataclass(frozen=True)
class Figures:
    """What was measured; times are milliseconds of the processor a clip, but those by the clock."""

    clips: int
    """In turns of a fifth each: the reference's arrays of them are 3 GB."""
    lve_reference_ms: float
    """Lists, arrays and loop, as the script does it."""
    lve_reference_loop_ms: float
    """The loop alone, with the arrays at hand."""
    lve_ours_ms: float
    lve_speed_up: float
    """Over the script."""
    lve_loop_speed_up: float
    lve_relative_difference: float
    fdd_reference_ms: float
    fdd_ours_ms: float
    fdd_loop_speed_up: float
    fdd_relative_difference: float
    script_speed_up: float
    """Of both figures together, over a script that computes both, as CodeTalker's does."""
    lve_clock_ms: float
    """By the clock, clips on all cores as `evaluate motion` measures them; this and the next ones."""
    fdd_clock_ms: float
    lve_loop_clock_speed_up: float
    fdd_loop_clock_speed_up: float
    loops_clock_speed_up: float
    """Of both figures, over both loops with their arrays at hand."""
    script_clock_speed_up: float
    all_metrics_ms: float
    """Every named metric of the catalogue."""
    all_metrics_clock_ms: float
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
    clips, frames = (125, 60) if options.quick else (1000, 300)
    figures = Figures(
        clips=clips,
        **measure_metrics(clips),
        **measure_rendering(frames),
        cores=len(os.sched_getaffinity(0)),
    )
    for name, value in asdict(figures).items():
        print(f"{name:27} {value:.4g}" if isinstance(value, float) else f"{name:27} {value}")
    if options.json:
        options.json.write_text(json.dumps(asdict(figures), indent=1))


class Clips:
    """Pairs of clips from one pool, and what is measured on the k-th."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.template = rng.normal(scale=0.05, size=(FLAME_VERTICES, 3)).astype(np.float32)
        moves = (rng.normal(scale=0.002, size=(FRAMES, FLAME_VERTICES, 3)) for _ in range(POOL))
        self.pool = [self.template + move.astype(np.float32) for move in moves]
        flame, self.upper = flame_regions(), scattered_region(rng)
        self.lips = flame.lips.vertices
        self.regions = FaceRegions("flame", FLAME_VERTICES, flame.lips, flame.inner_lips, self.upper)

    def pair(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Ground truth and prediction."""
        return self.pool[k % POOL], self.pool[(k + 1 + k // POOL) % POOL]

    def lve(self, k: int) -> float:
        """Lip Vertex Error, squared."""
        return lip_vertex_error_squared(*self.pair(k), self.lips)

    def fdd(self, k: int) -> float:
        """FDD of CodeTalker's script."""
        return fdd_signed(MotionPair(*self.pair(k), self.regions, self.template))

    def all(self, k: int) -> list[object]:
        """Every metric of the catalogue."""
        pair = MotionPair(*self.pair(k), self.regions, self.template)
        return [metric.measure(pair) for metric in METRICS.values()]

    def reference_fdd(self, k: int) -> float:
        """FDD, one vertex after the other."""
        return reference_fdd_of(*self.pair(k), self.template, self.upper.vertices)


def measure_metrics(count: int) -> dict[str, float]:
    """Time both ways on the same clips, turn by turn: a machine that others share is not always as fast."""
    clips = Clips()
    clips.all(0)  # compiles, and imports scipy
    times: Counter[str] = Counter()
    worst: Counter[str] = Counter()
    for part in np.array_split(np.arange(count), ROUNDS):
        lve, fdd = (spend(times, f"{n}_ours", worked, each(f, part)) for n, f in of_both(clips))
        spend(times, "all", worked, each(clips.all, part[: count // 25]))
        for name, work in of_both(clips):
            spend(times, f"{name}_clock", timed, on_all_cores(work, part))
        spend(times, "all_clock", timed, on_all_cores(clips.all, part[: count // 25]))
        pairs = [clips.pair(k) for k in part]
        arrays = spend(times, "lve_building", worked, lambda pairs=pairs: stacked(pairs))
        true_lve = spend(
            times, "lve_loop", worked, lambda a=arrays: reference_lip_vertex_error(*a, clips.lips)
        )
        true_fdd = spend(times, "fdd_loop", worked, each(clips.reference_fdd, part))
        worst["lve"] = max(worst["lve"], abs(np.mean(lve) / true_lve - 1))
        worst["fdd"] = max(worst["fdd"], np.abs(np.subtract(fdd, true_fdd)).max() / np.abs(true_fdd).max())
    ms = {name: 1000 * seconds / count for name, seconds in times.items()}
    script, loops = ms["lve_building"] + ms["lve_loop"] + ms["fdd_loop"], ms["lve_loop"] + ms["fdd_loop"]
    return {
        "lve_reference_ms": ms["lve_building"] + ms["lve_loop"],
        "lve_reference_loop_ms": ms["lve_loop"],
        "lve_ours_ms": ms["lve_ours"],
        "lve_speed_up": (ms["lve_building"] + ms["lve_loop"]) / ms["lve_ours"],
        "lve_loop_speed_up": ms["lve_loop"] / ms["lve_ours"],
        "lve_relative_difference": worst["lve"],
        "fdd_reference_ms": ms["fdd_loop"],
        "fdd_ours_ms": ms["fdd_ours"],
        "fdd_loop_speed_up": ms["fdd_loop"] / ms["fdd_ours"],
        "fdd_relative_difference": worst["fdd"],
        "script_speed_up": script / (ms["lve_ours"] + ms["fdd_ours"]),
        "lve_clock_ms": ms["lve_clock"],
        "fdd_clock_ms": ms["fdd_clock"],
        "lve_loop_clock_speed_up": ms["lve_loop"] / ms["lve_clock"],
        "fdd_loop_clock_speed_up": ms["fdd_loop"] / ms["fdd_clock"],
        "loops_clock_speed_up": loops / (ms["lve_clock"] + ms["fdd_clock"]),
        "script_clock_speed_up": script / (ms["lve_clock"] + ms["fdd_clock"]),
        "all_metrics_ms": ms["all"] * count / (ROUNDS * (count // 25)),
        "all_metrics_clock_ms": ms["all_clock"] * count / (ROUNDS * (count // 25)),
    }


def of_both(clips: Clips) -> tuple[tuple[str, Callable[[int], float]], ...]:
    """Name the figures that the reference has, too."""
    return ("lve", clips.lve), ("fdd", clips.fdd)


def spend(
    times: Counter[str],
    name: str,
    measure: Callable[[Callable[[], T]], tuple[float, T]],
    work: Callable[[], T],
) -> T:
    """Do the work and add the time that it takes."""
    seconds, result = measure(work)
    times[name] += seconds
    return result


def each(work: Callable[[int], T], clips: np.ndarray) -> Callable[[], list[T]]:
    """Work to be done on one clip after the other."""
    return lambda: [work(k) for k in clips]


def on_all_cores(work: Callable[[int], T], clips: np.ndarray) -> Callable[[], list[T]]:
    """Work to be done by a thread a core, as `multitalk.eval.motion.evaluate_motion` does it."""

    def spread() -> list[T]:
        with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
            return list(threads.map(work, clips))

    return spread


def scattered_region(rng: np.random.Generator) -> VertexRegion:
    """As many vertices as FLAME's upper face, in runs like those of FLAME's lips: its own are under a licence."""
    lips = flame_regions().lips.vertices
    runs = [len(run) for run in np.split(lips, np.flatnonzero(np.diff(lips) > 1) + 1)]
    ids: list[int] = []
    start = 1000
    while len(ids) < UPPER_FACE:
        length = min(int(rng.choice(runs)), UPPER_FACE - len(ids))
        ids += range(start, start + length)
        start += length + int(rng.integers(1, 8))
    return VertexRegion.of("upper_face", ids, "as many as FLAME's, scattered like its lips")


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
    renderer = MeshRenderer(faces, len(template), camera, smooth_edges=smooth_edges)
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

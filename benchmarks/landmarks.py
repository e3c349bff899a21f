"""Find and measure the face of a clip, beside a bare loop that only decodes and detects.

The stage detects with MediaPipe's networks, called one by one, measures sharpness, light and mouth of every face,
looks for cuts, follows the face and takes its pose. The bare loop has the same settings, the same file and the same
process, one after the other several times. Then one worker process does the stage alone, and two at the same time.

    python -m benchmarks.landmarks [--quick] [--video CLIP] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np

from multitalk.assets.fetch import require
from multitalk.extract.faces.landmarks import LandmarkSettings, MediaPipeDetector
from multitalk.extract.faces.shots import ShotDetector
from multitalk.extract.faces.tracks import TrackSettings, choose_track
from multitalk.filters.appearance import face_appearance
from multitalk.filters.image import measure_face
from multitalk.filters.pose import head_rotation
from multitalk.fit_flame.heads.canonical import read_canonical_mesh

SIDE = 512
WHOLE = np.array([0, 0, SIDE, SIDE], np.float32)


@dataclass(frozen=True)
class Figures:
    """Medians over the rounds."""

    frames: int
    rounds: int
    bare_fps: float
    stage_fps: float
    stage_to_bare: float
    """Median of the rounds' ratios: stage and bare loop take turns, so that both see the same machine."""
    one_worker_fps: float
    two_workers_fps: float
    two_workers_to_one: float


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer frames and rounds, under a minute")
    parser.add_argument("--video", type=Path, help="a 512x512 clip to use instead of the moving portrait")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    frames, rounds = (75, 5) if options.quick else (500, 9)
    with tempfile.TemporaryDirectory() as folder:
        clip = options.video or moving_portrait(Path(folder) / "portrait.mp4", frames)
        figures = measure(clip, rounds)
    for name, value in asdict(figures).items():
        print(f"{name:20} {value:.3g}" if isinstance(value, float) else f"{name:20} {value}")
    if options.json:
        options.json.write_text(json.dumps(asdict(figures), indent=1))


def moving_portrait(path: Path, frames: int) -> Path:
    """Write a clip of scikit-image's portrait that sways and nods."""
    import av
    import cv2
    from skimage import data

    head = cv2.resize(data.astronaut()[0:280, 80:360], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "18"})
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, 25)
        for index in range(frames):
            move = np.array([[1, 0, 20 * np.sin(index / 12)], [0, 1, 10 * np.sin(index / 7)]])
            picture = cv2.warpAffine(head, move, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def measure(clip: Path, rounds: int) -> Figures:
    """Time bare loop, stage and worker processes."""
    frames = stage(clip)  # also loads what has to be loaded
    bare_loop(clip)
    bare, full = [], []
    for _ in range(rounds):
        bare.append(frames / seconds(bare_loop, clip))
        full.append(frames / seconds(stage, clip))
    alone, together = workers(clip, frames, max(3, rounds // 2))
    return Figures(
        frames=frames,
        rounds=rounds,
        bare_fps=statistics.median(bare),
        stage_fps=statistics.median(full),
        stage_to_bare=statistics.median(f / b for f, b in zip(full, bare, strict=True)),
        one_worker_fps=statistics.median(alone),
        two_workers_fps=statistics.median(together),
        two_workers_to_one=statistics.median(t / a for t, a in zip(together, alone, strict=True)),
    )


def seconds(work: Callable[[Path], object], clip: Path) -> float:
    """Wall-clock time of one go."""
    start = time.perf_counter()
    work(clip)
    return time.perf_counter() - start


def bare_loop(clip: Path) -> None:
    """Decode and detect with MediaPipe's own landmarker, nothing else, as its examples do."""
    import av
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    settings = LandmarkSettings(min_detection_confidence=0.2)
    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(require("face_landmarker"))),
        running_mode=vision.RunningMode.VIDEO,
        num_faces=settings.max_faces,
        min_face_detection_confidence=settings.min_detection_confidence,
        min_face_presence_confidence=settings.min_presence_confidence,
        min_tracking_confidence=settings.min_presence_confidence,
    )
    with (
        vision.FaceLandmarker.create_from_options(options) as landmarker,
        av.open(str(clip)) as container,
    ):
        for index, frame in enumerate(container.decode(video=0)):
            picture = frame.to_ndarray(format="rgb24")
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=picture)
            landmarker.detect_for_video(image, index * 40)


def stage(clip: Path) -> int:
    """Take a clip through the stage; returns its frames."""
    model = require("face_landmarker")
    faces, looks, shots = [], [], ShotDetector()
    for seen in MediaPipeDetector(model).faces(clip):
        faces.append(seen.faces)
        looks.append([face_appearance(seen.frame, face) for face in seen.faces])
        shots.add(seen.frame)
    track = choose_track(faces, WHOLE, TrackSettings(), clip.stem)
    rotation = head_rotation(track.landmarks, read_canonical_mesh(model).vertices)
    measure_face(track, faces, looks, rotation, WHOLE, shots.changes(), shots.cuts())
    return len(faces)


def workers(clip: Path, frames: int, rounds: int) -> tuple[list[float], list[float]]:
    """Frames a second of one worker process and of two, by turns."""
    context = multiprocessing.get_context("spawn")
    barriers = [context.Barrier(2), context.Barrier(3)]
    done: Queue[float] = context.Queue()
    processes = [
        context.Process(target=_work, args=(clip, rounds, barriers[number:], done), daemon=True)
        for number in range(2)
    ]
    for process in processes:
        process.start()
    alone, together = [], []
    for _ in range(rounds):
        barriers[0].wait()
        alone.append(frames / done.get())
        barriers[1].wait()
        together.append(2 * frames / max(done.get(), done.get()))
    for process in processes:
        process.join()
    return alone, together


def _work(clip: Path, rounds: int, barriers: list[Barrier], done: Queue[float]) -> None:
    """Do the stage once per round and barrier; the first worker has two, the second only that of both."""
    stage(clip)
    for _ in range(rounds):
        for barrier in barriers:
            barrier.wait()
            done.put(seconds(stage, clip))


if __name__ == "__main__":
    main()

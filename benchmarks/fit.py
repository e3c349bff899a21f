"""The fit: speed, accuracy and smoothness, beside an Adam fit of the same residuals and bare per-frame LM.

Synthetic clips come from the canonical model itself, so their truth is known; real ones are the sample's, taken
through trim, landmarks and track. `small` is the canonical model cut to the size of a FLAME fit: 105 + 17
landmarks, 100 identity and 50 expression directions.
"""

import argparse
import json
import multiprocessing
import os
import platform
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `python benchmarks/fit.py`, too

import numpy as np
import torch

from benchmarks.fit_baselines import adam, iterations
from benchmarks.real_clips import Clips, read_folder, read_sample
from multitalk.assets.fetch import require
from multitalk.fit_flame.clip_fit import fit_batch
from multitalk.fit_flame.fit import FitDiverged, FitResult, FitSettings, RegionSigma, fit_clip
from multitalk.fit_flame.heads.canonical import canonical_head_model
from multitalk.fit_flame.heads.head_model import HeadModel, LandmarkEmbedding
from multitalk.fit_flame.landmarks.embedding import CONTOUR_LANDMARKS
from multitalk.fit_flame.parameters.decode import decode, project_vertices
from multitalk.fit_flame.parameters.synthetic import landmarks_of, speaking
from multitalk.ground import landmark_layout as layout

NOSE = (168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 98, 327, 45)
SMALL = layout.RIGHT_BROW + layout.LEFT_BROW + layout.RIGHT_EYE + layout.LEFT_EYE + NOSE + layout.LIPS
PER_FRAME = FitSettings(chain_iterations=0)
TYPICAL_FRAMES = 130  # MultiTalk's mean clip of 5.19 s


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=Path, default=Path(__file__).parents[2] / "shared" / "sample")
    parser.add_argument("--quick", action="store_true", help="fewer clips and no Adam")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--landmarks", type=Path, help="folder of .npz with landmarks and valid, instead of --sample"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    head = canonical_head_model(require("face_landmarker"))
    figures: dict[str, float | str] = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    }
    parts = [
        lambda: speed(options.device, quick=options.quick),
        lambda: accuracy(head),
        lambda: smoothness(head),
        lambda: real(head, clips(options)),
        memory,
    ]
    if not options.quick:
        parts.append(lambda: adam(head))
    for part in parts:
        found = part()
        figures |= found
        for name, value in found.items():
            print(f"{name:58} {value:.4g}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


def clips(options: argparse.Namespace) -> "Clips":
    """Read the real clips that the options name."""
    if options.landmarks:
        return read_folder(options.landmarks)
    return read_sample(options.sample, quick=options.quick)


def small_model(head: HeadModel) -> HeadModel:
    """Cut the canonical model to the size of a FLAME fit."""
    ids = np.array(SMALL + CONTOUR_LANDMARKS)
    corners = np.repeat(ids[:, None], 3, axis=1)
    embedding = LandmarkEmbedding(ids, corners, np.tile(np.array([1, 0, 0], np.float32), (len(ids), 1)))
    return replace(
        head,
        hash="small",
        shapedirs=head.shapedirs[..., :100],
        expressiondirs=head.expressiondirs[..., :50],
        embedding=embedding,
    )


def speed(device: str, *, quick: bool) -> dict[str, float]:
    """Frames a second of the full fit and of the per-frame fit.

    A clip a worker process with one thread on a CPU, as a build runs them; a batch of clips on a GPU.
    """
    figures = {}
    on_cpu = device == "cpu"
    workers = min(2, os.cpu_count() or 1) if on_cpu else 1
    rounds = 3 if quick else 12
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for name in ("canonical 468", "small 105 + 17"):
            for kind, settings in (("full fit", FitSettings()), ("no temporal prior", PER_FRAME)):
                turn = partial(fit_typical, name, settings.model_copy(update={"device": device}))
                list(pool.map(turn, range(2 * workers)))  # warm up
                started = time.perf_counter()
                clips = sum(pool.map(turn, range(rounds * workers)))
                rate = clips * TYPICAL_FRAMES / (time.perf_counter() - started)
                figures[f"{name}: {kind}, frames/s on {workers} cores"] = rate
    return figures


def fit_typical(name: str, settings: FitSettings, _: int) -> int:
    """Fit made-up clips of the typical length in this process; return how many."""
    model, landmarks = typical(name)
    count = 1 if settings.device == "cpu" else 64
    fit_batch([landmarks] * count, [np.ones(TYPICAL_FRAMES, bool)] * count, model, settings)
    return count


@cache
def typical(name: str) -> tuple[HeadModel, np.ndarray]:
    """Head model and landmarks of a clip, made once in a process."""
    torch.set_num_threads(1)
    head = canonical_head_model(require("face_landmarker"))
    model = small_model(head) if name.startswith("small") else head
    return model, landmarks_of(speaking(head, TYPICAL_FRAMES), head, 0.5)


def accuracy(head: HeadModel) -> dict[str, float]:
    """Noise-free recovery, and the error under noise with poses to 60 degrees."""
    truth = speaking(head, 60)
    exact = faded(30)
    found = fit_clip(landmarks_of(truth, head), truth.valid, head, exact).motion
    pixels = np.linalg.norm(project_vertices(found, head) - project_vertices(truth, head), axis=-1)[:, :468]
    shapes = [decode(m, head, head_pose=False)[:, :468] for m in (found, truth)]
    centred = [s - s.mean(axis=1, keepdims=True) for s in shapes]
    wide = speaking(head, 60, turn_deg=60)
    noisy = fit_clip(landmarks_of(wide, head, 1.5), wide.valid, head).motion
    error = np.linalg.norm(project_vertices(noisy, head) - project_vertices(wide, head), axis=-1)[:, :468]
    return {
        "noise-free, priors faded: reprojection, px": float(pixels.mean()),
        "noise-free, priors faded: vertices, mm": float(
            1000 * np.linalg.norm(centred[0] - centred[1], axis=-1).mean()
        ),
        "1.5 px noise, to 60 degrees: error / 2-D noise RMS": float(
            np.sqrt((error**2).mean()) / (1.5 * 2**0.5)
        ),
    }


def faded(factor: float) -> FitSettings:
    """Take landmarks for so much surer than detected ones are that the priors hardly count beside them."""
    usual = RegionSigma()
    sigma = {name: getattr(usual, name) / factor for name in ("lips", "eyes", "brows", "oval", "skin", "gap")}
    return FitSettings(
        sigma=RegionSigma(**sigma),
        outlier=200 * factor,
        identity_iterations=200,
        frame_iterations=15,
        chain_iterations=0,
    )


def smoothness(head: HeadModel) -> dict[str, float]:
    """Jitter of a still face and amplitude of a moving mouth."""
    truth = speaking(head, 75)
    first = {
        n: np.repeat(getattr(truth, n)[:1], 75, axis=0)
        for n in ("expression", "jaw", "rotation", "translation")
    }
    noisy = landmarks_of(replace(truth, **first), head, 0.3)
    figures = {
        "still face: jitter per frame / together": (
            fit_clip(noisy, truth.valid, head, PER_FRAME).jitter / fit_clip(noisy, truth.valid, head).jitter
        )
    }
    for hertz in (4.0, 5.0, 6.0):
        moving = speaking(head, 75, mouth_hz=hertz)
        points = landmarks_of(moving, head, 0.3)
        found = project_vertices(fit_clip(points, moving.valid, head).motion, head)
        kept = amplitude(found, hertz) / amplitude(landmarks_of(moving, head), hertz)
        figures[f"lip aperture at {hertz:.0f} Hz: amplitude kept"] = kept
    return figures


def amplitude(points: np.ndarray, hertz: float) -> float:
    """Amplitude of the inner lips' gap at a frequency."""
    gap = np.linalg.norm(points[:, 13] - points[:, 14], axis=-1)
    spectrum = np.abs(np.fft.rfft((gap - gap.mean()) * np.hanning(len(gap))))
    return float(spectrum[np.argmin(np.abs(np.fft.rfftfreq(len(gap), 1 / 25) - hertz))])


def memory() -> dict[str, float]:
    """Peak memory and CPU time of a process that fits one clip of 45 s, and of one that fits half as long."""
    fresh = multiprocessing.get_context("spawn")
    found = []
    for frames in (45 * 25, 45 * 25 // 2):
        with ProcessPoolExecutor(1, mp_context=fresh) as pool:
            found.append(pool.submit(fit_long, frames).result())
    (whole, whole_cpu), (half, half_cpu) = found
    return {
        "45 s clip: peak memory of the whole process, GiB": whole / 2**20,
        "22.5 s clip: peak memory of the whole process, GiB": half / 2**20,
        "45 s clip: CPU time beside the half clip's": whole_cpu / half_cpu,
    }


def fit_long(frames: int) -> tuple[int, float]:
    """Fit one synthetic clip; return this process's peak memory, KiB, and the fit's CPU time, seconds."""
    torch.set_num_threads(1)
    head = canonical_head_model(require("face_landmarker"))
    truth = speaking(head, frames)
    landmarks = landmarks_of(truth, head)
    cpu = time.process_time()
    fit_clip(landmarks, truth.valid, head)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time() - cpu


def real(head: HeadModel, clips: Clips) -> dict[str, float]:
    """Errors on real clips: all landmarks, lips, closed lips, and the jitter beside the detector's."""
    results: dict[str, FitResult] = {}
    closed: list[float] = []
    jitter: list[float] = []
    needed: list[np.ndarray] = []
    for name, (landmarks, valid) in clips.items():
        if valid.sum() < 5:
            continue
        try:
            results[name] = fit_clip(landmarks, valid, head)
        except FitDiverged as error:
            print(f"{name}: {error}")
            continue
        if len(needed) < 3:
            needed.append(iterations(head, landmarks, valid))
        iod = results[name].interocular_px
        found = project_vertices(results[name].motion, head)
        gaps = [np.linalg.norm(p[:, 13, :2] - p[:, 14, :2], axis=-1)[valid] / iod for p in (landmarks, found)]
        closed += (gaps[1][gaps[0] < 0.015] < 0.02).tolist()
        raw = np.diff(landmarks[valid][:, :468, :2], 2, axis=0)
        jitter.append(float(results[name].jitter / (np.sqrt((raw**2).sum(-1).mean()) / iod)))
    if not results:
        return {}
    everywhere = [r.landmark_error for r in results.values()]
    lips = [r.landmark_error_lips for r in results.values()]
    return {
        "real clips": float(len(results)),
        "real: iterations to 1% of the final cost, median": float(np.median(np.concatenate(needed))),
        "real: iterations to 1% of the final cost, 95th percentile": float(
            np.percentile(np.concatenate(needed), 95)
        ),
        "real: landmark error, % (mean of clips)": 100 * float(np.mean(everywhere)),
        "real: landmark error, % (worst clip)": 100 * max(everywhere),
        "real: lips, % (mean of clips)": 100 * float(np.mean(lips)),
        "real: lips, % (worst clip)": 100 * max(lips),
        "real: jitter / detector's": float(np.mean(jitter)),
        "real: closed lips stay closed, share of frames": float(np.mean(closed)) if closed else float("nan"),
        "real: frames with closed lips": float(len(closed)),
    }


if __name__ == "__main__":
    main()

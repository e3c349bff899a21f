"""The fit: speed, accuracy and smoothness, beside an Adam fit of the same residuals and bare per-frame LM.

Synthetic clips come from the canonical model itself, so their truth is known; real ones are the sample's, taken
through trim, landmarks and track. `small` is the canonical model cut to the size of a FLAME fit: 105 + 17
landmarks, 100 identity and 50 expression directions.
"""

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from assets.fetch import require
from fit_flame import landmark_layout as layout
from fit_flame.batch import prepare
from fit_flame.canonical import canonical_head_model
from fit_flame.clip_fit import fit_batch
from fit_flame.decode import decode, project_vertices
from fit_flame.embedding import CONTOUR_LANDMARKS
from fit_flame.fit import FitDiverged, FitResult, FitSettings, fit_clip
from fit_flame.head_model import HeadModel, LandmarkEmbedding
from fit_flame.initial import first_guess
from fit_flame.landmark_basis import landmark_basis
from fit_flame.residuals import ClipState, FrameState, place, residuals
from fit_flame.rotation import to_matrix
from fit_flame.synthetic import landmarks_of, speaking

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
        lambda: speed(head, options.device, quick=options.quick),
        lambda: accuracy(head),
        lambda: smoothness(head),
        lambda: real(head, clips(options)),
    ]
    if not options.quick:
        parts += [lambda: memory(head), lambda: adam(head)]
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


def speed(head: HeadModel, device: str, *, quick: bool) -> dict[str, float]:
    """Frames a second of the full fit and of the per-frame fit.

    A clip a worker on a CPU, as a build runs them; a batch of clips on a GPU. CPU time tells what a machine
    with nothing else to do would reach.
    """
    figures = {}
    on_cpu = device == "cpu"
    workers = min(2, os.cpu_count() or 1) if on_cpu else 1
    for name, model in (("canonical 468", head), ("small 105 + 17", small_model(head))):
        landmarks = landmarks_of(speaking(head, TYPICAL_FRAMES), head, 0.5)
        batch = [landmarks] * (1 if on_cpu else 64)
        valid = [np.ones(TYPICAL_FRAMES, bool)] * len(batch)
        for kind, settings in (("full fit", FitSettings()), ("no temporal prior", PER_FRAME)):
            chosen = settings.model_copy(update={"device": device})

            def once(_: int, model: HeadModel = model, chosen: FitSettings = chosen) -> None:
                fit_batch(batch, valid, model, chosen)  # noqa: B023 - called within this turn

            rounds = 2 if quick else 4
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(once, range(workers)))  # warm up
                started, cpu = time.perf_counter(), time.process_time()
                list(pool.map(once, range(rounds * workers)))
                seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
            frames = rounds * workers * len(batch) * TYPICAL_FRAMES
            figures[f"{name}: {kind}, frames/s on {workers} cores"] = frames / seconds
            if on_cpu:
                figures[f"{name}: {kind}, frames per second of CPU time"] = frames / cpu
    return figures


def accuracy(head: HeadModel) -> dict[str, float]:
    """Noise-free recovery, and the error under noise with poses to 60 degrees."""
    truth = speaking(head, 60)
    exact = FitSettings(outlier=50, chain_iterations=0, identity_iterations=30, frame_iterations=15)
    found = fit_clip(landmarks_of(truth, head), truth.valid, head, exact).motion
    pixels = np.linalg.norm(project_vertices(found, head) - project_vertices(truth, head), axis=-1)[:, :468]
    shapes = [decode(m, head, head_pose=False)[:, :468] for m in (found, truth)]
    centred = [s - s.mean(axis=1, keepdims=True) for s in shapes]
    wide = speaking(head, 60, turn_deg=60)
    noisy = fit_clip(landmarks_of(wide, head, 1.5), wide.valid, head).motion
    error = np.linalg.norm(project_vertices(noisy, head) - project_vertices(wide, head), axis=-1)[:, :468]
    return {
        "noise-free: reprojection, px": float(pixels.mean()),
        "noise-free: vertices (one view: depth is the prior's), mm": float(
            1000 * np.linalg.norm(centred[0] - centred[1], axis=-1).mean()
        ),
        "1.5 px noise, to 60 degrees: error / 2-D noise RMS": float(
            np.sqrt((error**2).mean()) / (1.5 * 2**0.5)
        ),
    }


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


def memory(head: HeadModel) -> dict[str, float]:
    """Peak memory of this process after a 45 s clip."""
    long = speaking(head, 45 * 25)
    fit_clip(landmarks_of(long, head), long.valid, head)
    return {
        "45 s clip: peak memory of the whole process, GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        / 2**20
    }


def adam(head: HeadModel, iterations: int = 300) -> dict[str, float]:
    """Fit the same landmarks with Adam, as trackers do: frames alone, one shape."""
    truth = speaking(head, TYPICAL_FRAMES)
    landmarks = landmarks_of(truth, head, 0.5)
    reference = fit_clip(landmarks, truth.valid, head, PER_FRAME)
    basis = landmark_basis(head, torch.device("cpu"))
    batch = prepare(basis, FitSettings(), [landmarks], [truth.valid], None, 512)
    guess = first_guess(basis, batch.seen, batch.valid)
    frames = len(landmarks)
    unknowns = {
        "shape": torch.zeros(1, head.shape_size),
        "expression": torch.zeros(1, frames, head.expression_size),
        "jaw": torch.zeros(1, frames, 3),
        "turn": torch.zeros(1, frames, 3),
        "position": guess.position.clone(),
        "log_scale": guess.log_scale.clone(),
        "log_kappa": torch.full(
            (1,), float(np.log(2 * np.tan(np.radians(15)) / 512 * float(batch.interocular_px[0])))
        ),
    }
    for value in unknowns.values():
        value.requires_grad_()
    optimiser = torch.optim.Adam(unknowns.values(), lr=0.02)
    started = time.perf_counter()
    for _ in range(iterations):
        clip = ClipState(unknowns["shape"], unknowns["log_kappa"].exp())
        frame = FrameState(
            unknowns["expression"],
            to_matrix(unknowns["jaw"]),
            guess.rotation @ to_matrix(unknowns["turn"]),
            unknowns["position"],
            unknowns["log_scale"],
        )
        points = place(basis, clip, frame)
        cost = residuals(batch.seen, frame, points).cost.sum() + 0.5 * sum(
            (unknowns[name] ** 2).sum() for name in ("shape", "expression")
        )
        optimiser.zero_grad()
        cost.backward()
        optimiser.step()
    seconds = time.perf_counter() - started
    error = (points.image - batch.seen.points).norm(dim=-1).mean()
    return {
        f"Adam, {iterations} iterations: frames/s": frames / seconds,
        f"Adam, {iterations} iterations: landmark error, %": 100 * float(error.detach()),
        "Levenberg-Marquardt on the same: landmark error, %": 100 * reference.landmark_error,
    }


Clips = dict[str, tuple[np.ndarray, np.ndarray]]


def read_folder(folder: Path) -> Clips:
    """Landmarks and validity of stored clips."""
    clips = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as stored:
            clips[path.stem] = stored["landmarks"], stored["valid"]
    return clips


def read_sample(sample: Path, *, quick: bool) -> Clips:
    """Take the sample's good clips through trim, landmarks and track."""
    from extract.annotations import read_annotations
    from extract.landmarks import LandmarkSettings, MediaPipeDetector
    from extract.probe import probe
    from extract.tracks import TrackSettings, box_in_clip, choose_track
    from extract.trim import TrimRequest, TrimResult, TrimSettings, trim_clips

    if not (sample / "videos").is_dir():
        return {}
    wanted = (
        "enAOCsynced",
        "deTalkerAAA",
        "ruSyncedJJJ",
        "enSyncedKKK",
        "frTalkerBBB",
        "jaTalkerEEE",
        "ruTalkerCCC",
    )
    by_video = defaultdict(list)
    for annotation in read_annotations(sorted((sample / "annotations").glob("*.json"))).annotations:
        if annotation.video_id in wanted[: 2 if quick else None]:
            by_video[annotation.video_id].append(annotation)
    detector = MediaPipeDetector(require("face_landmarker"), LandmarkSettings(max_faces=2))
    clips: Clips = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, annotations in by_video.items():
            source = sample / "videos" / f"{name}.mp4"
            video = probe(source)
            requests = [
                TrimRequest(a, Path(scratch) / f"{a.clip_id}.mp4", Path(scratch) / f"{a.clip_id}.wav")
                for a in annotations
            ]
            for a, trimmed in zip(
                annotations, trim_clips(source, video, requests, TrimSettings()), strict=True
            ):
                assert isinstance(trimmed, TrimResult), trimmed
                box = box_in_clip(a.bbox.as_dict(), trimmed.crop, video.width, video.height)
                faces = [seen.faces for seen in detector.faces(trimmed.clip_path)]
                track = choose_track(faces, box, TrackSettings(), a.clip_id)
                clips[a.clip_id] = track.landmarks, track.valid
    return clips


def real(head: HeadModel, clips: Clips) -> dict[str, float]:
    """Errors on real clips: all landmarks, lips, closed lips, and the jitter beside the detector's."""
    results: dict[str, FitResult] = {}
    closed: list[float] = []
    jitter: list[float] = []
    for name, (landmarks, valid) in clips.items():
        if valid.sum() < 5:
            continue
        try:
            results[name] = fit_clip(landmarks, valid, head)
        except FitDiverged as error:
            print(f"{name}: {error}")
            continue
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

"""How good the head model `anny` is on real clips: landmarks, limits, rest, meaning, closures, speed.

Over any built dataset whose clips and landmarks were kept. Its meaning is asked of an independent judge: MediaPipe's
blendshape network looks at the video's frames and at pictures of the fitted head in the same pose, and both
courses are correlated, clip by clip. The network never saw this mesh; courses that hardly move in the video
(standard deviation below 0.02) say nothing and are left out.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `python benchmarks/open_head.py`, too

import numpy as np
import torch

from multitalk.assets.fetch import require
from multitalk.eval.drawing.camera import Camera
from multitalk.eval.drawing.render import MeshRenderer
from multitalk.extract.pictures import picture_landmarker
from multitalk.fit_flame.clip_fit import fit_batch
from multitalk.fit_flame.fit import FitResult, FitSettings
from multitalk.fit_flame.heads.arkit import GAZE
from multitalk.fit_flame.heads.head_model import HeadModel
from multitalk.fit_flame.parameters.decode import decode, project
from multitalk.flows.modelling.head_models import load_head_model
from multitalk.ground.arkit_names import ARKIT
from multitalk.ground.landmark_layout import INNER_LIP_PAIRS, LEFT_EYE_OUTER, LIPS, RIGHT_EYE_OUTER
from multitalk.manifests import open_dataset
from multitalk.manifests.media import read_frames
from multitalk.manifests.paths import clip_path

JUDGED = {
    "jawOpen": ("jawOpen",),
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "blink": ("eyeBlinkLeft", "eyeBlinkRight"),
    "pucker": ("mouthPucker",),
    "browInnerUp": ("browInnerUp",),
}
MOVES = 0.02
"""Standard deviation of the judge's score from which a course is compared."""
CLOSED = 0.012
"""Gap of the inner lips, share of the inter-ocular distance, up to which lips count as closed in the video."""
CLOSED_FITTED = 0.02
SILENT = 0.8
"""Share of closed frames from which a clip may show a face at rest."""
STILL = 0.01
"""Standard deviation of the lips in the turned head, share of the inter-ocular distance, up to which it does: lips
that grimace are closed, too (still faces 0.005, speakers and grimaces from 0.012)."""
SIDE = 512

Clip = tuple[str, str, np.ndarray, np.ndarray]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "root", type=Path, nargs="?", default=Path("dataset"), help="folder of a built dataset"
    )
    parser.add_argument("--head-model", default="anny")
    parser.add_argument("--quick", action="store_true", help="three clips, every fourth frame judged")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="judge every Nth frame only")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load_head_model(options.head_model)
    chosen = list(clips(options.root))[:: 7 if options.quick else 1][: 3 if options.quick else None]
    if not chosen:
        raise SystemExit(f"{options.root}: no accepted clips with landmarks; name a built dataset")
    every = 4 if options.quick else options.every
    rows = []
    for clip in chosen:
        found = measure(model, options.root, clip, every)
        rows.append(found)
        print(line(clip[0], found), flush=True)
    pooled = pool(rows)
    for name, value in pooled.items():
        print(f"{name:56} {value:.4g}")
    if options.json:
        figures = {"pooled": pooled, "clips": {clip[0]: row for clip, row in zip(chosen, rows, strict=True)}}
        options.json.write_text(json.dumps(figures, indent=1))


def clips(root: Path) -> Iterator[Clip]:
    """Yield id, language, landmarks (T, 478, 3) and validity of every accepted clip."""
    dataset = open_dataset(root)
    table = dataset.clips()
    for _, row in table[table.accepted.eq(True)].iterrows():
        stored = dataset.landmarks(row.clip_id)
        yield (
            row.clip_id,
            row.language,
            stored["landmarks"].astype(np.float32),
            np.asarray(stored["valid"], bool),
        )


def measure(model: HeadModel, root: Path, clip: Clip, every: int) -> dict[str, Any]:
    """Fit a clip and measure it."""
    clip_id, language, landmarks, valid = clip
    start = time.process_time()
    [fitted] = fit_batch([landmarks], [valid], model, FitSettings())
    seconds = time.process_time() - start
    if not isinstance(fitted, FitResult):
        return {"diverged": 1.0, "frames": len(valid), "seconds": seconds}
    weights = fitted.motion.expression
    found: dict[str, Any] = {
        "diverged": 0.0,
        "frames": len(valid),
        "seconds": seconds,
        "landmark error": fitted.landmark_error,
        "lips error": fitted.landmark_error_lips,
        "jitter": fitted.jitter,
    }
    if model.rules is not None:
        found["weights out of 0..1"] = float(((weights < 0) | (weights > 1)).mean())
        found["weights above 0.02 a frame"] = float((weights > 0.02).sum(axis=1).mean())
    vertices = decode(fitted.motion, model)
    found |= closures(model, fitted, vertices, landmarks)
    if model.rules is not None:
        found |= at_rest(weights, landmarks, valid)
    found |= judged(model, fitted, vertices, clip_path(root, language, clip_id), every)
    return found


def closures(
    model: HeadModel, fitted: FitResult, vertices: np.ndarray, landmarks: np.ndarray
) -> dict[str, Any]:
    """Count frames whose inner lips are closed in the video, and of these those in which the mesh's are."""
    upper, lower = INNER_LIP_PAIRS[0]
    embedding, valid = model.embedding, fitted.motion.valid
    rows = [int(np.flatnonzero(embedding.landmarks == k)[0]) for k in (upper, lower)]
    corners = vertices[:, embedding.vertices[rows]]
    points = project((corners * embedding.barycentric[rows][..., None]).sum(axis=2), fitted.motion.camera)
    gap = np.linalg.norm(points[:, 0] - points[:, 1], axis=1) / fitted.interocular_px
    seen = np.linalg.norm(landmarks[:, upper, :2] - landmarks[:, lower, :2], axis=1) / fitted.interocular_px
    closed = valid & (seen < CLOSED)
    return {
        "closed in the video": int(closed.sum()),
        "closed in both": int((closed & (gap < CLOSED_FITTED)).sum()),
    }


def at_rest(weights: np.ndarray, landmarks: np.ndarray, valid: np.ndarray) -> dict[str, Any]:
    """Mean weights over the frames with closed lips of a clip where nearly all are: a face that does not speak."""
    upper, lower = INNER_LIP_PAIRS[0]
    eyes = np.linalg.norm(landmarks[:, RIGHT_EYE_OUTER, :2] - landmarks[:, LEFT_EYE_OUTER, :2], axis=1)
    gap = np.linalg.norm(landmarks[:, upper, :2] - landmarks[:, lower, :2], axis=1) / eyes
    still = valid & (gap < CLOSED)
    if still.sum() < SILENT * valid.sum() or lips_move(landmarks[still] / eyes[still, None, None]) > STILL:
        return {}
    mean = weights[still].mean(axis=0)
    mean[[ARKIT.index(name) for name in GAZE]] = 0  # eyes at rest look somewhere
    return {"at rest, weights above 0.1": int((mean > 0.1).sum()), "at rest": named(mean, 0.1)}


def lips_move(landmarks: np.ndarray) -> float:
    """Mean standard deviation of the lips' landmarks once each frame's (T, N, 3) are turned onto the mean ones."""
    points = landmarks.astype(np.float64)
    points -= points.mean(axis=1, keepdims=True)
    mean = points[0]
    for _ in range(2):
        left, _, right = np.linalg.svd(np.einsum("tli,lj->tij", points, mean))
        turned = np.einsum("tli,tij->tlj", points, left @ right)
        mean = turned.mean(axis=0)
    return float(np.sqrt(turned[:, list(LIPS), :2].var(axis=0).sum(axis=-1)).mean())


def named(values: np.ndarray, least: float) -> dict[str, float]:
    """Weights above a value, by name."""
    return {name: round(float(value), 3) for name, value in zip(ARKIT, values, strict=True) if value > least}


def judged(
    model: HeadModel, fitted: FitResult, vertices: np.ndarray, video: Path, every: int
) -> dict[str, Any]:
    """Correlate the judge's scores of the video and of the fitted head, and the weights with the video's scores."""
    if not video.exists():
        return {}
    motion = fitted.motion
    focal, x, y = map(float, motion.camera)
    real: dict[str, list[float]] = defaultdict(list)
    drawn: dict[str, list[float]] = defaultdict(list)
    kept = []
    camera = Camera(focal, x, y)
    renderer = MeshRenderer(model.faces, len(model.v_template), camera, SIDE, SIDE, colours=model.colours)
    with picture_landmarker(require("face_landmarker"), scores=True) as look:
        for index, frame in enumerate(read_frames(video)):
            if index >= len(vertices) or index % every or not motion.valid[index]:
                continue
            faces = look(frame), look(renderer.render(vertices[index]))
            if faces[0] is None or faces[1] is None:
                continue
            kept.append(index)
            for name in ARKIT:
                real[name].append(faces[0].scores.get(name, 0.0))
                drawn[name].append(faces[1].scores.get(name, 0.0))
    found: dict[str, Any] = {"judged frames": len(kept)}
    for title, names in JUDGED.items():
        truth, seen = (np.mean([course[name] for name in names], axis=0) for course in (real, drawn))
        if len(kept) < 10 or truth.std() < MOVES:
            continue
        found[f"judge {title}"] = correlation(truth, seen)
        found[f"gain {title}"] = float(np.polyfit(truth, seen, 1)[0])
        if model.rules is not None:
            own = motion.expression[kept][:, [ARKIT.index(name) for name in names]].mean(axis=1)
            found[f"weight {title}"] = correlation(truth, own)
    return found


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's, 0 where one stands still."""
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 1e-9 and b.std() > 1e-9 else 0.0


def pool(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Means over clips; medians of correlations; sums of frames."""
    pooled = {
        "clips": float(len(rows)),
        "diverged": sum(row["diverged"] for row in rows),
        "frames a second of one core": sum(r["frames"] for r in rows) / sum(r["seconds"] for r in rows),
    }
    for name in (
        "landmark error",
        "lips error",
        "jitter",
        "weights out of 0..1",
        "weights above 0.02 a frame",
    ):
        values = [row[name] for row in rows if name in row]
        if values:
            pooled[f"{name}, mean"] = float(np.mean(values))
    closed = sum(row.get("closed in the video", 0) for row in rows)
    if closed:
        pooled["closed in the video"] = float(closed)
        pooled["kept in the mesh"] = sum(row.get("closed in both", 0) for row in rows) / closed
    resting = [row["at rest, weights above 0.1"] for row in rows if "at rest, weights above 0.1" in row]
    if resting:
        pooled["at rest, clips"] = float(len(resting))
        pooled["at rest, weights above 0.1 a clip"] = float(np.mean(resting))
    for kind in ("judge", "weight", "gain"):
        for title in JUDGED:
            values = [row[f"{kind} {title}"] for row in rows if f"{kind} {title}" in row]
            if values:
                pooled[f"{kind} {title}, median of {len(values)}"] = float(np.median(values))
    return pooled


def line(clip_id: str, row: dict[str, Any]) -> str:
    """One clip's figures."""
    if row["diverged"]:
        return f"{clip_id:20} diverged"
    scores = "  ".join(f"{title} {row[f'judge {title}']:.2f}" for title in JUDGED if f"judge {title}" in row)
    return (
        f"{clip_id:20} {row['frames']:4} frames  error {row['landmark error']:.2%}  lips {row['lips error']:.2%}  "
        f"closed {row['closed in both']}/{row['closed in the video']}  {scores}"
    )


if __name__ == "__main__":
    main()

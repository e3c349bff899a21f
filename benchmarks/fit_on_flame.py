"""The fit of real clips on FLAME's true mean head and topology, with smooth bases in place of the learnt ones.

Needs FLAME's mean face, triangles and landmark embeddings (`--flame DIR`); its bases, which need a licence, are
replaced by the mesh's low-frequency modes, as many as FLAME has: 300 of identity, 100 of expression. Compared:
the 105 landmarks with the 17 of the moving contour, the same with the contour held where it is at zero yaw, and
the 468 of our own embedding, which needs no landmark file.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `python benchmarks/fit_on_flame.py`, too

import numpy as np
import torch

from benchmarks.fit import clips
from benchmarks.real_clips import Clips
from benchmarks.spectral_flame import spectral_flame
from multitalk.assets.fetch import require
from multitalk.fit_flame.fit import fit_clip
from multitalk.fit_flame.heads.canonical_mesh import read_canonical_mesh
from multitalk.fit_flame.heads.flame_file import FlameArrays, flame_head_model
from multitalk.fit_flame.heads.head_model import LandmarkEmbedding
from multitalk.fit_flame.landmarks.embedding import (
    FLAME_IRISES,
    read_contour_embedding,
    read_mediapipe_embedding,
)
from multitalk.fit_flame.landmarks.registration import register

SHARED = Path(__file__).parents[2] / "shared"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flame", type=Path, default=SHARED / "flame")
    parser.add_argument("--sample", type=Path, default=SHARED / "sample")
    parser.add_argument("--landmarks", type=Path, help="folder of .npz, instead of --sample")
    parser.add_argument("--quick", action="store_true", help="three clips")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    if not options.flame.is_dir():
        raise SystemExit(
            f"{options.flame}: FLAME's mean face and embeddings are not here; name them with --flame"
        )
    torch.set_num_threads(1)
    flame = spectral_flame(options.flame)
    chosen = clips(options)
    chosen = dict(list(chosen.items())[: 3 if options.quick else None])
    figures = {}
    for name, embedding in embeddings(flame, options.flame).items():
        found = measure(flame, embedding, chosen)
        for what, value in found.items():
            figures[f"{name}: {what}"] = value
            print(f"{name + ': ' + what:64} {value:.4g}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


def embeddings(flame: FlameArrays, folder: Path) -> dict[str, LandmarkEmbedding]:
    """Make the landmarks to compare."""
    contour = read_contour_embedding(folder / "landmark_embedding.npy", flame.faces)
    moving = read_mediapipe_embedding(folder / "mediapipe_landmark_embedding.npz", flame.faces, contour)
    frontal = np.isnan(moving.yaw) | (moving.yaw == 0)
    held = LandmarkEmbedding(
        moving.landmarks[frontal], moving.vertices[frontal], moving.barycentric[frontal],
        iris_vertices=moving.iris_vertices,
    )  # fmt: skip
    own = register(read_canonical_mesh(require("face_landmarker")), flame.v_template, flame.faces)
    return {
        "105 + 17 landmarks": moving,
        "105 + 17, contour held": held,
        "own 468 landmarks": LandmarkEmbedding(
            np.arange(468),
            flame.faces[own.triangles],
            own.barycentric.astype(np.float32),
            iris_vertices=np.array(FLAME_IRISES, np.int64),
        ),
    }


def measure(flame: FlameArrays, embedding: LandmarkEmbedding, clips: Clips) -> dict[str, float]:
    """Fit all clips; return errors, how far from the mean the shapes are, and the speed."""
    head = replace(
        flame_head_model(flame, embedding, shape_size=300, expression_size=100), name="spectral on FLAME"
    )
    results, frames = [], 0
    cpu = time.process_time()
    for landmarks, valid in clips.values():
        results.append(fit_clip(landmarks, valid, head))
        frames += len(valid)
    cpu = time.process_time() - cpu
    everywhere, lips = ([getattr(r, n) for r in results] for n in ("landmark_error", "landmark_error_lips"))
    return {
        "landmark error, % (mean of clips)": 100 * float(np.mean(everywhere)),
        "landmark error, % (worst clip)": 100 * max(everywhere),
        "lips, % (mean of clips)": 100 * float(np.mean(lips)),
        "lips, % (worst clip)": 100 * max(lips),
        "shape, standard deviations": float(np.mean([np.abs(r.motion.shape).mean() for r in results])),
        "frames per second of CPU time": frames / cpu,
    }


if __name__ == "__main__":
    main()

"""The learned regressors' speed, beside the fit to landmarks that they start or stand in for.

Frames of one clip of 512 x 512 pixels, weights random: what a network computes does not depend on them. One thread;
CPU time beside the clock's, since other work on the machine slows the one and hardly the other.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from multitalk.assets.fetch import require
from multitalk.fit_flame.fit import fit_clip
from multitalk.fit_flame.heads.canonical import canonical_head_model
from multitalk.fit_flame.parameters.synthetic import landmarks_of, speaking
from multitalk.fit_flame.regressors.deca import Deca
from multitalk.fit_flame.regressors.interface import Regressor
from multitalk.fit_flame.regressors.regress import regress
from multitalk.fit_flame.regressors.smirk import Smirk
from multitalk.fit_flame.regressors.spectre import Spectre
from multitalk.ground.devices import chosen_device


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a shorter clip")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--device", default=chosen_device())
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(1)  # a clip a worker, as a build runs them
    figures: dict[str, float | str] = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {options.device}"
    }
    count = (16 if options.quick else 160) * (1 if options.device == "cpu" else 40)
    head = canonical_head_model(require("face_landmarker"))
    truth = speaking(head, count)
    landmarks = landmarks_of(truth, head)[:, :478]
    pictures = np.random.default_rng(0).integers(0, 255, (16, 512, 512, 3), np.uint8)
    for name, network in (("smirk", Smirk()), ("deca", Deca()), ("spectre", Spectre())):
        ready = network.eval().requires_grad_(False).to(options.device).to(memory_format=torch.channels_last)

        def run(frames: int, ready: Regressor = ready) -> None:
            stream = (pictures[i % len(pictures)] for i in range(frames))
            regress(
                ready, stream, landmarks[:frames], truth.valid[:frames],
                batch=options.batch, device=options.device,
            )  # fmt: skip

        run(4)
        figures |= timed(name, count, run)
    clip = speaking(head, 60)
    points = landmarks_of(clip, head)[:, :478]
    figures |= timed("fit to 468 landmarks", 60, lambda _: fit_clip(points, clip.valid, head))
    width = max(map(len, figures))
    for name, value in figures.items():
        print(f"{name:{width}}  {value if isinstance(value, str) else format(value, '.3g')}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))


def timed(name: str, frames: int, run: Callable[[int], object]) -> dict[str, float]:
    """Speed by the clock, and CPU time."""
    started, used = time.perf_counter(), time.process_time()
    run(frames)
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    return {f"{name}: frames/s": frames / seconds, f"{name}: CPU ms a frame": 1000 * cpu / frames}


if __name__ == "__main__":
    main()

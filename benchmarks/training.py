"""What the models cost: prediction, training and reading, beside a plain evaluation of the reference's algorithm.

    python benchmarks/training.py [--quick] [--json FILE] [--device cpu|cuda]

Arithmetic is counted by torch's FlopCounter on models of full size without weights, so it is exact and quick. Times
are taken on this machine with random weights; `--quick` takes them on a fraction of the size and says so.
"""

# ruff: noqa: E402 - this file is called `training` too: the repository must come first in the search path

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

# Threads that wait for each other in a loop stand still on a machine that others use too.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import training_baseline as plain

from multitalk.training.data.motion_data import BatchDataset, MotionBatch
from multitalk.training.data.packed import PackedMotion
from multitalk.training.data.sampling import Sampler
from multitalk.training.layers.wav2vec2 import Wav2Vec2
from multitalk.training.model.motion_prior import MotionPrior
from multitalk.training.model.talker import Talker
from multitalk.training.presets import PRIORS, TALKERS
from multitalk.training.reference.decoding import ReferenceDecoder
from multitalk.training.reference.prior import ReferencePrior
from multitalk.training.reference.talker import ReferenceTalker
from multitalk.training.run_settings import DataSettings
from multitalk.training.settings import ReferencePriorSettings, ReferenceTalkerSettings, Wav2Vec2Settings

FRAMES = 125
MOTION_VALUES = 103  # FLAME: 100 of expression, 3 of the jaw
WHISPER_WIDTH = 512
FULL_PRIOR, FULL_TALKER = ReferencePriorSettings(), ReferenceTalkerSettings()
SMALL_PRIOR = ReferencePriorSettings(vertex_values=1506, hidden=256, layers=3, heads=4, codes_per_frame=4)
SMALL_TALKER = ReferenceTalkerSettings(
    vertex_values=1506, latent=256, hidden=256, layers=3, audio=Wav2Vec2Settings(layers=1, hidden=64, heads=2)
)

Figures = dict[str, float]


def reference_pair(
    prior: ReferencePriorSettings, talker: ReferenceTalkerSettings, device: str
) -> tuple[ReferencePrior, ReferenceTalker]:
    """Random models of the reference; the latents are large enough for all codes to occur."""
    torch.manual_seed(0)
    with torch.device(device):
        models = ReferencePrior(prior).eval(), ReferenceTalker(talker).eval()
    torch.nn.init.normal_(models[1].feat_map.weight, std=0.05)
    torch.nn.init.normal_(models[0].quantize.embedding.weight)
    return models


def operations(run: Callable[[int], object], frames: int, lengths: tuple[int, ...] = (4, 5, 6, 7)) -> float:
    """Operations, in 10^9, of a call for so many frames.

    Every step costs what a quadratic polynomial in its number says, so all steps together are a cubic one from
    some frames on: laid through four short runs, it gives the same integer as a long one, in minutes less.
    """
    totals = []
    for length in lengths:
        with FlopCounterMode(display=False) as counter:
            run(length)
        totals.append(counter.get_total_flops())
    result = Fraction(0)
    for length, total in zip(lengths, totals, strict=True):
        others = [other for other in lengths if other != length]
        result += total * math.prod(Fraction(frames - other, length - other) for other in others)
    return float(result) / 1e9


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of a call."""

    wall: float
    cpu: float
    """Of all threads of this process: what a machine that others use too does not disturb."""


def cost(run: Callable[[], object], device: str, repeat: int = 1, *, warm: bool = True) -> Cost:
    """Mean time of a call, after one to warm up."""
    if warm:
        run()
    if device == "cuda":
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(repeat):
        run()
    if device == "cuda":
        torch.cuda.synchronize()
    return Cost((time.perf_counter() - wall) / repeat, (time.process_time() - cpu) / repeat)


def seconds(run: Callable[[], object], device: str, repeat: int = 1) -> float:
    """Mean time of a call after one to warm up."""
    return cost(run, device, repeat).wall


@torch.no_grad()
def count_operations() -> Figures:
    """Operations of free-running prediction at full size, T=125, audio encoder apart."""
    prior, talker = reference_pair(FULL_PRIOR, FULL_TALKER, "meta")
    with torch.device("meta"):
        memory, style = torch.empty(2 * FRAMES, 1024), torch.empty(1024)
        weights = prior.state_dict(), talker.state_dict()
        decoder = ReferenceDecoder(talker, prior)
        mean = torch.empty(MOTION_VALUES)
        ours = MotionPrior(PRIORS["multitalk"].model, mean, mean)  # type: ignore[arg-type]
        speaker = Talker(TALKERS["multitalk"].model, WHISPER_WIDTH, ours.settings).eval()  # type: ignore[arg-type]
        features, styles = torch.empty(2 * FRAMES, WHISPER_WIDTH), torch.empty(1, speaker.settings.hidden)
        tuned_encoder = Wav2Vec2(Wav2Vec2Settings()).eval()

        def plainly(frames: int) -> None:
            plain.predict(*weights, memory[: 2 * frames], style, plain.Heads(), frames)

        def kept(frames: int) -> None:
            decoder.decode(decoder.latents([memory[: 2 * frames]], style[None], [frames]))

        figures = {
            "reference, plain": operations(plainly, FRAMES),
            "reference, kept work": operations(kept, FRAMES),
            "its maps fused, once per model": operations(
                lambda _: ReferenceDecoder(talker, prior), FRAMES, (FRAMES,)
            ),
            "default architecture": operations(
                lambda frames: speaker.generate(ours, [features[: 2 * frames]], styles), FRAMES
            ),
            "audio encoder XLSR-53": operations(
                lambda t: tuned_encoder([torch.empty(t * 640 + 80)]), FRAMES, (FRAMES,)
            ),
        }
    plain_total, kept_total = figures["reference, plain"], figures["reference, kept work"]
    figures["kept work: times fewer"] = plain_total / kept_total
    figures["kept work, fusing counted: times fewer"] = plain_total / (
        kept_total + figures["its maps fused, once per model"]
    )
    figures["default architecture: times fewer"] = plain_total / figures["default architecture"]
    return figures


@torch.inference_mode()
def time_reference(quick: bool, device: str) -> Figures:
    """Prediction with the reference's models: plain, kept work, 32 clips in lock step."""
    frames, clips = (25, 8) if quick else (FRAMES, 32)
    sizes = (SMALL_PRIOR, SMALL_TALKER) if quick else (FULL_PRIOR, FULL_TALKER)
    prior, talker = reference_pair(*sizes, device)
    width = talker.settings.hidden
    memory = torch.randn(clips, 2 * frames, width, device=device)
    styles = torch.randn(clips, width, device=device)
    weights, heads = (prior.state_dict(), talker.state_dict()), plain.Heads(prior=prior.settings.heads)
    decoder = ReferenceDecoder(talker, prior)
    results = []
    plainly = cost(
        lambda: results.append(plain.predict(*weights, memory[0], styles[0], heads, frames)),
        device,
        warm=False,
    )
    offsets, codes = results[0]
    single = cost(lambda: decoder.decode(decoder.latents(memory[:1], styles[:1], [frames])), device)
    latents = decoder.latents(memory[:1], styles[:1], [frames])
    agree = torch.equal(prior.quantize.nearest(latents[0]), codes)
    difference = (decoder.decode(latents)[0] - offsets).abs().max().item()
    together = cost(
        lambda: decoder.decode(decoder.latents(list(memory), styles, [frames] * clips)), device, warm=False
    )
    return {
        "frames": frames,
        "plain, one clip, s": plainly.wall,
        "plain, one clip, CPU s": plainly.cpu,
        "kept work, one clip, s": single.wall,
        "kept work, one clip, CPU s": single.cpu,
        "times faster": plainly.wall / single.wall,
        "times less CPU time": plainly.cpu / single.cpu,
        "codes agree": float(agree),
        "largest difference, m": difference,
        "clips in lock step": clips,
        "lock step, all clips, s": together.wall,
        "lock step: times faster than as many plain runs": plainly.wall * clips / together.wall,
    }


@torch.inference_mode()
def time_default(device: str) -> Figures:
    """Five seconds of speech with the default architecture, full size."""
    mean = torch.zeros(MOTION_VALUES)
    prior = MotionPrior(PRIORS["multitalk"].model, mean, mean + 1).to(device).eval()  # type: ignore[arg-type]
    talker = Talker(TALKERS["multitalk"].model, WHISPER_WIDTH, prior.settings).to(device).eval()  # type: ignore[arg-type]
    features = [torch.randn(2 * FRAMES, WHISPER_WIDTH, device=device) for _ in range(32)]
    styles = torch.randn(32, talker.settings.hidden, device=device)
    one = seconds(lambda: talker.generate(prior, features[:1], styles[:1]), device)
    many = seconds(lambda: talker.generate(prior, features, styles), device)
    figures = {"talker, one clip of 5 s, s": one, "talker, 32 clips in lock step, s": many}
    try:
        from multitalk.assets.fetch import find
        from multitalk.training.model.audio_encoder import WhisperEncoder

        folder = find("whisper_base")
    except ImportError:
        folder = None
    if folder is not None:
        encoder = WhisperEncoder(folder)
        sound = np.random.default_rng(0).normal(0, 0.1, FRAMES * 640).astype(np.float32)
        encoded = seconds(lambda: encoder.features(sound, FRAMES), "cpu", 3)
        figures |= {"audio encoder Whisper base, s": encoded, "times real time, both": 5 / (one + encoded)}
    return figures


def time_training(quick: bool, device: str) -> Figures:
    """Training steps of the default models, clips a second."""
    preset = "tiny" if quick else "multitalk"
    frames = 25 if quick else 100
    mean = torch.zeros(MOTION_VALUES)
    prior = MotionPrior(PRIORS[preset].model, mean, mean + 1).to(device)  # type: ignore[arg-type]
    talker = Talker(TALKERS[preset].model, WHISPER_WIDTH, prior.settings).to(device)  # type: ignore[arg-type]
    figures: Figures = {"frames": frames}
    for name, batch, kind in (("batch 1, fp32", 1, torch.float32), ("batch 32, bf16", 32, torch.bfloat16)):
        motion = torch.randn(batch, frames, MOTION_VALUES, device=device)
        sound = torch.randn(batch, 2 * frames, WHISPER_WIDTH, device=device)
        for stage, model in (("prior", prior), ("talker", talker)):
            optimiser = torch.optim.AdamW(model.parameters(), 1e-4)

            def step(
                stage: str = stage,
                motion: torch.Tensor = motion,
                sound: torch.Tensor = sound,
                kind: torch.dtype = kind,
                optimiser: torch.optim.Optimizer = optimiser,
            ) -> None:
                with torch.autocast(device, kind, enabled=kind != torch.float32):
                    if stage == "prior":
                        out = prior(motion)
                        loss = (out.motion - motion).square().mean() + out.quantised.loss.mean()
                    else:
                        truth = prior.quantise(motion)
                        styles = talker.languages.weight[:1].expand(len(motion), -1)
                        logits = talker(prior, talker.encode_audio(sound), styles, truth.latents.detach())
                        loss = torch.nn.functional.cross_entropy(
                            logits.float().flatten(0, 2), truth.codes.flatten()
                        )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()

            figures[f"{stage}, {name}, clips/s"] = batch / seconds(step, device, 3)
    for stage in ("prior", "talker"):
        slow, fast = (figures[f"{stage}, {name}, clips/s"] for name in ("batch 1, fp32", "batch 32, bf16"))
        figures[f"{stage}: times faster"] = fast / slow
    return figures


def time_reading(quick: bool) -> Figures:
    """Motion of packed datasets of two sizes read in batches, and what that takes of memory."""
    figures: Figures = {}
    for clips in (2000, 10_000 if quick else 40_000):
        figures |= {f"{clips} clips: {name}": value for name, value in _read_packed(clips).items()}
    return figures


def _read_packed(clips: int) -> Figures:
    mean_frames = 130
    random = np.random.default_rng(0)
    frames = random.integers(50, 2 * mean_frames - 50, clips).astype(np.int32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "motion.npy"
        motion = np.lib.format.open_memmap(path, "w+", np.float32, (int(frames.sum()), MOTION_VALUES))
        motion[:] = 1
        motion.flush()
        del motion
        language = np.array(["french"] * clips)
        packed = PackedMotion(
            Path(folder), np.load(path, mmap_mode="r"), np.concatenate([[0], np.cumsum(frames[:-1], dtype=np.int64)]),
            frames, np.zeros(clips, np.int8), language, language, language, np.array("toy"),
        )  # fmt: skip
        sampler = Sampler(np.arange(clips), frames.astype(np.int64), language, DataSettings(), 0)
        batches = sampler.epoch(0)
        dataset = BatchDataset(packed, batches, {}, None)
        before = anonymous_megabytes()
        start = time.perf_counter()
        for index in range(len(batches)):
            read: MotionBatch = dataset[index]  # the one before is let go, as a trainer does
        elapsed = time.perf_counter() - start
        return {
            "clips/s": clips / elapsed,
            "GB on disk": path.stat().st_size / 1e9,
            "memory grown by, MB": anonymous_megabytes() - before,
            "bytes of the last batch": read.motion.nbytes,
        }


def anonymous_megabytes() -> float:
    """Memory of this process without mapped files; the peak of all where the system does not tell."""
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["RssAnon"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small models, under a minute")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    size = "a fraction of the size" if options.quick else "full size"
    sections: dict[str, Callable[[], Figures]] = {
        "operations of prediction, 10^9, full size, T=125": count_operations,
        f"reference, {size}, {options.device}": lambda: time_reference(options.quick, options.device),
        f"default architecture, full size, {options.device}": lambda: time_default(options.device),
        f"training, {size}, {options.device}": lambda: time_training(options.quick, options.device),
        "reading motion": lambda: time_reading(options.quick),
    }
    results = {}
    for title, section in sections.items():
        results[title] = section()
        print(f"\n{title}", flush=True)
        for name, value in results[title].items():
            print(f"  {name:<50} {value:>12.4g}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

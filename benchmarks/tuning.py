"""What it costs to train an audio encoder along with a talker, and what a few steps of it change.

    python benchmarks/tuning.py [--quick] [--json FILE] [--device cpu|cuda]

The same talker on the same made-up speech: noise whose loudness the motion follows. The wav2vec 2.0 is of base size
(`--quick`: a fraction) with random weights, as none can be bundled: costs mean something, losses only that learning
reaches what is to be trained. What tuning is worth must be measured on pretrained weights.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch import Tensor
from torch.nn import functional

from multitalk.training.layers.wav2vec2 import Wav2Vec2, normalise_sound
from multitalk.training.model.motion_prior import MotionPrior
from multitalk.training.model.talker import Talker
from multitalk.training.model.tuning import TunedEncoder, frozen_layers
from multitalk.training.run.optimiser import make_optimiser
from multitalk.training.run_settings import OptimiserSettings
from multitalk.training.settings import MotionPriorSettings, TalkerSettings, TuningSettings, Wav2Vec2Settings

FRAMES, CLIPS, HELD_OUT, BATCH = 50, 32, 8, 8
KINDS = ("frozen", "lora", "top_layers", "full")
BASE = Wav2Vec2Settings(hidden=768, layers=12, heads=12, feed_forward=3072)
SMALL = Wav2Vec2Settings(
    conv_dim=32, hidden=64, layers=4, heads=4, feed_forward=128, position_kernel=16, position_groups=4
)
TALKER = TalkerSettings(hidden=128, layers=2, heads=4, feed_forward=256, own_feedback=0)
PRIOR = MotionPriorSettings(hidden=64, blocks=2, codes_per_frame=4, codebook_size=64, code_dim=16)
BYTES = 16
"""Of a trained float32 weight: itself, its gradient, two moments of Adam."""

Figures = dict[str, float]


def speech(clips: int) -> tuple[Tensor, Tensor]:
    """Noise (clips, S) that swells and fades, and motion (clips, T, 6) that goes with it."""
    time_ = torch.arange(FRAMES)
    phase = torch.rand(clips, 2, 1) * 6
    loud = (torch.sin(time_ * 0.7 + phase[:, 0]) + torch.sin(time_ * 0.31 + phase[:, 1])) / 4 + 0.5
    sound = torch.randn(clips, FRAMES * 640) * 0.2 * loud.repeat_interleave(640, 1)
    return sound, loud[..., None] * torch.linspace(-1, 1, 6)


@torch.no_grad()
def features_below(model: Wav2Vec2, sounds: Tensor, tuning: TuningSettings) -> Tensor:
    """Hear with the frozen part of the encoder, which is cached: (clips, 2 T, A)."""
    rows = []
    for sound in sounds:
        if tuning.kind == "frozen":
            (row,) = model([normalise_sound(sound)], [FRAMES])
        else:
            row = model.below(normalise_sound(sound), FRAMES, frozen_layers(model, tuning))
        rows.append(row[: 2 * FRAMES])
    return torch.stack(rows)


def measure(kind: str, sizes: Wav2Vec2Settings, steps: int, device: str) -> Figures:
    """Train with one option."""
    torch.manual_seed(0)
    model = Wav2Vec2(sizes).to(device).eval().requires_grad_(False)
    tuning = TuningSettings(kind=kind, layers=sizes.layers // 3)  # type: ignore[arg-type]
    prior = MotionPrior(PRIOR, torch.zeros(6), torch.ones(6)).to(device).eval().requires_grad_(False)
    tuned_encoder = None if kind == "frozen" else TunedEncoder(model, tuning)
    torch.manual_seed(1)  # the same talker, whatever was drawn for its audio encoder
    talker = Talker(TALKER, sizes.hidden, PRIOR, tuned_encoder).to(device)
    sounds, motion = (part.to(device) for part in speech(CLIPS + HELD_OUT))
    features, truth = features_below(model, sounds, tuning), prior.quantise(motion)

    def loss(clips: slice | Tensor) -> Tensor:
        styles = talker.languages.weight[:1].expand(len(features[clips]), -1)
        logits = talker(prior, talker.encode_audio(features[clips]), styles, truth.latents[clips])
        codes = truth.codes.view(len(features), -1)[clips].flatten()
        return functional.cross_entropy(logits.flatten(0, 2), codes)

    @torch.no_grad()
    def held_out() -> float:
        talker.eval()
        value = loss(slice(CLIPS, None)).item()
        talker.train()
        return value

    optimiser = make_optimiser(OptimiserSettings(learning_rate=1e-3, audio_share=0.3), talker)
    before = held_out()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
        optimiser.zero_grad()
        loss(torch.randint(CLIPS, (BATCH,), device=device)).backward()
        optimiser.step()
    if device == "cuda":
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    trained = sum(p.numel() for p in talker.parameters() if p.requires_grad)
    return {
        "trained weights, 10^6": trained / 1e6,
        "their training state, MB": trained * BYTES / 1e6,
        "clips/s": steps * BATCH / wall,
        "clips per CPU second": steps * BATCH / cpu,
        "held-out loss before": before,
        "held-out loss after": held_out(),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small encoder, under a minute")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    sizes, steps = (SMALL, 40) if options.quick else (BASE, 10)
    results = {kind: measure(kind, sizes, steps, options.device) for kind in KINDS}
    print(f"{'':<28}" + "".join(f"{kind:>12}" for kind in KINDS))
    for name in results["frozen"]:
        print(f"{name:<28}" + "".join(f"{results[kind][name]:>12.4g}" for kind in KINDS))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

"""Small models of the reference with weights made by rule, and the plain evaluation to compare them with."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from training.reference_prior import ReferencePrior
from training.reference_talker import ReferenceTalker
from training.settings import ReferencePriorSettings, ReferenceTalkerSettings, Wav2Vec2Settings

LANGUAGES = ("french", "german", "thai")
AUDIO = Wav2Vec2Settings(
    conv_dim=8, hidden=24, layers=2, heads=2, feed_forward=32, position_kernel=8, position_groups=4
)
PRIOR = ReferencePriorSettings(
    vertex_values=30,
    hidden=32,
    layers=2,
    heads=4,
    feed_forward=48,
    codes_per_frame=4,
    codebook_size=16,
    code_dim=8,
)
TALKER = ReferenceTalkerSettings(
    vertex_values=30, latent=32, hidden=32, layers=2, heads=4, period=5, languages=LANGUAGES, audio=AUDIO
)


@dataclass(frozen=True)
class Pair:
    """A prior and a talker of the reference, and their bare tensors."""

    prior: ReferencePrior
    talker: ReferenceTalker

    @property
    def weights(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return self.prior.state_dict(), self.talker.state_dict()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def plain() -> ModuleType:
    """`benchmarks/training_baseline.py`."""
    path = Path(__file__).parents[2] / "benchmarks" / "training_baseline.py"
    spec = importlib.util.spec_from_file_location("training_baseline", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def pair() -> Pair:
    torch.manual_seed(0)
    prior, talker = ReferencePrior(PRIOR).eval(), ReferenceTalker(TALKER).eval()
    nn.init.normal_(talker.feat_map.weight, std=0.3)
    nn.init.normal_(prior.quantize.embedding.weight, std=0.7)
    return Pair(prior, talker)

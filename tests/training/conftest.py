"""Small models of the reference with weights made by rule, and the plain evaluation to compare them with."""

from __future__ import annotations

import importlib.util
import json
import sys
import wave
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from multitalk.fit_flame.heads.head_model import HeadModel, LandmarkEmbedding
from multitalk.manifests import paths
from multitalk.manifests.store import commit_fragment
from multitalk.training.layers.wav2vec2 import Wav2Vec2
from multitalk.training.model.pretrained import settings_of
from multitalk.training.reference.prior import ReferencePrior
from multitalk.training.reference.talker import ReferenceTalker
from multitalk.training.settings import ReferencePriorSettings, ReferenceTalkerSettings, Wav2Vec2Settings

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


@pytest.fixture(autouse=True, scope="session")
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


class Loudness:
    """An audio encoder for tests: loudness in four bands every 20 ms, and four constants to compare it with."""

    width = 8
    fingerprint = "loudness"

    def features(self, audio: np.ndarray, frames: int) -> np.ndarray:
        audio = np.pad(audio, (0, max(0, frames * 640 - len(audio))))[: frames * 640]
        spectrum = np.abs(np.fft.rfft(audio.reshape(-1, 320)))[:, :160]
        bands = np.log1p(spectrum.reshape(-1, 4, 40).sum(2)).astype(np.float32)
        return np.concatenate([bands, np.tile(np.arange(4, dtype=np.float32), (len(bands), 1))], 1)


@pytest.fixture
def loudness() -> Loudness:
    return Loudness()


@pytest.fixture
def wav2vec2_folder(tmp_path: Path) -> Path:
    """A small model as the hub has it, from pretraining: with a prefix and parts that are not the encoder's."""
    folder = tmp_path / "wav2vec2"
    folder.mkdir()
    config = {
        "do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_dim": [8] * 7, "hidden_size": 16,
        "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 2,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    model = Wav2Vec2(settings_of(config))
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    state = {"quantizer.codevectors": torch.zeros(3)}
    for name, tensor in model.state_dict().items():
        old = next((name.replace(new, old) for new, old in names.items() if new in name), name)
        state["wav2vec2." + old] = tensor
    torch.save(state, folder / "pytorch_model.bin")
    return folder


@pytest.fixture(scope="session")
def head_model() -> HeadModel:
    """A made-up head of 20 vertices, two of them lips, with three expressions and a jaw."""
    random = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return random.normal(0, 0.01, shape).astype(np.float32)

    weights = np.zeros((20, 5), np.float32)
    weights[:10, 2] = 1  # the jaw's
    weights[10:, 0] = 1
    return HeadModel(
        name="toy",
        hash="0123456789abcdef",
        v_template=normal(20, 3) * 10,
        faces=np.zeros((1, 3), np.int64),
        shapedirs=normal(20, 3, 2),
        expressiondirs=normal(20, 3, 3),
        posedirs=normal(20, 3, 36),
        joint_regressor=np.full((5, 20), 0.05, np.float32),
        skinning_weights=weights,
        embedding=LandmarkEmbedding(
            np.array([1, 13, 14]),
            np.array([[15, 16, 17], [0, 1, 2], [3, 4, 5]]),
            np.array([[1, 0, 0], [0.2, 0.7, 0.1], [0, 0, 1]], np.float32),
        ),
    )


def toy_clip(seed: int, frames: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Noise that swells and fades, and a jaw that opens with it."""
    random = np.random.default_rng(seed)
    phase = random.uniform(0, 6, 2)
    time = np.arange(frames)
    loud = (np.sin(time * 0.7 + phase[0]) + np.sin(time * 0.31 + phase[1])) / 4 + 0.5
    noise = random.normal(0, 0.2, frames * 640) * np.repeat(loud, 640)
    expression = np.stack([loud, np.zeros(frames), -loud], 1) + random.normal(0, 0.02, (frames, 3))
    motion = {"expression": expression, "jaw": np.stack([loud * 0.3, 0 * loud, 0 * loud], 1)}
    return np.clip(noise, -1, 1), {name: array.astype(np.float32) for name, array in motion.items()}


@pytest.fixture(scope="session")
def toy_dataset(tmp_path_factory: pytest.TempPathFactory, head_model: HeadModel) -> Path:
    """A dataset of 36 clips in two languages, one clip rejected and one failed."""
    root = tmp_path_factory.mktemp("dataset")
    for language, videos in (("french", 8), ("thai", 4)):
        for video in range(videos):
            commit_video(root, language, f"{language}{video:05}", head_model, seed=video + 100 * videos)
    return root


def commit_video(root: Path, language: str, video: str, head_model: HeadModel, seed: int) -> None:
    rows, motion_rows = [], []
    for clip in range(3):
        clip_id, frames = f"{video}_{clip}", (20, 20, 26, 31)[(seed + clip) % 4]
        audio, motion = toy_clip(seed * 10 + clip, frames)
        place = paths.audio_path(root, language, clip_id)
        place.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(place), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes((audio * 32767).astype("<i2").tobytes())
        row = {"clip_id": clip_id, "status": "ok", "frame_count": frames, "duration_sec": frames / 25}
        rows.append(row | {"head_model": head_model.key, "accepted": True})
        rest = {"eyes": 6, "rotation": 3, "translation": 3}
        motion |= {name: np.zeros((frames, width), np.float32) for name, width in rest.items()}
        motion |= {"shape": np.zeros(2, np.float32), "camera": np.ones(3, np.float32)}
        motion |= {"valid": np.ones(frames, bool), "residual": np.zeros(frames, np.float32)}
        motion_rows.append({"clip_id": clip_id, "head_model": head_model.key, "fps": 25.0, **motion})
    if video == "french00000":
        rows[0]["accepted"] = False
        rows[1] |= {"status": "failed", "error_code": "no_face"}
        del motion_rows[1]
    commit_fragment(root, language, video, rows, motion_rows=motion_rows, fingerprint="test")

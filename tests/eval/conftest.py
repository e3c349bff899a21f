"""Small AV-HuBERT checkpoints with the tensor names and layout of the published ones."""

import wave

import numpy as np
import pytest
import torch

from multitalk.eval.lip_reading.network.av_hubert import AvHubertEncoder, EncoderShape
from multitalk.eval.lip_reading.network.speech_decoder import DecoderShape, SpeechDecoder

torch.set_num_threads(1)  # tiny tensors: threads only wait for each other

SMALL = EncoderShape(width=32, layers=2, heads=4, feed_forward=48, position_kernel=8, position_groups=4)


def random_tensors(module: torch.nn.Module, seed: int) -> dict[str, torch.Tensor]:
    """Random values for every tensor of a module, with variances that keep activations of order one."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, tensor in module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.zeros(())
            continue
        values = rng.normal(size=tuple(tensor.shape)) / np.sqrt(max(1, np.prod(tensor.shape[1:])))
        if name.endswith(("running_var", "norm.weight")) or (tensor.ndim == 1 and name.endswith("weight")):
            values = 1 + 0.1 * np.abs(values)
        tensors[name] = torch.from_numpy(values).float()
    return tensors


@pytest.fixture(scope="session")
def encoder_tensors() -> dict[str, torch.Tensor]:
    """An encoder's tensors as the original checkpoint names them, with its weight norm."""
    tensors = random_tensors(AvHubertEncoder(SMALL), seed=0)
    direction = tensors.pop("encoder.pos_conv.0.weight")
    tensors["encoder.pos_conv.0.weight_v"] = direction
    tensors["encoder.pos_conv.0.weight_g"] = 0.5 + torch.rand(1, 1, direction.shape[2])
    tensors["mask_emb"] = torch.zeros(104)
    tensors["label_embs_concat"] = torch.zeros(5, 7)
    return {f"encoder.w2v_model.{name}": tensor for name, tensor in tensors.items()}


DECODER = DecoderShape(vocabulary=12, width=16, layers=2, heads=4, feed_forward=24, memory_width=32)


@pytest.fixture(scope="session")
def decoder_tensors() -> dict[str, torch.Tensor]:
    """A decoder's tensors as the original checkpoint names them."""
    tensors = random_tensors(SpeechDecoder(DECODER), seed=1)
    tensors["embed_positions._float_tensor"] = torch.zeros(1)
    return {f"decoder.{name}": tensor for name, tensor in tensors.items()}


@pytest.fixture
def release_root(tmp_path):
    """A dataset with one clip of ten frames, its sound, video and landmarks, in the release `first`."""
    import pyarrow as pa

    from multitalk.eval.drawing.video import write_video
    from multitalk.manifests import paths
    from multitalk.manifests.releases.release import create_release
    from multitalk.manifests.schema import MANIFEST
    from multitalk.manifests.store import commit_fragment, compact

    motion = {
        "clip_id": "v_0",
        "head_model": "canonical:0123",
        "fps": 25.0,
        "shape": np.zeros(4, np.float32),
        "expression": np.random.default_rng(0).normal(size=(10, 5)).astype(np.float32),
        **{
            name: np.zeros((10, width), np.float32)
            for name, width in (("jaw", 3), ("eyes", 6), ("rotation", 3))
        },
        "translation": np.zeros((10, 3), np.float32),
        "camera": np.array([1200, 256, 256], np.float32),
        "valid": np.ones(10, bool),
        "residual": np.zeros(10, np.float32),
    }
    points = np.random.default_rng(1).uniform(10, 50, (478, 3)).astype(np.float32)
    landmarks = {
        "clip_id": "v_0",
        "landmarks": np.repeat(points[None], 10, axis=0),
        "valid": np.ones(10, bool),
    }
    row = {
        "clip_id": "v_0",
        "status": "ok",
        "frame_count": 10,
        "duration_sec": 0.4,
        "transcript": "Guten Tag!",
    }
    commit_fragment(
        tmp_path, "german", "v", [row], motion_rows=[motion], landmark_rows=[landmarks], fingerprint="f"
    )
    compact(tmp_path)

    def accept(table):
        index = MANIFEST.get_field_index("accepted")
        return table.set_column(index, MANIFEST.field("accepted"), pa.array([True]))

    def test_split(clips):
        return pa.array(["test"] * len(clips), pa.string())

    create_release(tmp_path, "first", policy="", add_verdicts=accept, split=test_split)
    sound = paths.audio_path(tmp_path, "german", "v_0")
    sound.parent.mkdir(parents=True)
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes((1000 * np.sin(np.arange(6400))).astype("<i2").tobytes())
    pictures = [np.full((64, 64, 3), 20 * k, np.uint8) for k in range(10)]
    write_video(paths.clip_path(tmp_path, "german", "v_0"), pictures)
    return tmp_path

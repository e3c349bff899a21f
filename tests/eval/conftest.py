"""Small AV-HuBERT checkpoints with the tensor names and layout of the published ones."""

import numpy as np
import pytest
import torch

from eval.av_hubert import AvHubertEncoder, EncoderShape
from eval.speech_decoder import DecoderShape, SpeechDecoder

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

"""The networks of DECA, SMIRK and SPECTRE, and the published files that they are loaded from.

Weights follow a rule in the tensors' names, so that a wrong name shows in the numbers as wrong arithmetic does.
"""

import os
import zlib

import numpy as np
import pytest
import torch

from multitalk.fit_flame.heads.head_model import HeadModelError
from multitalk.fit_flame.parity import golden_weight
from multitalk.fit_flame.regressors.deca import Deca, DecaEncoder
from multitalk.fit_flame.regressors.load import load_regressor
from multitalk.fit_flame.regressors.mobilenet_v2 import MobileNetV2
from multitalk.fit_flame.regressors.mobilenet_v3 import MobileNetV3
from multitalk.fit_flame.regressors.smirk import Smirk
from multitalk.fit_flame.regressors.spectre import PerceptualEncoder, Spectre

WAVES = 0.5 + 0.5 * np.sin(0.01 * np.arange(3 * 224 * 224) ** 1.1)
IMAGE = torch.tensor(WAVES.reshape(1, 3, 224, 224), dtype=torch.float32)


def by_rule(network, prefix=""):
    """The network's tensors under their names, each filled by the rule."""
    return {
        prefix + name: torch.as_tensor(golden_weight(name, tuple(tensor.shape)))
        for name, tensor in network.state_dict().items()
    }


def ruled(network):
    network.load_state_dict(by_rule(network))
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("network", "tensors", "picked", "wanted"),
    [
        # What timm 0.9.16 computes with the same weights, as SMIRK uses it (`features_only`), averaged.
        (
            lambda: MobileNetV3("small"),
            204,
            slice(10, 200, 25),
            [0.0, 0.4376, 2.7154, 0.0, 0.4464, 2.1952, 0.0, 0.266],
        ),
        (
            lambda: MobileNetV3("large"),
            276,
            slice(10, 200, 25),
            [1.5409, 0.0, 0.7893, 0.0, 0.0, 0.9005, 0.0, 1.6482],
        ),
        # What DECA's encoder gives, which `python -m multitalk.fit_flame.parity` compares with the original.
        (
            DecaEncoder,
            322,
            slice(0, None, 30),
            [-0.571, -0.511, -0.432, -0.434, -0.46, -0.398, -0.285, -0.239],
        ),
    ],
    ids=["mobilenet v3 small", "mobilenet v3 large", "deca"],
)
def test_names_and_arithmetic_are_the_originals(network, tensors, picked, wanted):
    made = ruled(network())
    assert len(made.state_dict()) == tensors
    np.testing.assert_allclose(made(IMAGE)[0, picked], wanted, atol=1e-3)


def test_mobilenet_v2_agrees_with_another_implementation():
    transformers = pytest.importorskip("transformers")
    # torchvision pads on both sides alike and adds 1e-5 to the variance; the other's defaults are TensorFlow's.
    config = transformers.MobileNetV2Config(tf_padding=False, layer_norm_eps=1e-5, image_size=224)
    other = transformers.MobileNetV2Model(config).eval()
    mine = ruled(MobileNetV2())
    # Both register their tensors in the order of computation.
    ours, theirs = mine.state_dict(), other.state_dict()
    assert [tuple(t.shape) for t in ours.values()] == [tuple(t.shape) for t in theirs.values()]
    other.load_state_dict(dict(zip(theirs, ours.values(), strict=True)))
    with torch.no_grad():
        wanted = other(IMAGE).pooler_output
    torch.testing.assert_close(mine(IMAGE), wanted, rtol=1e-4, atol=1e-4)
    assert {"features.0.0.weight", "features.1.conv.1.weight", "features.17.conv.3.running_var"} <= set(ours)


def test_smirk_bounds_jaw_and_eyelids():
    codes = torch.zeros(2, 361)
    codes[:, :6] = torch.arange(6)
    codes[0, 306:356], codes[1, 356:361] = 2.0, torch.tensor([-1.0, 3.0, -0.5, 0.7, -0.1])
    code = Smirk().read(codes)
    assert code.rotation[0].tolist() == [0, 1, 2]
    assert code.camera[0].tolist() == [3, 4, 5]
    assert code.expression[0].eq(2).all()
    torch.testing.assert_close(code.eyelids[1], torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(code.jaw[1], torch.tensor([0.0, 0.2, -0.1]))
    assert code.shape.shape == (2, 300)


def test_deca_code_in_order():
    code = Deca().read(torch.arange(236.0)[None])
    assert code.shape[0].tolist() == list(range(100))
    assert code.expression[0].tolist() == list(range(150, 200))
    assert code.rotation[0].tolist() == [200, 201, 202]
    assert code.jaw[0].tolist() == [203, 204, 205]
    assert code.camera[0].tolist() == [206, 207, 208]


def test_spectre_looks_at_neighbours_as_the_authors_chunks_do():
    network = Spectre().eval().requires_grad_(False)
    ruled(network.E_expression)
    codes = torch.randn(103, 1516, generator=torch.Generator().manual_seed(1))
    code = network.read(codes)
    # The authors' way: two frames repeated at both ends, chunks of 50 that overlap by 4, two dropped at seams.
    features = torch.cat([codes[:1]] * 2 + [codes] + [codes[-1:]] * 2)[:, 236:]
    encoder = network.E_expression
    found = []
    for start in range(0, len(features) - 4, 46):
        chunk = features[start : start + 50].T[None]
        inside = encoder.temporal[1:](
            torch.conv1d(chunk, encoder.temporal[0].weight, encoder.temporal[0].bias)
        )
        found.append(encoder.layers(inside[0].T))
    numbers = torch.cat(found)
    assert len(numbers) == 103
    torch.testing.assert_close(code.expression - codes[:, 150:200], numbers[:, :50], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        (code.jaw - codes[:, 203:206])[:, 0], numbers[:, 50].relu(), rtol=1e-4, atol=1e-5
    )
    assert code.jaw[:, 0].ge(codes[:, 203] - 1e-6).all()


def marked(network, prefix=""):
    """The network's tensors under their names, each filled with a number that only this name has."""
    return {
        prefix + name: torch.full_like(tensor, zlib.crc32(name.encode()) % 9973)
        for name, tensor in network.state_dict().items()
    }


def deca_file(path):
    """As DECA's trainer writes it: its other networks and the optimiser beside, in torch's old format."""
    state = marked(DecaEncoder())
    other = {"E_detail": {"encoder.conv1.weight": torch.zeros(64, 3, 7, 7)}, "D_detail": {}}
    optimiser = {"state": {0: {"step": 7, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4}]}
    content = {"E_flame": state, **other, "opt": optimiser, "global_step": 7, "batch_size": 8}
    torch.save(content, path, _use_new_zipfile_serialization=False)


def smirk_file(path):
    generator = {"smirk_generator.encoder1.enc1conv1.weight": torch.zeros(32, 6, 3, 3)}
    torch.save(marked(Smirk(), "smirk_encoder.") | generator, path)


def spectre_file(path, *, flat):
    """Nested, or flat after `deca.`; torchvision's classifier goes along in either."""
    lips = marked(PerceptualEncoder())
    lips |= {
        "encoder.classifier.1.weight": torch.zeros(1000, 1280),
        "encoder.classifier.1.bias": torch.zeros(1000),
    }
    parts = {"E_flame": marked(DecaEncoder()), "E_expression": lips}
    if flat:
        named = {f"deca.{part}.{name}": t for part, state in parts.items() for name, t in state.items()}
        parts = {"state_dict": named}
    torch.save(parts, path)


@pytest.mark.parametrize(
    ("name", "write", "network"),
    [
        ("deca", deca_file, Deca),
        ("smirk", smirk_file, Smirk),
        ("spectre", lambda path: spectre_file(path, flat=False), Spectre),
        ("spectre", lambda path: spectre_file(path, flat=True), Spectre),
    ],
    ids=["deca", "smirk", "spectre", "spectre flat"],
)
def test_published_layouts_load(tmp_path, name, write, network):
    write(tmp_path / "file")
    loaded = load_regressor(name, tmp_path / "file", "cpu")
    assert isinstance(loaded, network)
    for key, tensor in loaded.state_dict().items():
        # The marks are of the names within each part.
        bare = key if name == "smirk" else key.partition(".")[2]
        assert tensor.eq(zlib.crc32(bare.encode()) % 9973).all(), key


class Hostile:
    def __reduce__(self):
        return os.system, ("touch owned",)


def test_what_is_no_checkpoint_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "SMIRK_em1.pt"
    good = marked(Smirk(), "smirk_encoder.")
    wrong = {name: tensor for name, tensor in good.items() if not name.endswith("blocks.0.0.conv_dw.weight")}
    for content, message in [
        ({"task": Hostile()}, "is no checkpoint of smirk"),
        ({"model": {"weight": torch.zeros(1)}}, r"has no tensors of pose_encoder"),
        (wrong, "Missing key"),
        (good | {"smirk_encoder.pose_encoder.pose_cam_layers.0.weight": torch.zeros(6, 5)}, "size mismatch"),
    ]:
        torch.save(content, path)
        with pytest.raises(HeadModelError, match=message):
            load_regressor("smirk", path, "cpu")
    assert not (tmp_path / "owned").exists()
    path.write_bytes(b"<html>sign in</html>")
    with pytest.raises(HeadModelError, match="is no checkpoint"):
        load_regressor("smirk", path, "cpu")
    with pytest.raises(HeadModelError, match="cannot read"):
        load_regressor("smirk", tmp_path / "none", "cpu")

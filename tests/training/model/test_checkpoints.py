"""Reading the reference's files strictly, and writing them."""

import pickle

import pytest
import torch

from multitalk.ground.untrusted.checkpoint_file import CheckpointError
from multitalk.training.model.checkpoints import (
    export_reference,
    load_reference_prior,
    load_reference_talker,
    read_state_dict,
)
from multitalk.training.model.model_files import PriorFile, load_prior, load_talker, save_prior
from multitalk.training.model.motion_prior import MotionPrior
from multitalk.training.reference.talker import ReferenceTalker
from multitalk.training.settings import MotionPriorSettings

PRIOR = MotionPriorSettings(hidden=8, blocks=1, codes_per_frame=2, codebook_size=4, code_dim=4)
OLD_NAME = "audio_encoder.encoder.pos_conv_embed.conv.weight_g"


@pytest.fixture
def prior():
    return MotionPrior(PRIOR, torch.zeros(6), torch.ones(6))


def test_export_and_load_again(pair, tmp_path):
    export_reference(pair.prior, tmp_path / "stage1.pth.tar")
    loaded = load_reference_prior(tmp_path / "stage1.pth.tar", pair.prior.settings)
    x = torch.randn(1, 9, 30)
    with torch.no_grad():
        assert torch.equal(loaded(x).offsets, pair.prior(x).offsets)


def test_talker_exports_old_names_and_both_load(pair, tmp_path):
    old, new = tmp_path / "old.pth.tar", tmp_path / "new.pth.tar"
    export_reference(pair.talker, old)
    torch.save({"state_dict": pair.talker.state_dict()}, new)
    assert OLD_NAME in torch.load(old, weights_only=True)["state_dict"]
    settings = pair.talker.settings
    a, b = load_reference_talker(old, settings), load_reference_talker(new, settings)
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[name])


def test_sizes_are_read_off_the_tensors(pair, tmp_path):
    export_reference(pair.prior, tmp_path / "stage1.pth.tar")
    expected = pair.prior.settings.model_copy(update={"heads": 8})
    assert load_reference_prior(tmp_path / "stage1.pth.tar").settings == expected
    talker = ReferenceTalker(pair.talker.settings.model_copy(update={"period": 25}))
    export_reference(talker, tmp_path / "stage2.pth.tar")
    loaded = load_reference_talker(tmp_path / "stage2.pth.tar").settings
    assert (loaded.hidden, loaded.layers, loaded.audio.position_groups) == (32, 2, 4)


def test_a_copy_of_the_prior_is_left_aside(pair, tmp_path):
    state = pair.talker.state_dict() | {"autoencoder.quantize.embedding.weight": torch.zeros(16, 8)}
    torch.save({"state_dict": state}, tmp_path / "s.pth.tar")
    loaded = load_reference_talker(tmp_path / "s.pth.tar", pair.talker.settings).state_dict()
    assert loaded.keys() == pair.talker.state_dict().keys()


def test_every_problem_is_named(pair, tmp_path):
    state = pair.prior.state_dict()
    del state["decoder.expander.0.0.bias"]
    state["surplus"] = torch.zeros(1)
    state["quantize.embedding.weight"] = torch.zeros(16, 7)
    torch.save({"state_dict": state}, tmp_path / "s.pth.tar")
    with pytest.raises(CheckpointError) as error:
        load_reference_prior(tmp_path / "s.pth.tar", pair.prior.settings)
    message = str(error.value)
    assert "decoder.expander.0.0.bias is missing" in message
    assert "surplus is not part of the model" in message
    assert "quantize.embedding.weight is (16, 7), should be (16, 8)" in message


def test_missing_file_names_the_official_page(tmp_path):
    with pytest.raises(
        CheckpointError, match=r"stage1\.pth\.tar: no such file.*github\.com/kaist-ami/MultiTalk"
    ):
        load_reference_prior(tmp_path / "stage1.pth.tar")


class Evil:
    def __reduce__(self):
        return (print, ("must never run",))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps(Evil(), 2), pickle.dumps([1], 2)])
def test_hostile_or_broken_files_are_refused(content, tmp_path, capsys):
    path = tmp_path / "stage1.pth.tar"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"stage1\.pth\.tar"):
        read_state_dict(path)
    assert "must never run" not in capsys.readouterr().out


def test_pickled_objects_beside_tensors_are_refused(tmp_path, capsys):
    path = tmp_path / "stage1.pth.tar"
    torch.save({"state_dict": {}, "extra": Evil()}, path)
    with pytest.raises(CheckpointError):
        read_state_dict(path)
    assert "must never run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"settings": None}, "settings missing or damaged"),
        ({"state_dict": None}, "state_dict missing or damaged"),
        ({"head_model": 3}, "head_model missing or damaged"),
        ({"state_dict": {"mean": 1.0}}, "weights that are no tensors"),
        ({"state_dict": {"mean": torch.tensor(1.0)}}, "do not describe a motion prior"),
    ],
)
def test_a_damaged_file_of_ours_is_refused(prior, tmp_path, change, said):
    path = tmp_path / "prior.pt"
    save_prior(PriorFile(prior, "toy:0123"), path)
    content = torch.load(path, weights_only=True)
    torch.save(content | change, path)
    with pytest.raises(CheckpointError, match=rf"prior\.pt: .*{said}"):
        load_prior(path)
    del content["head_model"]
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="head_model missing"):
        load_prior(path)


def test_weights_that_are_no_fractions_are_refused(prior, tmp_path):
    path = tmp_path / "prior.pt"
    save_prior(PriorFile(prior, "toy:0123"), path)
    content = torch.load(path, weights_only=True)
    content["state_dict"] = {name: tensor.int() for name, tensor in content["state_dict"].items()}
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"mean is torch\.int32, should be torch\.float32"):
        load_prior(path)


def test_a_talkers_file_that_lacks_parts_is_refused(prior, tmp_path):
    torch.save({"multitalk": "talker", "version": 1, "settings": {}}, tmp_path / "t.pt")
    with pytest.raises(CheckpointError, match="state_dict, prior, audio_encoder missing"):
        load_talker(tmp_path / "t.pt", prior)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("encoder.vertice_mapping.0.weight", torch.zeros(3)),
        ("quantize.embedding.weight", torch.zeros(3, 0)),
        ("quantize.embedding.weight", torch.zeros(3, 5)),
    ],
)
def test_shapes_that_no_model_has_are_refused(pair, tmp_path, name, tensor):
    torch.save({"state_dict": pair.prior.state_dict() | {name: tensor}}, tmp_path / "stage1.pth.tar")
    with pytest.raises(
        CheckpointError, match=r"stage1\.pth\.tar: its tensors are not those of a motion prior"
    ):
        load_reference_prior(tmp_path / "stage1.pth.tar")


def test_the_wrong_stage_is_recognised(pair, tmp_path):
    export_reference(pair.talker, tmp_path / "stage2.pth.tar")
    with pytest.raises(CheckpointError, match="right stage"):
        load_reference_prior(tmp_path / "stage2.pth.tar")

"""`python -m multitalk.training.parity` on golden results of our own making, and on the reference's where there."""

import json

import numpy as np
import pytest
import torch

from multitalk.training.layers.wav2vec2 import normalise_sound
from multitalk.training.model.checkpoints import export_reference
from multitalk.training.parity import compare, main
from tests.golden import golden_models


@pytest.fixture
def directory(plain, pair, tmp_path):
    """A golden directory whose results come from the plain evaluation."""
    heads = plain.Heads(prior=4, talker=4, audio=2, period=5)
    export_reference(pair.prior, tmp_path / "stage1.pth.tar")
    export_reference(pair.talker, tmp_path / "stage2.pth.tar")
    p, t = pair.prior.settings, pair.talker.settings
    config = {
        "in_dim": 30, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 48,
        "face_quan_num": p.codes_per_frame, "n_embed": 16, "zquant_dim": 8, "vertice_dim": 30,
        "feature_dim": 32,
        "num_layers": 2, "n_head": 4, "period": 5, "train_subjects": "French German Thai",
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    audio = {
        "conv_dim": [8] * 7, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4,
    }  # fmt: skip
    (tmp_path / "wav2vec2_tiny").mkdir()
    (tmp_path / "wav2vec2_tiny" / "config.json").write_text(json.dumps(audio))
    assert t.languages == ("french", "german", "thai")
    np.savez(tmp_path / "golden.npz", **golden(plain, pair.weights, heads))
    return tmp_path


@torch.no_grad()
def golden(plain, weights, heads, frames=11):
    prior, talker = weights
    generator = torch.Generator().manual_seed(5)
    template, x = torch.randn(1, 30, generator=generator), torch.randn(1, frames, 30, generator=generator)
    audio = normalise_sound(torch.randn(frames * 640 + 80, generator=generator))
    short = normalise_sound(audio[: int(len(audio) * 0.9)])
    latents = plain.encode(prior, x[0] - template, heads)
    entries, codes = plain.quantise(prior, latents)
    reconstruction = plain.decode(prior, entries, heads) + template
    share = torch.bincount(codes.flatten(), minlength=16) / codes.numel()
    table = talker["learnable_style_emb.weight"]

    def memory(sound, given):
        tokens = plain.audio_tokens(talker, sound, given, heads)
        return tokens @ talker["audio_feature_map.weight"].T + talker["audio_feature_map.bias"]

    def predict(sound, style, given):
        heard = memory(sound, given)
        return plain.predict(prior, talker, heard, style, heads, given or len(heard) // 2)[0][None] + template

    losses = plain.teacher_forced(prior, talker, memory(audio, frames), table[1], x[0] - template, heads)
    quantiser = 1.25 * (entries - latents).square().mean()
    error = (reconstruction - x[0]).abs().mean()
    stored = {
        "s1_x": x, "s1_template": template, "s1_reconstruction": reconstruction[None],
        "s1_quant_loss": quantiser,
        "s1_perplexity": (-(share * (share + 1e-10).log()).sum()).exp(), "s1_code_indices": codes[None],
        "s1_total_loss": error + quantiser, "s1_rec_loss": error,
        "s2_audio": audio[None], "s2_short_audio": short[None], "s2_language_index": torch.tensor(1),
        "s2_loss_motion": losses[0], "s2_loss_reg": losses[1], "s2_loss": sum(losses),
        "s2_prediction": predict(audio, table[1], None),
        "s2_prediction_frames_given": predict(audio, table[1], frames),
        "s2_prediction_mix": predict(audio, 0.3 * table[1] + 0.7 * table[2], None),
        "s2_prediction_short_audio": predict(short, table[1], frames),
    }  # fmt: skip
    return {name: tensor.numpy() for name, tensor in stored.items()}


def test_agrees_with_the_plain_evaluation(directory, capsys):
    assert main([str(directory)]) == 0
    table = capsys.readouterr().out
    assert "13 of 13 agree" in table and "s2_prediction_mix" in table


def test_a_changed_array_is_found(directory, capsys):
    arrays = dict(np.load(directory / "golden.npz"))
    arrays["s2_prediction"] = arrays["s2_prediction"] + 2e-4
    arrays["s1_code_indices"][0, 0, 0] += 1
    np.savez(directory / "golden.npz", **arrays)
    assert main([str(directory)]) == 1
    wrong = [line.split()[0] for line in capsys.readouterr().out.splitlines() if "DIFFERS" in line]
    assert wrong == ["s1_code_indices", "s2_prediction"]


def test_an_array_that_nothing_computes_is_a_difference(directory):
    arrays = dict(np.load(directory / "golden.npz"))
    np.savez(directory / "golden.npz", **arrays, s3_unknown=np.zeros(2))
    assert [row.name for row in compare(directory) if not row.agrees] == ["s3_unknown"]


def test_what_is_not_stored_is_named(directory, capsys):
    arrays = dict(np.load(directory / "golden.npz"))
    del arrays["s2_prediction_mix"], arrays["s1_perplexity"]
    np.savez(directory / "golden.npz", **arrays)
    assert main([str(directory)]) == 0
    told = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    absent = [line[0] for line in told if line[-1] == "not stored"]
    assert absent == ["s1_perplexity", "s2_prediction_mix"]
    del arrays["s2_audio"]
    np.savez(directory / "golden.npz", **arrays)
    assert main([str(directory)]) == 2
    assert "misses s2_audio" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n_embed": None}, "not the reference's options"),
        ({"hidden_size": 64}, "do not fill 64"),
        ({"num_layers": 1}, "layers.1.linear1.weight is not part of the model"),
        ({"in_dim": 33}, "should be (32, 33)"),
        ({"train_subjects": "French German"}, "learnable_style_emb.weight is (3, 32), should be (2, 32)"),
    ],
)
def test_options_that_do_not_fit_are_named(directory, capsys, change, said):
    config = json.loads((directory / "config.json").read_text()) | change
    (directory / "config.json").write_text(json.dumps(config))
    assert main([str(directory)]) == 2
    assert said in capsys.readouterr().err


def test_inputs_that_do_not_fit_are_named(directory, capsys):
    arrays = dict(np.load(directory / "golden.npz"))
    np.savez(directory / "golden.npz", **arrays | {"s2_language_index": np.array(7)})
    assert main([str(directory)]) == 2
    assert "do not fit the models" in capsys.readouterr().err


def test_an_empty_directory_is_refused(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "not a directory of golden results" in capsys.readouterr().err


def test_agrees_with_the_reference(tmp_path):
    rows = compare(golden_models(tmp_path))
    assert len(rows) == 13 and all(row.difference <= 1e-4 for row in rows)

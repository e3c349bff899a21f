import json

import numpy as np
import pytest

from multitalk.eval.parity import main, rule_weight
from tests.golden import golden


@pytest.fixture
def original():
    """Folder of the original's outputs."""
    return golden("av_hubert")


def test_weights_follow_from_the_name():
    # zlib.crc32(b"a.bias") % 1000 is 54
    assert rule_weight("a.bias", [2]) == pytest.approx(0.05 * np.sin([54, 54.37]))
    assert rule_weight("a.running_var", [3]).min() >= 1
    assert rule_weight("a.num_batches_tracked", []) == 0
    assert np.abs(rule_weight("a.weight", [4, 8])).max() <= 0.5
    assert rule_weight("a.weight_g", [1, 1, 4]).min() >= 0.5


def test_the_encoder_agrees_with_the_original(original, capsys):
    assert main([str(original)]) == 0
    shown = capsys.readouterr().out
    assert shown.count("yes") == 5
    assert "encoder_audio_video" in shown


def test_a_difference_fails(original, tmp_path, capsys):
    (tmp_path / "config.json").write_text((original / "config.json").read_text())
    with np.load(original / "golden.npz") as file:
        arrays = dict(file)
    arrays["encoder_audio_only"][0, 3, 5] += 2e-4
    del arrays["video_features"]
    np.savez(tmp_path / "golden.npz", **arrays)
    assert main([str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert "NO" in shown
    assert "lacks them: video_features" in shown


@pytest.mark.parametrize("config", ["", "[]", "{}", '{"tensors": {}}', '{"tensors": {"a": [1]}}'])
def test_an_unusable_directory_is_reported_in_one_line(tmp_path, capsys, config):
    (tmp_path / "config.json").write_text(config)
    np.savez(tmp_path / "golden.npz", audio=np.zeros((1, 104, 2)), video=np.zeros((1, 1, 2, 88, 88)), other=1)
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_directory_without_outputs_proves_nothing(tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps({"tensors": {"a": [1]}}))
    np.savez(tmp_path / "golden.npz", audio=np.zeros(1), video=np.zeros(1))
    assert main([str(tmp_path)]) == 2
    assert "any output" in capsys.readouterr().err

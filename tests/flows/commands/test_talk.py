"""The options of ``multitalk talk``: drawn motion, batches, device."""

import numpy as np
import pytest

from multitalk.flows.commands.main import main
from multitalk.manifests.paths import audio_path


@pytest.fixture
def spoken(talking_models, talking_dataset, tmp_path):
    """Speaks a sound of the dataset with more options; returns the status and the vertices."""
    sound = audio_path(talking_dataset, "german", "video00_0")

    def speak(*options):
        out = tmp_path / "said.npy"
        status = main(
            ["talk", str(sound), "--language", "german", *talking_models, "--out", str(out), *options]
        )
        return status, np.load(out) if status == 0 else None

    return speak


def test_a_temperature_draws_another_motion_with_every_seed(spoken):
    drawn = ["--temperature", "1.5", "--seed"]
    _, even = spoken()
    _, again = spoken("--seed", "5")
    _, first = spoken(*drawn, "1")
    _, same = spoken(*drawn, "1")
    _, other = spoken(*drawn, "2")
    np.testing.assert_array_equal(even, again)
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 1e-6
    assert np.abs(first - even).max() > 1e-6


def test_batches_change_nothing_but_memory(spoken):
    np.testing.assert_allclose(spoken("--batch", "1")[1], spoken()[1], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--device", "abacus"], "--device abacus can not be used here"),
        (["--temperature", "-1"], "temperature: Input should be greater"),
        (["--batch", "0"], "batch: Input should be greater"),
        (["--seed", "-1"], "seed: Input should be greater"),
    ],
)
def test_unusable_options(spoken, options, said, capsys):
    assert spoken(*options)[0] == 2
    assert said in capsys.readouterr().err

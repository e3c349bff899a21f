"""Quantiser, codebook, schedule, packed maps."""

import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from multitalk.training.data.motion_data import MotionBatch
from multitalk.training.layers.packed_linear import packed_copy
from multitalk.training.layers.quantiser import Quantiser
from multitalk.training.model.face_decoder import FaceDecoder
from multitalk.training.model.motion_prior import MotionPrior
from multitalk.training.presets import UnknownPresetError, prior_preset
from multitalk.training.reference.talker import slopes
from multitalk.training.run.codebook import Codebook
from multitalk.training.run.schedule import learning_rate_factor
from multitalk.training.run.tasks import PriorTask, RunContext
from multitalk.training.run_settings import OptimiserSettings, TrainingSettings
from multitalk.training.settings import MotionPriorSettings

PRIOR = MotionPriorSettings(hidden=16, blocks=1, codes_per_frame=2, codebook_size=8, code_dim=4)


def test_nearest_of_equals_is_the_first():
    quantiser = Quantiser(3, 2)
    quantiser.embedding.weight.data = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    assert quantiser.nearest(torch.tensor([[0.0, 0.0, 2.0, 0.0, -3.0, 1.0]])).tolist() == [[0, 0, 1]]


def test_gradients_pass_straight_through():
    quantiser = Quantiser(5, 2)
    latents = torch.randn(1, 3, 4, requires_grad=True)
    quantiser(latents).latents.sum().backward()
    assert torch.equal(latents.grad, torch.ones_like(latents))


def test_perplexity_of_even_use_is_the_number_of_codes():
    quantiser = Quantiser(4, 1)
    quantiser.embedding.weight.data = torch.arange(4.0)[:, None]
    even = quantiser(torch.arange(4.0).view(1, 4, 1))
    assert even.perplexity(4).item() == pytest.approx(4, abs=1e-4)
    assert quantiser(torch.zeros(1, 4, 1)).perplexity(4).item() == pytest.approx(1, abs=1e-4)


def test_dead_codes_move_to_latents_and_forget():
    quantiser = Quantiser(4, 2)
    quantiser.embedding.weight.data = torch.tensor([[0.0, 0], [1, 1], [50, 50], [60, 60]])
    optimiser = torch.optim.Adam(quantiser.parameters())
    optimiser.state[quantiser.embedding.weight] = {"step": torch.tensor(3.0), "exp_avg": torch.ones(4, 2)}
    codebook, latents = Codebook(quantiser), torch.tensor([[0.1, 0.1, 1.1, 1.0]])
    codebook.usage += codebook.uses(quantiser(latents[None]).codes)
    assert codebook.usage.tolist() == [1, 1, 0, 0]
    health = codebook.revive(latents, optimiser, seed=0)
    assert health.dead_share == 0.5 and health.perplexity == pytest.approx(2)
    weight = quantiser.embedding.weight
    assert weight[:2].tolist() == [[0, 0], [1, 1]]
    assert all(row in latents.view(2, 2).tolist() for row in weight[2:].tolist())
    assert optimiser.state[weight]["exp_avg"].tolist() == [[1, 1], [1, 1], [0, 0], [0, 0]]
    assert codebook.usage.sum() == 0 and "usage" in codebook.state_dict()


def test_a_clip_that_fills_a_process_up_is_not_counted(head_model, monkeypatch):
    prior = MotionPrior(PRIOR, torch.zeros(6), torch.ones(6))
    context = RunContext(1, 1, ["french"], torch.zeros(6))
    task = PriorTask(prior, FaceDecoder(head_model), TrainingSettings(), context, lambda *_: None)
    monkeypatch.setattr(task, "all_gather", lambda tensors: tensors)  # of the only process
    monkeypatch.setattr(task, "_sum", lambda tensor: tensor)
    batch = MotionBatch(
        torch.randn(3, 5, 6), torch.zeros(3).long(), torch.tensor([0.5, 0.5, 0.0]), torch.zeros(3, 0)
    )
    assert torch.equal(task._all_latents(prior, batch), prior.encode(batch.motion[:2]).flatten(0, 1))
    task.losses(batch)
    assert task.codebook.usage.sum() == 2 * 5 * PRIOR.codes_per_frame


def test_schedules():
    halving = OptimiserSettings(schedule="halving", halving_epochs=20, warmup_steps=0)
    factor = learning_rate_factor(halving, 2000, 10)
    assert [factor(step) for step in (0, 199, 200, 1999)] == [1, 1, 0.5, 0.5**9]
    cosine = learning_rate_factor(OptimiserSettings(schedule="cosine", warmup_steps=9), 1000, 10)
    assert cosine(0) == pytest.approx(0.1) and cosine(500) == pytest.approx(0.5) and cosine(1000) == 0
    assert max(map(cosine, range(1000))) == pytest.approx(math.cos(math.pi * 9 / 2000) ** 2)


def test_packed_maps_compute_and_count_the_same():
    module = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4, bias=False))
    packed, x = packed_copy(module), torch.randn(3, 5, 8)
    counts = []
    with torch.no_grad():
        for each in (module, packed):
            with FlopCounterMode(display=False) as counter:
                each(x)
            counts.append(counter.get_total_flops())
        torch.testing.assert_close(packed(x), module(x))
    assert counts[0] == counts[1] == 2 * 15 * (8 * 16 + 16 * 4)
    assert isinstance(module[0], nn.Linear)


def test_an_unknown_preset_names_the_known():
    with pytest.raises(UnknownPresetError, match="multitalk-reference, multitalk, tiny"):
        prior_preset("huge")


@pytest.mark.parametrize("heads", [1, 4, 6, 8, 12])
def test_slopes_of_any_number_of_heads(heads):
    n = 2 ** math.floor(math.log2(heads))
    expected = [2 ** (-8 * i / n) for i in range(1, n + 1)]
    expected += [2 ** (-8 * i / (2 * n)) for i in range(1, 2 * n + 1)][0::2][: heads - n]
    torch.testing.assert_close(slopes(heads, torch.device("cpu")), torch.tensor(expected))

import pytest
import torch

from multitalk.ground.devices import chosen_device


@pytest.mark.parametrize(("there", "wanted"), [(True, "cuda"), (False, "cpu")])
def test_auto_is_cuda_where_there_is_one(monkeypatch, there, wanted):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert chosen_device() == chosen_device("auto") == chosen_device(None) == wanted
    assert chosen_device("cuda:1") == "cuda:1"
    assert chosen_device("cpu") == "cpu"

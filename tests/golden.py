"""What the originals compute, for tests: small files in `tests/data`, and more where `../shared/golden` is there."""

import shutil
from pathlib import Path

import pytest

DATA = Path(__file__).with_name("data")
SHARED = Path(__file__).parents[2] / "shared" / "golden"


def golden(name):
    """Return a folder of the originals' figures; skip the test where it is nowhere."""
    for place in (DATA / name, SHARED / name):
        if place.exists():
            return place
    pytest.skip(f"needs the originals' figures: ../shared/golden/{name}")


def golden_models(folder):
    """Write the reference's small models into a folder, their tables of positions whole again.

    The tables, 5000 rows of sines and cosines, are three quarters of a file: what lies in `tests/data` has 60.
    """
    import torch

    shutil.copytree(golden("models"), folder, dirs_exist_ok=True)
    content = torch.load(folder / "stage1.pth.tar", weights_only=True)
    tables = [name for name in content["state_dict"] if name.endswith("pos_embedding.pe")]
    assert len(tables) == 2
    for name in tables:
        stored = content["state_dict"][name]
        whole = positions(5000, stored.shape[-1])
        torch.testing.assert_close(whole[: len(stored)], stored)
        whole[: len(stored)] = stored
        content["state_dict"][name] = whole
    torch.save(content, folder / "stage1.pth.tar")
    return folder


def positions(rows, width):
    """Make the table of the paper "Attention is all you need"."""
    import torch

    angle = torch.arange(rows)[:, None] * torch.exp(
        torch.arange(0, width, 2) * (-torch.log(torch.tensor(1e4)) / width)
    )
    return torch.stack([angle.sin(), angle.cos()], dim=-1).reshape(rows, 1, width)

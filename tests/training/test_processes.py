"""Several processes: two train as one does, and a killed run goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from training.loop import train_prior
from training.run_settings import DataSettings, OptimiserSettings, PriorRun, TrainingSettings
from training.settings import MotionPriorSettings

pytestmark = pytest.mark.slow

SCRIPT = """
import sys
from pathlib import Path
import numpy as np
import torch
from fit_flame.head_model import HeadModel, LandmarkEmbedding
from training.loop import train_prior
from training.run_settings import PriorRun
torch.set_num_threads(1)
root, run, out, head, resume = sys.argv[1:]
arrays = dict(np.load(head))
embedding = LandmarkEmbedding(*(arrays.pop(n) for n in ("landmarks", "vertices", "barycentric")))
head_model = HeadModel(name="toy", hash="0123456789abcdef", embedding=embedding, **arrays)
train_prior(Path(root), PriorRun.model_validate_json(Path(run).read_text()), Path(out), head_model, resume=bool(resume))
"""


def run_settings(steps, round_steps, devices=1):
    return PriorRun(
        model=MotionPriorSettings(hidden=16, blocks=2, codes_per_frame=2, codebook_size=16, code_dim=4),
        training=TrainingSettings(
            data=DataSettings(batch_size=4, max_frames=24),
            optimiser=OptimiserSettings(learning_rate=3e-3, warmup_steps=5, ema_decay=0.9),
            steps=steps,
            round_steps=round_steps,
            revive_steps=5,
            accelerator="cpu",
            devices=devices,
            logger="none",
        ),
    )


@pytest.fixture
def command(toy_dataset, head_model, tmp_path):
    """Arguments after `python` or `torchrun` that train a prior into a folder."""
    import numpy as np

    names = (
        "v_template",
        "faces",
        "shapedirs",
        "expressiondirs",
        "posedirs",
        "joint_regressor",
        "skinning_weights",
    )
    embedding = {
        name: getattr(head_model.embedding, name) for name in ("landmarks", "vertices", "barycentric")
    }
    np.savez(tmp_path / "head.npz", **{name: getattr(head_model, name) for name in names}, **embedding)
    (tmp_path / "train.py").write_text(SCRIPT)

    def build(run: PriorRun, out: Path, resume: str = "") -> list[str]:
        (tmp_path / "run.json").write_text(run.model_dump_json())
        paths = (tmp_path / "train.py", toy_dataset, tmp_path / "run.json", out, tmp_path / "head.npz")
        return [*map(str, paths), resume]

    return build


def environment():
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}


def weights(out, name="last.pt"):
    return torch.load(out / "prior" / name, weights_only=True)["state_dict"]


def test_two_processes_train_to_the_weights_of_one(toy_dataset, head_model, command, tmp_path):
    train_prior(toy_dataset, run_settings(20, 10), tmp_path / "one", head_model)
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        "29533",
    ]
    arguments = command(run_settings(20, 10, devices=2), tmp_path / "two")
    done = subprocess.run(
        [*torchrun, *arguments], env=environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    for name, tensor in weights(tmp_path / "one").items():
        torch.testing.assert_close(weights(tmp_path / "two")[name], tensor, atol=2e-4, rtol=2e-3)


def test_a_killed_run_goes_on_bit_for_bit(toy_dataset, head_model, command, tmp_path):
    run = run_settings(40, 4)
    train_prior(toy_dataset, run, tmp_path / "whole", head_model)
    out = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, *command(run, out)], env=environment(), stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not (out / "prior" / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    checkpoint = torch.load(out / "prior" / "last.ckpt", weights_only=True)
    assert 0 < checkpoint["global_step"] < 40
    arguments = command(run, out, "resume")
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name, tensor in weights(tmp_path / "whole").items():
        assert torch.equal(weights(out)[name], tensor), name

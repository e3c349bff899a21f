"""Several processes: two train as one does, and a killed run goes on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from multitalk.training.model.audio_encoder import Wav2Vec2Encoder
from multitalk.training.run.loop import train_prior, train_talker
from multitalk.training.run_settings import (
    AudioSettings,
    DataSettings,
    OptimiserSettings,
    PriorRun,
    TalkerRun,
    TrainingSettings,
)
from multitalk.training.settings import MotionPriorSettings, TalkerSettings, TuningSettings

pytestmark = pytest.mark.slow

SCRIPT = """
import sys
from pathlib import Path
import numpy as np
import torch
from multitalk.fit_flame.heads.head_model import HeadModel, LandmarkEmbedding
from multitalk.training.model.audio_encoder import Wav2Vec2Encoder
from multitalk.training.run.loop import train_prior, train_talker
from multitalk.training.run_settings import PriorRun, TalkerRun
torch.set_num_threads(1)
kind, root, run, out, head, more = sys.argv[1:]
arrays = dict(np.load(head))
embedding = LandmarkEmbedding(*(arrays.pop(n) for n in ("landmarks", "vertices", "barycentric")))
head_model = HeadModel(name="toy", hash="0123456789abcdef", embedding=embedding, **arrays)
text = Path(run).read_text()
if kind == "prior":
    train_prior(Path(root), PriorRun.model_validate_json(text), Path(out), head_model, resume=bool(more))
else:
    encoder = Wav2Vec2Encoder(Path(more))
    train_talker(Path(root), TalkerRun.model_validate_json(text), Path(out), head_model, audio_encoder=encoder)
"""


def training(steps, round_steps, devices=1, **changes):
    values = {
        "data": DataSettings(batch_size=4, max_frames=24),
        "optimiser": OptimiserSettings(learning_rate=3e-3, warmup_steps=5, ema_decay=0.9),
        "revive_steps": 5,
    }
    of_machine = {"accelerator": "cpu", "devices": devices, "logger": "none"}
    return TrainingSettings(steps=steps, round_steps=round_steps, **of_machine, **(values | changes))


def run_settings(steps, round_steps, devices=1, **changes):
    model = MotionPriorSettings(hidden=16, blocks=2, codes_per_frame=2, codebook_size=16, code_dim=4)
    return PriorRun(model=model, training=training(steps, round_steps, devices, **changes))


def talker_settings(tuning, devices=1):
    """Settings without random numbers: dropout, masks and own predictions differ between processes."""
    talker = TalkerSettings(hidden=16, layers=1, heads=2, feed_forward=16, dropout=0, own_feedback=0)
    audio = AudioSettings(encoder="wav2vec2", tuning=TuningSettings(kind=tuning))
    steady = OptimiserSettings(learning_rate=3e-3, warmup_steps=5, ema_decay=0.9, clip_norm=0.5)
    run = training(6, 3, devices, optimiser=steady, accumulate=2, revive_steps=0)
    return TalkerRun(model=talker, audio=audio, training=run)


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

    def build(run: PriorRun | TalkerRun, out: Path, more: str = "") -> list[str]:
        (tmp_path / "run.json").write_text(run.model_dump_json())
        kind = "prior" if isinstance(run, PriorRun) else "talker"
        paths = (toy_dataset, tmp_path / "run.json", out, tmp_path / "head.npz")
        return [str(tmp_path / "train.py"), kind, *map(str, paths), more]

    return build


def environment():
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}


def weights(out, kind="prior"):
    return torch.load(out / kind / "last.pt", weights_only=True)["state_dict"]


def with_two_processes(arguments):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    done = subprocess.run(
        [*torchrun, *arguments], env=environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


def test_two_processes_train_to_the_weights_of_one(toy_dataset, head_model, command, tmp_path):
    train_prior(toy_dataset, run_settings(20, 10), tmp_path / "one", head_model)
    with_two_processes(command(run_settings(20, 10, devices=2), tmp_path / "two"))
    for name, tensor in weights(tmp_path / "one").items():
        torch.testing.assert_close(weights(tmp_path / "two")[name], tensor, atol=2e-4, rtol=2e-3)


def test_batches_that_do_not_divide_train_the_same_and_log_all_clips(
    toy_dataset, head_model, command, tmp_path
):
    """Of three clips the second process takes one twice, which counts neither in the codes nor in the curves."""
    data = DataSettings(batch_size=3, max_frames=24)
    one, two = (run_settings(10, 10, devices, data=data) for devices in (1, 2))
    trained = train_prior(toy_dataset, one, tmp_path / "one", head_model)
    with_two_processes(command(two, tmp_path / "two"))
    for name, tensor in weights(tmp_path / "one").items():
        torch.testing.assert_close(weights(tmp_path / "two")[name], tensor, atol=2e-4, rtol=2e-3)
    figures = torch.load(tmp_path / "two" / "prior" / "last.ckpt", weights_only=True)["figures"]
    assert figures == pytest.approx(trained.figures, rel=1e-2)


@pytest.fixture
def still_encoder(wav2vec2_folder):
    """A wav2vec 2.0 that does nothing by chance."""
    path = wav2vec2_folder / "config.json"
    still = {"hidden_dropout": 0, "layerdrop": 0, "mask_time_prob": 0}
    path.write_text(json.dumps(json.loads(path.read_text()) | still))
    return wav2vec2_folder


@pytest.mark.exhaustive
def test_so_they_do_with_a_talker_and_its_encoder(toy_dataset, head_model, command, still_encoder, tmp_path):
    one, two, encoder = tmp_path / "one", tmp_path / "two", Wav2Vec2Encoder(still_encoder)
    train_prior(toy_dataset, run_settings(4, 4), one, head_model)
    shutil.copytree(one / "prior", two / "prior")
    train_talker(toy_dataset, talker_settings("full"), one, head_model, audio_encoder=encoder)
    with_two_processes(command(talker_settings("full", devices=2), two, str(still_encoder)))
    for name, tensor in weights(one, "talker").items():
        torch.testing.assert_close(weights(two, "talker")[name], tensor, atol=2e-4, rtol=2e-3)


@pytest.mark.exhaustive
def test_two_processes_leave_out_layers_by_chance(
    command, wav2vec2_folder, toy_dataset, head_model, tmp_path
):
    config = json.loads((wav2vec2_folder / "config.json").read_text())
    (wav2vec2_folder / "config.json").write_text(json.dumps(config | {"layerdrop": 0.7}))
    train_prior(toy_dataset, run_settings(4, 4), tmp_path, head_model)
    with_two_processes(command(talker_settings("full", devices=2), tmp_path, str(wav2vec2_folder)))
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path, "talker").values())


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


def test_ctrl_c_ends_training_in_order_and_can_be_pressed_again(toy_dataset, head_model, tmp_path):
    """Lightning alone would exit without a word, and ignore the next one."""

    def press(what, done, of):
        if done == 6:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train_prior(toy_dataset, run_settings(40, 4), tmp_path, head_model, progress=press)
    assert signal.getsignal(signal.SIGINT) is before
    resumed = train_prior(toy_dataset, run_settings(40, 4), tmp_path, head_model, resume=True)
    assert resumed.last.exists()

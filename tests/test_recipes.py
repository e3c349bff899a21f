"""The recipes of CONTRIBUTING.md, done on a copy of the repository as they stand there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from multitalk.manifests.store import commit_fragment, compact

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
ROOMS = ("assets", "eval", "extract", "filters", "fit_flame", "flows", "manifests", "training")
BLOCK = re.compile(
    r"(?:New file `(?P<new>[^`]+)`|In\s`(?P<file>[^`]+)` (?P<where>above|below|instead of) `(?P<line>[^`]+)`):\n\n"
    r"```python\n(?P<code>.*?)```",
    re.DOTALL,
)


def recipe(name):
    _, begin, rest = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition(f"<!-- recipe: {name} -->\n")
    assert begin, f"CONTRIBUTING.md has no recipe {name}"
    return rest.partition("<!-- recipe: ")[0]


def follow(name, folder):
    """Copy the project and do to the copy what a recipe says."""
    for part in (*ROOMS, "multitalk"):
        shutil.copytree(
            ROOT / part, folder / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    text = recipe(name)
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) == text.count("```python"), "a block of code does not say where it goes"
    for block in blocks:
        if block["new"]:
            assert not (folder / block["new"]).exists()
            (folder / block["new"]).write_text(block["code"], "utf-8")
        else:
            change(folder / block["file"], block["where"], block["line"], block["code"])
    return folder


def change(file, where, line, code):
    lines = file.read_text("utf-8").splitlines(keepends=True)
    (at,) = [number for number, text in enumerate(lines) if text.strip().startswith(line)] or [None]
    assert at is not None, f"{file} has no line that begins with {line}"
    lines[at + (where == "below") : at + (where != "above")] = [code]
    file.write_text("".join(lines), "utf-8")


def python(folder, *arguments):
    """Run the copy's code."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def dataset(tmp_path):
    """Make a dataset of two clips with the code as it is, so that the changed code reads an older dataset."""
    root = tmp_path / "dataset"
    frames = 5
    motion = {
        "head_model": "canonical:0123", "fps": 25.0, "shape": np.zeros(4), "expression": np.zeros((frames, 3)),
        "jaw": np.full((frames, 3), 0.25), "eyes": np.zeros((frames, 6)), "rotation": np.zeros((frames, 3)),
        "translation": np.zeros((frames, 3)), "camera": np.ones(3), "valid": np.ones(frames, bool),
        "residual": np.zeros(frames),
    }  # fmt: skip
    rows = [{"clip_id": clip, "status": "ok", "accepted": True} for clip in ("a_0", "a_1")]
    motions = [{"clip_id": row["clip_id"], **motion} for row in rows]
    commit_fragment(root, "german", "a", rows, motion_rows=motions, fingerprint="f")
    compact(root)
    return root


MEASURE = """
import sys, wave
from pathlib import Path
import numpy as np
from multitalk.extract.errors import Stage
from multitalk.flows.building.clip import ClipInWork, ClipStages
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.building.stages import STAGES, downstream, stage_fingerprints
from multitalk.flows.commands.reference_pages import columns_page
from multitalk.manifests import open_dataset
from multitalk.manifests.clip_row import ClipRow
from multitalk.manifests.store import commit_video
from multitalk.filters.verdicts import evaluate_policy
from multitalk.filters.policy import load_policy
from multitalk.manifests.schema import MANIFEST, STAGES as STORED
assert set(map(str, STAGES)) == set(STORED)
root = Path(sys.argv[1])
assert open_dataset(root).clips()["peak_dbfs"].isna().all()  # an older dataset
with wave.open("sound.wav", "wb") as file:
    file.setnchannels(1), file.setsampwidth(2), file.setframerate(16000)
    file.writeframes((np.sin(np.arange(16000) / 9) * 16384).astype("<i2").tobytes())
row = ClipRow("b_0", "b", "german")
clip = ClipInWork(None, row, Path("none.mp4"), Path("sound.wav"))
settings = BuildSettings()
ClipStages(settings).do(Stage.PEAK, clip)
fingerprints = stage_fingerprints(settings)
row.stage_fingerprints = {str(stage): value for stage, value in fingerprints.items()}
commit_video(root, "german", "b", [row], fingerprint="f")
found = open_dataset(root).query("SELECT clip_id, peak_dbfs, stage_fingerprints.peak AS p FROM clips ORDER BY clip_id")
assert found["peak_dbfs"].round(1).tolist()[2] == -6.0 and found["p"][2] == fingerprints[Stage.PEAK]
assert downstream({Stage.PEAK}) == {Stage.PEAK} and Stage.PEAK in downstream({Stage.TRIM})
Path("loud.yaml").write_text(
    "name: loud\\ndescription: Loud clips.\\nrules:\\n"
    "  - {name: loud, metric: peak_dbfs, comparison: '>=', threshold: -3, missing: accept, reason: To be heard.}\\n")
from multitalk.manifests.store import read_manifest
verdicts = evaluate_policy(load_policy(Path("loud.yaml"), MANIFEST), read_manifest(root))
assert verdicts.rejected_by().to_pylist() == [[], [], ["loud"]]
assert "| `peak_dbfs` |" in columns_page()
"""


def test_a_metric(tmp_path, dataset):
    folder = follow("metric", tmp_path / "copy")
    python(folder, "-c", MEASURE, dataset)


FIT = """
import numpy as np
from multitalk import fit_clip, load_head_model
from multitalk.fit_flame.parameters.decode import decode
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.building.stages import stage_fingerprints
from multitalk.extract.errors import Stage
from multitalk.flows.modelling.stored_heads import model_of
wide, canonical = load_head_model("wide"), load_head_model("canonical")
assert np.ptp(wide.v_template[:, 0]) > 1.09 * np.ptp(canonical.v_template[:, 0])
prints = [stage_fingerprints(BuildSettings(head_model=name)) for name in ("wide", "canonical")]
assert [s for s in prints[0] if prints[0][s] != prints[1][s]] == [Stage.FIT]
# Landmarks of the head itself, half a metre before a camera of 1200 px.
points = wide.v_template * [1, -1, -1] + [0, 0, 0.5]
pixels = np.stack([*(1200 * points[:, :2] / points[:, 2:] + 256).T, 1200 * points[:, 2] / 0.5], axis=-1)
landmarks = np.repeat(pixels[None].astype(np.float32), 6, axis=0)
fit = fit_clip(landmarks, np.ones(6, bool), wide)
assert fit.landmark_error < 0.02, fit.landmark_error
assert fit.motion.head_model == f"wide:{wide.hash}" and model_of(fit.motion.head_model).name == "wide"
assert decode(fit.motion, wide).shape == (6, len(wide.v_template), 3)
"""


def test_a_head_model(tmp_path):
    python(follow("head model", tmp_path / "copy"), "-c", FIT)


def test_an_exporter(tmp_path, dataset):
    folder = follow("exporter", tmp_path / "copy")
    command = ["-m", "multitalk.flows.commands.main", "export", "--root", dataset, "--layout", "curves"]
    told = python(folder, *command, "--out", tmp_path / "out")
    assert "2 clips" in told
    files = sorted((tmp_path / "out").glob("*/German_a_*.csv"))
    assert len(files) == 2
    lines = files[0].read_text().splitlines()
    assert lines[0] == "time,jaw_x,jaw_y,jaw_z" and lines[2] == "0.040,0.250000,0.250000,0.250000"

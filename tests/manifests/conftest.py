"""A small dataset of two languages, settled or in the middle of a run."""

import shutil
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from multitalk.manifests.schema import MANIFEST
from multitalk.manifests.store import commit_fragment, compact


def motion(clip_id, frames):
    angles = np.linspace(0, 0.2, frames * 3, dtype=np.float32).reshape(frames, 3)
    return {
        "clip_id": clip_id,
        "head_model": "canonical:0123",
        "fps": 25.0,
        "shape": np.arange(4, dtype=np.float32),
        "expression": np.ones((frames, 5), np.float32),
        "jaw": angles,
        "eyes": np.zeros((frames, 6), np.float32),
        "rotation": -angles,
        "translation": np.full((frames, 3), -0.5, np.float32),
        "camera": np.array([1200, 256, 256], np.float32),
        "valid": np.arange(frames) > 0,
        "residual": np.where(np.arange(frames) > 0, 0.01, np.nan).astype(np.float32),
    }


def landmarks(clip_id, frames):
    points = np.arange(frames * 478 * 3).reshape(frames, 478, 3) % 512
    return {"clip_id": clip_id, "landmarks": points.astype(np.float32), "valid": np.ones(frames, bool)}


def _commit_video(root, language, video_id, clips=2):
    """Commit a video of 10-frame clips, the last of which failed."""
    rows = [
        {
            "clip_id": f"{video_id}_{i}",
            "status": "failed" if i == clips - 1 else "ok",
            "error_code": "no_face" if i == clips - 1 else None,
            "bbox": {"top": 0.0, "bottom": 1.0, "left": 0.25, "right": 0.75},
            "transcript": "こんにちは",
            "frame_count": None if i == clips - 1 else 10,
            "duration_sec": None if i == clips - 1 else 0.4,
            "yaw_deg": None if i == clips - 1 else [-10.0, 1.5, 12.0],
            "tool_versions": {"ffmpeg": "7.1", "av": "18"},
            "created_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        }
        for i in range(clips)
    ]
    fitted = [f"{video_id}_{i}" for i in range(clips - 1)]
    commit_fragment(
        root,
        language,
        video_id,
        rows,
        motion_rows=[motion(clip, 10) for clip in fitted],
        landmark_rows=[landmarks(clip, 10) for clip in fitted],
        fingerprint="f1",
    )


@pytest.fixture
def commit_video():
    """Commit a video of some clips: `commit_video(root, language, video_id, clips=2)`."""
    return _commit_video


def _accept_ok(table):
    ok = [status == "ok" for status in table["status"].to_pylist()]
    reasons = [[] if accepted else ["status"] for accepted in ok]
    for name, values in (("accepted", ok), ("rejected_by", reasons)):
        field = MANIFEST.field(name)
        table = table.set_column(MANIFEST.get_field_index(name), field, pa.array(values, field.type))
    return table


@pytest.fixture(scope="session")
def accept_ok():
    """Accept every clip that is ok: a policy without rules."""
    return _accept_ok


@pytest.fixture(scope="session")
def datasets(tmp_path_factory):
    """Three videos with 2 + 3 + 2 clips: settled, and in the middle of a run that makes one of them again."""
    settled, running = (tmp_path_factory.mktemp("datasets") / name for name in ("settled", "running"))
    _commit_video(settled, "german", "_de")
    _commit_video(settled, "german", "de2", clips=3)
    _commit_video(settled, "japanese", "ja1")
    compact(settled)
    shutil.copytree(settled, running)
    _commit_video(running, "german", "de2", clips=3)
    return {"settled": settled, "running": running}


@pytest.fixture(params=["settled", "running"])
def root(request, datasets, tmp_path):
    """Copy one of the two to a path that has what breaks naive quoting and globbing."""
    return shutil.copytree(datasets[request.param], tmp_path / "it's [a] root")

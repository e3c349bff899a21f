"""Native code that dies under a stranger's video takes down that video, and no other."""

import json
import os
from pathlib import Path

import pytest

from multitalk.flows.building.build import build
from multitalk.flows.building.settings import build_settings
from multitalk.manifests.store import read_manifest

ROOT = Path(__file__).parents[3]
WORKER = """
import ctypes
from benchmarks import scale_worker
from multitalk.extract.downloading.download import scratch_folder
from multitalk.flows.building.source import source_path

class Crashing(scale_worker.MadeUpBuilder):
    def build(self, work, progress):
        if work.video.file_id == "video1":
            place = source_path(work.video, self.settings)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"what had come")
            scratch_folder(place).mkdir(exist_ok=True)
            ctypes.string_at(1)  # SIGSEGV
        return super().build(work, progress)

scale_worker.MadeUpBuilder = Crashing
scale_worker.main()
"""


@pytest.mark.slow
def test_a_segfault_costs_one_video(tmp_path, monkeypatch):
    (tmp_path / "crashing.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    annotation = {"language": "german", "bbox": {"top": 0, "bottom": 1, "left": 0, "right": 1}}
    annotation["duration"] = {"start_sec": 0, "end_sec": 2}
    clips = {f"video{n}_0": annotation | {"youtube_id": f"video{n}"} for n in range(4)}
    (tmp_path / "german.json").write_text(json.dumps(clips))
    settings = build_settings(
        annotations=(str(tmp_path / "german.json"),), root=tmp_path / "dataset", workers=1,
        crash_retries=0, keep_landmarks=False,
    )  # fmt: skip
    summary = build(settings, worker="crashing")
    rows = {row["video_id"]: row for row in read_manifest(tmp_path / "dataset", None).to_pylist()}
    assert len(rows) == 4
    assert rows["video1"]["error_code"] == "internal"
    assert "was killed by SIGSEGV while it built video1" in rows["video1"]["error_message"]
    assert {rows[f"video{n}"]["error_code"] for n in (0, 2, 3)} <= {None, "no_face", "video_unavailable"}
    assert summary.built_videos == 4
    assert not (tmp_path / "dataset" / ".staging").exists()
    assert not [path for path in (tmp_path / "dataset" / "raw").rglob("*") if path.name != "german"]

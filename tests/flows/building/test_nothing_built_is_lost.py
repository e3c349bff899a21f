"""Whatever happens between builds, and in them: no clip is ever worse than before, and the end is as a fresh build.

Sequences of changed settings, vanished and returning sources, new and changed annotations, faults at any stage, and
kills between any two changes of the disk. The stages are stand-ins that take microseconds; what plans, decides,
commits, keeps and compacts is the real thing.
"""

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from multitalk.extract.errors import ErrorCode, Stage
from multitalk.flows.building.pending import pending_videos
from multitalk.flows.building.plan import annotated_videos
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.building.stages import POOLED_STAGES, STAGES, stage_fingerprints
from multitalk.flows.building.stored_clips import StoredClips
from multitalk.flows.building.video import VideoBuilder
from multitalk.manifests import open_dataset
from multitalk.manifests.clip_row import COLUMNS, ClipRow
from multitalk.manifests.releases.verify import verify
from multitalk.manifests.store import compact, compact_videos, finish_commits, read_manifest
from tests.flows.building.stand_ins import Killed, World, install

CLIPS = {"one_0": "one", "one_1": "one", "two_0": "two"}
ORDER = [str(stage) for stage in STAGES]
# What rightly differs: when and how often, and under which label older fingerprints were put together.
HISTORY = {"created_at", "attempts", "config_fingerprint", "tool_versions", "stage_fingerprints"}
CHOICES = {
    "fit.smooth_face": (0.3, 0.4, 0.5),
    "trim.crf": (23, 30),
    "download.max_height": (1080, 720),
    "tracks.min_overlap": (0.3, 0.4),
    "speech.threshold": (0.5, 0.6),
    "language.transcribe": (True, False),
    "keep_landmarks": (True, False),
    "keep_raw": (False, True),
    "workers": (1, 2),
    "redo": ((), ("fit",), ("image",)),
}
WAYS = {
    "first": {},
    "later": {"duration": {"start_sec": 4.0, "end_sec": 6.0}},
    "other words": {"transcript": "anders"},
    "outside": {"duration": {"start_sec": 99.0, "end_sec": 101.0}},
    "invalid": {"bbox": {}},
}


@dataclass
class Disk:
    """Kills before the n-th change of the disk, and keeps the disk as it was at that moment."""

    root: Path
    left: int | None = None
    killed: Path | None = None

    def change(self):
        if self.left is None:
            return
        self.left -= 1
        if self.left <= 0:
            self.kill()

    def kill(self):
        self.left = None
        self.killed = self.root.with_name("killed")
        if self.root.exists():
            shutil.copytree(self.root, self.killed)
        raise Killed

    def after_kill(self):
        """What unwinding did to the disk, a kill would not have done."""
        shutil.rmtree(self.root, ignore_errors=True)
        if self.killed and self.killed.exists():
            self.killed.rename(self.root)
        self.killed = None


@dataclass
class Project:
    """A dataset, its annotations and settings, and the world around it."""

    folder: Path
    world: World
    disk: Disk
    values: dict = field(default_factory=dict)
    clips: dict = field(default_factory=dict)

    def settings(self, root: Path, **more) -> BuildSettings:
        nested: dict = {}
        for name, value in {**self.values, **more}.items():
            *outer, last = name.split(".")
            (nested.setdefault(outer[0], {}) if outer else nested)[last] = value
        return BuildSettings(
            annotations=(str(self.folder / "annotations.json"),), root=root,
            source_url="http://127.0.0.1:9/{video_id}.mp4", **nested,
        )  # fmt: skip

    def annotate(self, clip: str, way: str):
        self.clips[clip] = {
            "youtube_id": CLIPS[clip], "duration": {"start_sec": 1.0, "end_sec": 3.0}, "language": "german",
            "bbox": {"top": 0.1, "bottom": 0.9, "left": 0.1, "right": 0.9}, "transcript": "so", **WAYS[way],
        }  # fmt: skip
        (self.folder / "annotations.json").write_text(json.dumps(self.clips))

    def build(self, config: BuildSettings):
        """As `multitalk.flows.building.build` and its workers do, in this process."""
        videos, wanted = annotated_videos(config), stage_fingerprints(config)
        config.root.mkdir(exist_ok=True)
        finish_commits(config.root)
        pending = pending_videos(videos, wanted, config)
        if not pending:
            return
        names = [video.file_id for video in pending]
        builder = VideoBuilder(config, wanted, StoredClips(config.root, "german", names))
        for video in pending:
            builder.build(builder.fetch(video), lambda: None)
        compact_videos(config.root, "german", names)
        compact(config.root)

    def pending(self, config: BuildSettings) -> list:
        return pending_videos(annotated_videos(config), stage_fingerprints(config), config)


def rows_of(root: Path) -> dict[str, ClipRow]:
    if not (root / "manifest").exists():
        return {}
    finish_commits(root)
    rows = ClipRow.from_arrow(read_manifest(root))
    assert len({row.clip_id for row in rows}) == len(rows), "a clip is there twice"
    return {row.clip_id: row for row in rows}


def reached(row: ClipRow) -> int:
    if row.status == "ok":
        return len(ORDER)
    return ORDER.index(row.stage) if row.stage in ORDER else -1


def check_no_worse(before: dict[str, ClipRow], root: Path):
    after = rows_of(root)
    for clip, row in before.items():
        assert clip in after, f"{clip} is gone"
        assert reached(after[clip]) >= reached(row), f"{clip} is worse"
    for clip, row in after.items():
        if row.status == "ok":
            assert row.motion_path and row.clip_path and row.audio_path, clip
            assert len(open_dataset(root).motion(clip)["valid"]) == row.frame_count
    assert [found for found in verify(root) if found.kind != "stray"] == []


def check_as_fresh(project: Project, config: BuildSettings, fresh: Path):
    clean = config.model_copy(update={"root": fresh})
    project.build(clean)
    built, anew = rows_of(config.root), rows_of(fresh)
    assert built.keys() == anew.keys()
    wanted = stage_fingerprints(config)
    unwanted = {column for stage in STAGES if stage not in wanted for column in STAGES[stage].columns}
    earlier = {clip for clip, row in built.items() if row.last_try_fingerprint is not None}
    # Its clips were measured together with one that a fresh build does not have.
    pooled = {built[clip].video_id for clip in earlier}
    shared = {column for stage in (Stage.FIT, *POOLED_STAGES) for column in STAGES[stage].columns}
    for clip, row in built.items():
        other = anew[clip]
        if clip in earlier:
            assert other.status == "failed" and other.error_code == row.last_try_error_code, clip
            continue
        for column in set(COLUMNS) - HISTORY - unwanted - {"landmarks_xxh3"}:
            if column not in shared or row.video_id not in pooled:
                assert getattr(row, column) == getattr(other, column), (clip, column)
        if row.status == "ok":
            carried = row.stage_fingerprints or {}
            assert {stage: carried.get(str(stage)) for stage in wanted} == wanted
            if row.video_id in pooled:
                continue
            for name, values in open_dataset(fresh).motion(clip).items():
                assert np.array_equal(values, open_dataset(config.root).motion(clip)[name]), (clip, name)
    assert verify(config.root) == []
    assert not (config.root / ".staging").exists()


def actions():
    names = st.sampled_from(sorted(CLIPS))
    stages = st.sampled_from([stage for stage in STAGES if stage is not Stage.SOURCE])
    return st.one_of(
        st.sampled_from(sorted(CHOICES)).flatmap(
            lambda name: st.tuples(st.just("set"), st.just(name), st.sampled_from(CHOICES[name]))
        ),
        st.tuples(st.just("source"), st.sampled_from(["one", "two"]), st.booleans()),
        st.tuples(st.just("gone code"), st.sampled_from([ErrorCode.VIDEO_UNAVAILABLE, ErrorCode.NETWORK])),
        st.tuples(st.just("annotate"), names, st.sampled_from(sorted(WAYS))),
        st.tuples(st.just("fault"), names, stages, st.sampled_from(["odd", "no space", "kill"])),
        st.tuples(st.just("fault"), st.sampled_from(["one", "two"]), st.just(Stage.SOURCE),
                  st.sampled_from(["odd", "kill"])),
        st.tuples(st.just("no fit"), names, st.sampled_from(CHOICES["fit.smooth_face"])),
        st.tuples(st.just("build"), st.none()),
        st.tuples(st.just("build"), st.none()),
        st.tuples(st.just("build"), st.integers(1, 60)),
    )  # fmt: skip


def run(project: Project, steps: list[tuple]):
    root, world, disk = project.disk.root, project.world, project.disk
    for what, *details in steps:
        match what:
            case "set":
                project.values[details[0]] = details[1]
            case "source":
                (world.there.add if details[1] else world.there.discard)(details[0])
            case "gone code":
                (world.gone_code,) = details
            case "annotate":
                project.annotate(*details)
            case "no fit":
                world.no_fit.add(f"{details[0]} {details[1]}")
            case "fault":
                name, stage, kind = details
                fault = {"odd": RuntimeError("odd"), "no space": OSError(28, "full"), "kill": disk.kill}[kind]
                world.breaks[f"{name}:{stage}"] = fault
            case "build":
                before = rows_of(root)
                (disk.left,) = details
                try:
                    project.build(project.settings(root))
                except Killed:
                    disk.after_kill()
                disk.left = None
                if (root / "manifest").exists():
                    check_no_worse(before, root)
    world.breaks.clear()
    world.there |= {"one", "two"}
    before = rows_of(root)
    retry = (*(code for code in ErrorCode if code.transient), ErrorCode.VIDEO_UNAVAILABLE)
    config = project.settings(root, retry=retry, redo=())
    project.build(config)
    check_no_worse(before, root)
    done = len(world.done), len(world.downloads)
    assert project.pending(config) == [], "a second build has something to do"
    project.build(config)
    assert done == (len(world.done), len(world.downloads))
    check_as_fresh(project, config, root.with_name("fresh"))


@pytest.fixture
def new_project(tmp_path_factory, monkeypatch):
    """Makes projects, one after the other, each in a folder and a world of its own."""
    current: list[Disk] = []

    def counted(method):
        def call(*args, **kwargs):
            if current:
                current[-1].change()
            return method(*args, **kwargs)

        return call

    for owner, name in ((Path, "replace"), (Path, "unlink"), (Path, "mkdir"), (Path, "write_text")):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # no power fails here

    def make() -> Project:
        current.clear()
        folder = tmp_path_factory.mktemp("project")
        world, disk = World({"one", "two"}), Disk(folder / "dataset")
        install(monkeypatch, world)
        project = Project(folder, world, disk)
        for clip in ("one_0", "two_0"):
            project.annotate(clip, "first")
        current.append(disk)
        return project

    return make


@settings(
    max_examples=int(os.environ.get("MULTITALK_EXAMPLES", "25")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(actions(), min_size=1, max_size=12))
def test_any_sequence_ends_well(new_project, steps):
    for step in steps:
        note(str(step))
    run(new_project(), steps)

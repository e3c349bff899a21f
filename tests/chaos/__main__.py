"""Builds while everything goes wrong, and compares what comes out with a quiet build.

    python -m tests.chaos --rounds 30

With --flow the same through Prefect's flow and a server.

Each round starts from nothing: a server that refuses, breaks off and slows down, workers and whole runs killed with
SIGKILL at random moments, and a disk that is full at first. Then the same command is run once more in peace. Every
clip must be there once, every file whole, and the manifest that of the quiet build.

The videos are tiny ones made on the spot; --sample FOLDER takes real ones (`videos/`, `annotations/`).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from multitalk.manifests import open_dataset
from multitalk.manifests.paths import DatasetError
from tests.chaos.material import Material, real_material, small_material
from tests.chaos.trouble import BadHandler, Disturber, SmallDisk, bad_server, processes_of
from tests.prefect_server import prefect_server

# What rightly differs between two builds of the same videos.
RUN_COLUMNS = ["created_at", "attempts"]
# Words are not recognised: that takes long, and no file is written meanwhile.
_CONFIG = """
download: {attempts: 6, backoff_sec: 0.1, first_pause_sec: 1, socket_timeout_sec: 5}
crash_retries: 20
language: {transcribe: false}
head_model: canonical
"""
_TROUBLE = 0.4  # of the server's answers
_LONGEST_BUILD_SEC = 1800


@dataclass(frozen=True, slots=True)
class Builds:
    """How builds are started: what, from where, and with which environment."""

    material: Material
    url: str
    config: Path
    environment: dict[str, str]
    log: Path
    through_prefect: bool = False

    def start(self, root: Path) -> subprocess.Popen[bytes]:
        """Start a build in a process group of its own."""
        module = "tests.chaos.flow" if self.through_prefect else "multitalk.flows.commands.main"
        command = [sys.executable, "-m", module, "build", *map(str, self.material.annotations)]
        command += ["--root", str(root), "--source-url", self.url, "--workers", "2"]
        command += ["--config", str(self.config)]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def finish(self, root: Path) -> float:
        """Build in peace to the end; returns the seconds that it took."""
        began = time.monotonic()
        status = self.start(root).wait(_LONGEST_BUILD_SEC)
        assert status == 0, self.log.read_text()
        return time.monotonic() - began


def round_of_chaos(
    builds: Builds, handler: type[BadHandler], root: Path, quiet: Path, quiet_sec: float, seed: int
) -> str:
    """Build in trouble, then once more in peace, and check; says what happened."""
    chance = random.Random(seed)
    handler.chance = random.Random(seed)
    whole = sum(file.stat().st_size for file in quiet.rglob("*") if file.is_file())
    size = round(whole * chance.uniform(0.05, 1.2)) if chance.random() < 0.5 else None
    with SmallDisk(root, size) as disk:
        disturber = Disturber(root, chance, disk.mounted)
        handler.trouble = _TROUBLE
        for _ in range(chance.choice((1, 1, 1, 2))):
            disturber.disturb(builds.start(root), quiet_sec)
            disk.enlarge()
        handler.trouble = 0.0
        before = _state(root)
        builds.finish(root)
        check(root, quiet)
    harm = ", ".join(f"{count} {what}" for what, count in sorted(disturber.done.items()))
    return f"{harm}, {'a small disk' if disk.mounted else 'no small disk'}; then {before}"


def _state(root: Path) -> str:
    """What a disturbed build has left behind, in words."""
    try:
        rows = open_dataset(root).clips(["status", "error_code"])
    except DatasetError:
        return "nothing committed"
    if rows.empty:
        return "nothing committed"
    counts = rows["error_code"].fillna("ok").value_counts().sort_index()
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def check(root: Path, quiet: Path) -> None:
    """Compare a dataset that was built in trouble with a quiet one."""
    found, expected = (
        open_dataset(r).clips().sort_values("clip_id", ignore_index=True) for r in (root, quiet)
    )
    assert not found["clip_id"].duplicated().any(), "a clip is there twice"
    pd.testing.assert_frame_equal(found.drop(columns=RUN_COLUMNS), expected.drop(columns=RUN_COLUMNS))
    for row in found.query("status == 'ok'").itertuples():
        digest = hashlib.sha256((root / row.clip_path).read_bytes()).hexdigest()
        assert digest == row.clip_sha256, f"{row.clip_path} is torn"
        assert (root / row.audio_path).stat().st_size == 44 + row.frame_count * 1280
        motion = open_dataset(root).motion(row.clip_id)
        assert len(motion["valid"]) == row.frame_count
    for file in root.rglob("*.parquet"):
        pq.read_table(file)
    different = _names(root) ^ _names(quiet)
    assert not different, f"files are left over or missing: {sorted(different)}"
    left = [pid for pid, command in processes_of(root) if "flows." in command]
    assert not left, f"processes are left: {left}"


def _names(root: Path) -> set[str]:
    """Files of a dataset, but those of runs; batches and their fragments may have been cut otherwise."""
    files = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
    return {str(file) for file in files if file.parts[0] not in (".runs", ".pause.json", "manifest")}


def main() -> None:
    """Entry point of ``python -m tests.chaos``."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of the first round; the next has the next")
    parser.add_argument("--flow", action="store_true", help="build through Prefect's flow and a server")
    parser.add_argument("--sample", type=Path, metavar="FOLDER", help="real videos to build")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="multitalk-chaos-")))
        material = real_material(options.sample) if options.sample else small_material(folder)
        url, handler = stack.enter_context(bad_server(material.videos))
        environment = dict(os.environ)
        if options.flow:
            environment = stack.enter_context(prefect_server(folder))
        config = folder / "config.yaml"
        config.write_text(_CONFIG)
        builds = Builds(material, url, config, environment, folder / "build.log", options.flow)
        quiet = folder / "quiet"
        quiet_sec = builds.finish(quiet)
        print(f"quiet build: {quiet_sec:.0f} s, {_state(quiet)}", flush=True)  # noqa: T201
        for seed in range(options.seed, options.seed + options.rounds):
            root = folder / f"round{seed}"
            story = round_of_chaos(builds, handler, root, quiet, quiet_sec, seed)
            print(f"round {seed}: {story}: the manifest is the quiet one's", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()

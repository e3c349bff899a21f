"""The engine at MultiTalk's real size: planning, workers, commits, queries, reruns; downloads and stages are sleeps.

Builds run over MultiTalk's own annotation files where they are (`--annotations`), and over 9,900 source videos /
293,812 clips in 20 languages made from them. Every build is the real one, in a process of its own
(`multitalk.flows.building.build.build`, or the flow `build-dataset` with `--flow`); only its workers are
`benchmarks.scale_worker`, which says what it makes up. Processor time is what the operating system counted for the
build's process and its workers, without what the workers spent on making things up.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Started by its path, the folder of this file is searched first: its neighbours are not meant for that.
sys.path[:] = [
    str(ROOT),
    *(entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent),
]

from benchmarks.scale_annotations import VIDEOS, annotation_files, enlarged, write_annotations  # noqa: E402
from benchmarks.scale_worker import FRAMES, OWN_TIME, SLEEP  # noqa: E402

WORKER = "benchmarks.scale_worker"
QUESTION = (
    "SELECT language, count(*) AS clips, sum(duration_sec) / 3600 AS hours FROM clips GROUP BY language"
)
HEAVY = (
    "prefect",
    "torch",
    "pandas",
    "duckdb",
    "mediapipe",
    "scipy",
    "numba",
    "cv2",
    "onnxruntime",
    "yt_dlp",
)
"""Packages that a build with nothing to do has no use for."""


@dataclass(frozen=True, slots=True)
class Floor:
    """What is asked of a figure at every size."""

    figure: str
    text: str
    at_most: float
    digits: int = 1


FLOORS = (
    Floor("videos", "source videos", float("inf"), 0),
    Floor("clips", "clips", float("inf"), 0),
    Floor("planning_sec", "planning, s", 10),
    Floor("planning_cpu_sec", "the same, processor time", float("inf")),
    Floor("build_sec", "build, s by the clock", float("inf")),
    Floor("orchestration_ms", "orchestration, ms of processor time a video", 30),
    Floor("parent_ms", "of that the parent, ms", float("inf")),
    Floor("parent_mib", "peak memory of the parent, MiB", 600, 0),
    Floor("worker_mib", "peak memory of a worker, MiB", float("inf"), 0),
    Floor("amid_query_sec", "a query amid the run, s", 1, 2),
    Floor("amid_command_sec", "`multitalk query` amid the run, the whole process, s", float("inf"), 2),
    Floor("amid_command_cpu_sec", "the same, processor time", float("inf"), 2),
    Floor("compaction_sec", "compaction at the end, s", float("inf")),
    Floor("compaction_cpu_sec", "the same, processor time", float("inf")),
    Floor("judging_sec", "verdicts of the policy, s", float("inf")),
    Floor("rerun_sec", "`multitalk build` with nothing to do, s", 12),
    Floor("rerun_cpu_sec", "the same, processor time", float("inf")),
    Floor("rerun_mib", "the same, peak memory, MiB", 600, 0),
    Floor("database_mb", "Prefect's database, MB", 20),
    Floor("parameter_bytes", "largest parameters of a flow run, bytes", 524_288, 0),
)


def main() -> int:
    """Run the builds, print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 and 300 source videos, in about a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--videos", type=int, nargs="+", metavar="N", help="source videos of each build")
    parser.add_argument("--flow", action="store_true", help="by the Prefect flow, on a server of its own")
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    parser.add_argument(
        "--sleep", type=float, default=0.01, metavar="SEC", help="of each source video, twice"
    )
    parser.add_argument(
        "--motion", type=int, default=0, metavar="FRAMES", help="of each fitted clip; 0: none"
    )
    parser.add_argument("--annotations", type=Path, metavar="DIR", help="MultiTalk's own annotation files")
    parser.add_argument("--step", type=Path, help=argparse.SUPPRESS)  # a build, in a process of its own
    options = parser.parse_args()
    if options.step:
        return _step(options.step)
    os.environ |= {SLEEP: str(options.sleep), FRAMES: str(options.motion)}
    os.environ |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        for title, files in _datasets(options, folder):
            settings = {"annotations": list(map(str, files)), "root": str(folder / title / "dataset")}
            settings |= {"workers": options.workers, "keep_landmarks": False}
            figures[title] = measured(settings, folder / title, flow=options.flow)
            print(json.dumps({title: figures[title]}), file=sys.stderr, flush=True)
    print(table(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return 0


def _datasets(options: argparse.Namespace, folder: Path) -> list[tuple[str, list[Path]]]:
    published = annotation_files(options.annotations, folder / "published")
    sizes = options.videos or ([100, 300] if options.quick else [500, 2_000, VIDEOS])
    made = []
    for size in sizes:
        languages = enlarged(published, size)
        places = [folder / f"{size}" / "annotations" / f"{language}.json" for language in languages]
        made.append((str(size), list(map(write_annotations, places, languages.values()))))
    small = [write_annotations(folder / "10" / "annotations.json", enlarged(published, 200)["english"])]
    return [("10", small), *([] if options.quick else [("published", published)]), *made]


def measured(settings: Mapping[str, Any], folder: Path, *, flow: bool = False) -> dict[str, float]:
    """Build with these settings, asking a question half-way; then build again with nothing to do."""
    if not flow:
        found = built(settings, folder, dict(os.environ), flow=False)
    else:
        from tests.prefect_server import prefect_server

        (home := folder / "prefect").mkdir(parents=True)
        with prefect_server(home) as environment:
            before = _size(home)
            found = built(settings, folder, environment, flow=True)
            found["database_mb"] = (_size(home) - before) / 1e6
    return found | _rerun(settings, folder)


def built(
    settings: Mapping[str, Any], folder: Path, environment: Mapping[str, str], *, flow: bool
) -> dict[str, float]:
    """Build in a process of its own, whose complaints go to `folder`/stderr; returns what it took."""
    job, root = folder / "job.json", Path(settings["root"])
    folder.mkdir(parents=True, exist_ok=True)
    job.write_text(json.dumps({"settings": settings, "flow": flow}))
    errors = (folder / "stderr").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.scale", "--step", str(job)],
        env=environment,
        stderr=errors,
        cwd=ROOT,
    )
    try:
        asked = _asked_half_way(process, root)
        status = process.wait()
    finally:
        process.kill()
    if status != 0:
        raise RuntimeError((folder / "stderr").read_text()[-2000:])
    found: dict[str, float] = json.loads(job.with_suffix(".figures").read_text())
    return found | asked | {"stderr_lines": len((folder / "stderr").read_text().splitlines())}


def _asked_half_way(process: "subprocess.Popen[bytes]", root: Path) -> dict[str, float]:
    """Wait until half of the videos are done, and ask a question of the dataset as it is then."""
    from multitalk.manifests.query import query

    while process.poll() is None:
        time.sleep(0.5)
        if _share_done(root) >= 0.5:
            seconds = [_seconds(lambda: query(root, QUESTION)) for _ in range(3)]
            command = _multitalk("query", "--root", str(root), QUESTION, stdout=subprocess.DEVNULL)
            return {
                "amid_query_sec": statistics.median(seconds),
                "amid_command_sec": command["sec"],
                "amid_command_cpu_sec": command["cpu_sec"],
            }
    return {}


def _share_done(root: Path) -> float:
    done = 0
    for run in root.glob(".runs/*/batches.json"):
        total = sum(batch["videos"] for batch in json.loads(run.read_text()))
        for events in run.parent.glob("*.events.jsonl"):
            done += events.read_text().count('"finished"')
        return done / total
    return 0.0


def _rerun(settings: Mapping[str, Any], folder: Path) -> dict[str, float]:
    config = folder / "settings.yaml"
    config.write_text(json.dumps(settings))  # JSON is YAML
    again = _multitalk("build", "--config", str(config), stdout=subprocess.DEVNULL)
    return {f"rerun_{name}": value for name, value in again.items()}


def _multitalk(*arguments: str, stdout: int) -> dict[str, float]:
    """Run a command as a process; says how long it took, its processor time and its peak memory."""
    command = [sys.executable, "-P", "-m", "multitalk.flows.commands.main", *arguments]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=stdout)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return {
        "sec": time.perf_counter() - began,
        "cpu_sec": used.ru_utime + used.ru_stime,
        "mib": used.ru_maxrss / 1024,
    }


def _step(job: Path) -> int:
    """Build in this process, and write what it took."""
    content = json.loads(job.read_text())
    times = _watched_phases()
    began = time.perf_counter()
    parameters = _flow(content["settings"]) if content["flow"] else _engine(content["settings"])
    root = Path(content["settings"]["root"])
    own, workers = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    made_up = sum(json.loads(place.read_text())["own_sec"] for place in root.glob(f".runs/*/*{OWN_TIME}"))
    batches = [b for run in root.glob(".runs/*/batches.json") for b in json.loads(run.read_text())]
    videos = sum(batch["videos"] for batch in batches)
    parent = own.ru_utime + own.ru_stime
    spent = parent + workers.ru_utime + workers.ru_stime - made_up
    figures = {
        "videos": videos,
        "clips": sum(batch["clips"] for batch in batches),
        "batches": len(batches),
        "build_sec": time.perf_counter() - began,
        "orchestration_ms": 1000 * spent / videos,
        "parent_ms": 1000 * parent / videos,
        "made_up_ms": 1000 * made_up / videos,
        "parent_mib": own.ru_maxrss / 1024,
        "worker_mib": workers.ru_maxrss / 1024,
        **times,
        **parameters,
    }
    job.with_suffix(".figures").write_text(json.dumps(figures))
    return 0


def _watched_phases() -> dict[str, float]:
    """Have the phases of a build note how long they take, in the mapping that is returned."""
    from multitalk.flows.building import build

    times: dict[str, float] = {}
    for name, phase in (("prepare", "planning"), ("compact", "compaction"), ("apply_policy", "judging")):
        real = getattr(build, name)

        def timed(*given: Any, real: Callable[..., Any] = real, phase: str = phase, **named: Any) -> Any:
            began, used = time.perf_counter(), time.process_time()
            try:
                return real(*given, **named)
            finally:
                times[f"{phase}_sec"] = time.perf_counter() - began
                times[f"{phase}_cpu_sec"] = time.process_time() - used

        setattr(build, name, timed)
    return times


def _engine(settings: Mapping[str, Any]) -> dict[str, float]:
    from multitalk.flows.building.build import build
    from multitalk.flows.building.settings import build_settings

    _check(build(build_settings(**settings), worker=WORKER))
    return {}


def _flow(settings: Mapping[str, Any]) -> dict[str, float]:
    from multitalk.flows import build_dataset as flow
    from multitalk.flows.building import build
    from multitalk.flows.building.settings import build_settings

    flow.WORKER, flow.prepare = WORKER, build.prepare  # that of `_watched_phases`
    _check(flow.build_dataset(build_settings(**settings)))
    return {"parameter_bytes": float(largest_parameters())}


def largest_parameters() -> int:
    """Size of the largest parameters of a flow run that the server keeps, in bytes of JSON."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return max(len(json.dumps(run.parameters, default=str)) for run in client.read_flow_runs())


def _check(summary: Any) -> None:
    if not summary.languages:
        raise RuntimeError(f"nothing was built: {asdict(summary)}")


def _size(folder: Path) -> int:
    return sum(place.stat().st_size for place in folder.glob("prefect.db*"))


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def table(figures: Mapping[str, Mapping[str, float]]) -> str:
    """Return the figures of all builds as a Markdown table, beside what is asked."""
    lines = [["what", *(f"{title}" for title in figures), "floor"], ["---"] * (len(figures) + 2)]
    for floor in FLOORS:
        if any(floor.figure in column for column in figures.values()):
            cells = [_cell(floor, column) for column in figures.values()]
            lines.append(
                [floor.text, *cells, "" if floor.at_most == float("inf") else f"<= {floor.at_most:,g}"]
            )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(floor: Floor, column: Mapping[str, float]) -> str:
    value = column.get(floor.figure)
    if value is None:
        return ""
    shown = f"{value:,.{floor.digits}f}"
    return shown if value <= floor.at_most else f"**{shown}**"


def loaded(stderr: str, packages: Sequence[str] = HEAVY) -> list[str]:
    """Name the packages among `packages` that a process imported, by what ``-X importtime`` printed."""
    modules = {line.rpartition("|")[2].strip().split(".")[0] for line in stderr.splitlines() if "|" in line}
    return [package for package in packages if package in modules]


if __name__ == "__main__":
    sys.exit(main())

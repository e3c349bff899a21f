"""Annotations, videos and datasets from strangers, damaged at random: what becomes of each, read in a child.

Prints how many were refused in words, how many were taken, and whether any crashed the process that read it, hung it,
ended in an error that nobody foresaw, or wrote outside of its folder. Status 1 if one did.
"""

import argparse
import collections
import copy
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import wave
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `python benchmarks/hostile_inputs.py`, too

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.hostile_models import damaged
from multitalk.extract.annotations import Annotation, BoundingBox, is_safe_name, read_annotations
from multitalk.extract.errors import ClipError, ErrorCode
from multitalk.extract.ffmpeg import run_ffmpeg
from multitalk.extract.probe import MediaLimits, probe_stranger
from multitalk.extract.trim import TrimRequest, TrimSettings, trim_clips
from multitalk.manifests import open_dataset, paths
from multitalk.manifests.layouts.export import divided_clips, export_webdataset
from multitalk.manifests.paths import DatasetError, UnsafeNameError
from multitalk.manifests.query import QueryError
from multitalk.manifests.releases.verify import verify
from multitalk.manifests.remove import remove
from multitalk.manifests.store import commit_fragment, compact, file_xxh3

OUTCOMES = ("refused", "taken", "unforeseen", "crashed", "hung", "wrote outside")
FORESEEN = (DatasetError, UnsafeNameError, QueryError)
SECONDS, MEMORY = 60, 4 << 30
NASTY: tuple[Any, ...] = (
    *(
        None,
        True,
        [],
        {},
        "",
        "..",
        "../../escaped",
        "/escaped",
        "a/b",
        "it's",
        '"; touch escaped',
        "\x00",
        "\u202e",
    ),
    *(
        "x" * 20_000,
        float("nan"),
        float("inf"),
        -1,
        -1e308,
        0,
        0.5,
        2,
        1e18,
        2**63,
        "http://127.0.0.1/",
        "a" * 129,
    ),
)
FIELDS = (
    *("youtube_id", "duration", "duration.start_sec", "duration.end_sec"),
    *("bbox", "bbox.top", "language", "transcript"),
)
CONTAINERS = {
    "mp4": ("-c:v", "libx264", "-preset", "ultrafast"),
    "mkv": ("-c:v", "mpeg4"),
    "avi": ("-c:v", "mjpeg"),
    "ts": ("-c:v", "mpeg2video"),
    "mov": ("-c:v", "libx264", "-preset", "ultrafast", "-g", "3"),
    "flv": ("-c:v", "flv1", "-ar", "44100"),
}


@dataclass
class Row:
    """What became of the inputs of one kind."""

    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    codes: collections.Counter[str] = field(default_factory=collections.Counter)
    seconds: float = 0.0
    """Processor time of the slowest, with what it started."""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--annotations", type=int, default=10_000)
    parser.add_argument("--media", type=int, default=500)
    parser.add_argument("--datasets", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a hundredth of it")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    part = 100 if options.quick else 1
    chance, rows = random.Random(options.seed), dict[str, Row]()
    with tempfile.TemporaryDirectory() as folder:
        for make, count in (
            (annotations, options.annotations), (media, options.media), (datasets, options.datasets),
        ):  # fmt: skip
            for kind, times, read in make(Path(folder), count // part, chance):
                outside = seen(Path(folder))
                outcome, told, seconds = in_child(read)
                if seen(Path(folder)) != outside:
                    outcome = "wrote outside"
                row = rows.setdefault(kind, Row())
                row.outcomes.update(
                    told["counts"] if outcome == "refused" and "counts" in told else {outcome: times}
                )
                row.codes.update([told["code"]] if "code" in told else [])
                row.seconds = max(row.seconds, seconds)
                if outcome in OUTCOMES[2:]:
                    print(f"{kind}: {outcome}: {told}", file=sys.stderr)
    show(rows)
    if options.json:
        options.json.write_text(json.dumps({kind: asdict(row) for kind, row in rows.items()}, indent=1))
    sys.exit(any(row.outcomes[outcome] for row in rows.values() for outcome in OUTCOMES[2:]))


def show(rows: dict[str, Row]) -> None:
    """Print the table."""
    print(f"| input | {' | '.join(OUTCOMES)} | most CPU, s | refused for |")
    print("| --- |" + " --- |" * (len(OUTCOMES) + 2))
    for kind, row in rows.items():
        counts = " | ".join(str(row.outcomes[outcome]) for outcome in OUTCOMES)
        codes = ", ".join(f"{code} {count}" for code, count in row.codes.most_common())
        print(f"| {kind} | {counts} | {row.seconds:.2f} | {codes} |")


def seen(folder: Path) -> set[str]:
    """Return what lies in a folder beside the places that inputs may write to."""
    return {path.name for path in folder.iterdir()} - {"in", "out"}


def fresh(folder: Path) -> tuple[Path, Path]:
    """Return the emptied folders of an input, and of what is made of it."""
    for name in ("in", "out"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir()
    return folder / "in", folder / "out"


Read = Callable[[], dict[str, Any]]


def annotations(folder: Path, count: int, chance: random.Random) -> Iterator[tuple[str, int, Read]]:
    """Files of a hundred annotations each, one field of each made nasty; some files are damaged as a whole."""
    good = {
        "youtube_id": "video", "duration": {"start_sec": 1.0, "end_sec": 2.0}, "language": "german",
        "bbox": {"top": 0, "bottom": 1, "left": 0, "right": 1}, "transcript": "so",
    }  # fmt: skip
    for first in range(0, count, 100):
        place, _ = fresh(folder)
        entries = {}
        for number in range(first, min(first + 100, count)):
            entry: Any = copy.deepcopy(good)
            *way, last = chance.choice(FIELDS).split(".")
            target = entry
            for key in way:
                target = target[key]
            if chance.random() < 0.2:
                del target[last]
            else:
                target[last] = chance.choice(NASTY)
            name = f"clip_{number}" if chance.random() < 0.8 else f"{chance.choice(NASTY)}{number}"
            entries[name] = entry if chance.random() < 0.95 else chance.choice(NASTY)
        data = json.dumps(entries).encode()
        broken = first % 1000 == 900
        (place / "a.json").write_bytes(damaged(data, chance) if broken else data)

        def read(place: Path = place) -> dict[str, Any]:
            found = read_annotations([place / "a.json"])
            for clip in found.annotations:
                assert is_safe_name(clip.clip_id) and is_safe_name(clip.video_id)
                assert clip.frame_count > 0 and 0 <= clip.start_sec < clip.end_sec
            return {"counts": {"taken": len(found.annotations), "refused": len(found.invalid)}}

        yield "annotations, damaged file" if broken else "annotations", len(entries), read


def media(folder: Path, count: int, chance: random.Random) -> Iterator[tuple[str, int, Read]]:
    """Small videos in six containers, damaged; probed and cut as a build does."""
    valid = {}
    with tempfile.TemporaryDirectory() as made:
        for ending, codec in CONTAINERS.items():
            place = Path(made) / f"v.{ending}"
            sources = ["-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=1", "-f", "lavfi", "-i", "sine=d=1"]
            run_ffmpeg(["-v", "error", *sources, *codec, "-shortest", str(place)], 60)
            valid[ending] = place.read_bytes()
    endings = list(CONTAINERS)
    annotation = Annotation(
        "clip_0", "video", "german", 0.2, 0.6, 5, 10, BoundingBox(0.1, 0.9, 0.1, 0.9), "so"
    )
    for number in range(count):
        ending = endings[number % len(endings)]
        place, out = fresh(folder)
        data = valid[ending]
        if number >= len(endings):
            # Headers lie at the ends; in the middle there are pictures.
            data = damaged(data, chance)
            if chance.random() < 0.5:
                head = damaged(data[:600], chance)
                data = head + data[600:]
        source = place / f"v.{ending}"
        source.write_bytes(data)

        def read(source: Path = source, out: Path = out) -> dict[str, Any]:
            try:
                video = probe_stranger(source, MediaLimits())
                request = TrimRequest(annotation, out / "clip_0.mp4", out / "clip_0.wav")
                (result,) = trim_clips(
                    source, video, [request], TrimSettings(preset="ultrafast", timeout_base_sec=30)
                )
            except ClipError as error:
                result = error
            if not isinstance(result, ClipError):
                return {"counts": {"taken": 1}}
            assert result.code is not ErrorCode.INTERNAL, str(result)
            assert not list(out.iterdir())
            return {"code": str(result.code)}

        yield f"video: {ending}", 1, read


def datasets(folder: Path, count: int, chance: random.Random) -> Iterator[tuple[str, int, Read]]:
    """Change one thing of a small dataset: bytes, a value of a row, a link in the place of a file or a folder."""
    with tempfile.TemporaryDirectory() as made:
        whole = Path(made) / "whole"
        make_dataset(whole)
        for number in range(count):
            _, out = fresh(folder)
            root = folder / "in" / "dataset"
            shutil.copytree(whole, root)
            files = sorted(path for path in root.rglob("*") if path.is_file() and path.stat().st_size)
            place = chance.choice(files)
            kind = ("bytes", "value", "link", "folder")[number % 4]
            if kind == "bytes":
                place.write_bytes(damaged(place.read_bytes(), chance))
            elif kind == "value":
                change_value(chance.choice([file for file in files if file.suffix == ".parquet"]), chance)
            elif kind == "link":
                place.unlink()
                targets = ("/etc/passwd", "/dev/zero", "/", "../../../escaped", place.name)
                place.symlink_to(chance.choice(targets))
            else:
                parent = place.parent
                parent.rename(folder / "in" / "elsewhere")
                parent.symlink_to(folder / "in" / "elsewhere")

            def read(root: Path = root, out: Path = out) -> dict[str, Any]:
                told: set[str] = set()
                for step in (
                    lambda: told.update(finding.kind for finding in verify(root)),
                    lambda: open_dataset(root).clips(),
                    lambda: open_dataset(root).query("SELECT clip_id, status FROM clips"),
                    lambda: export_webdataset(root, divided_clips(root), out / "web"),
                    lambda: compact(root),
                    lambda: remove(root, ["video0"], "asked"),
                ):
                    try:
                        step()
                    except FORESEEN as error:
                        told.add(type(error).__name__)
                return {"code": "told of"} if told else {"counts": {"taken": 1}}

            yield f"dataset: {kind}", 1, read


def make_dataset(root: Path) -> None:
    """Write two videos of two clips, with sound and motion."""
    for video in ("video0", "video1"):
        rows, motion = [], []
        for clip in (f"{video}_0", f"{video}_1"):
            place = paths.audio_path(root, "german", clip)
            place.parent.mkdir(parents=True, exist_ok=True)
            with wave.open(str(place), "wb") as file:
                file.setparams((1, 2, 16_000, 0, "NONE", ""))
                file.writeframes(os.urandom(2 * 640 * 5))
            rows.append({"clip_id": clip, "status": "ok", "frame_count": 5, "duration_sec": 0.2, "accepted": True,
                         "head_model": "canonical:0123456789abcdef", "transcript": "so",
                         "audio_path": f"wav/german/{clip}.wav",
                         "audio_xxh3": file_xxh3(place)})  # fmt: skip
            widths = {"expression": 5, "jaw": 3, "eyes": 6, "rotation": 3, "translation": 3}
            arrays = {name: np.zeros((5, width), np.float32) for name, width in widths.items()}
            motion.append({"clip_id": clip, "head_model": "canonical:0123456789abcdef", "fps": 25.0, **arrays,
                           "shape": np.zeros(3, np.float32), "camera": np.array([1200.0, 256, 256], np.float32),
                           "valid": np.ones(5, bool), "residual": np.zeros(5, np.float32)})  # fmt: skip
        commit_fragment(root, "german", video, rows, motion_rows=motion, fingerprint="f")


def change_value(place: Path, chance: random.Random) -> None:
    """Give one cell of a Parquet file a nasty value of its type."""
    table = pq.read_table(place, partitioning=None)
    at = chance.randrange(table.num_columns)
    kind, values = table.schema.field(at).type, table.column(at).to_pylist()
    row = chance.randrange(len(values))
    for value in chance.sample(NASTY, len(NASTY)):
        try:
            column = pa.array([value if k == row else old for k, old in enumerate(values)], kind)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            continue
        pq.write_table(table.set_column(at, table.schema.field(at).with_nullable(True), column), place)
        return


def in_child(read: Read) -> tuple[str, dict[str, Any], float]:
    """Read an input in a forked process with limits: its outcome, what it told, and its processor time."""
    answer, to_parent = os.pipe()
    child = os.fork()
    if child == 0:
        told: dict[str, Any] = {}
        try:
            os.close(answer)
            os.setsid()
            taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(20 * SECONDS)  # of what waits, on a machine that does other things as well
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
            told = read()
            told["outcome"] = "taken" if told.get("counts") == {"taken": 1} else "refused"
        except (ClipError, DatasetError, ValueError, OSError) as error:
            told = {"outcome": "refused", "code": type(error).__name__}
        except BaseException as error:
            told = {"outcome": "unforeseen", "error": f"{type(error).__name__}: {error}"[:500]}
        finally:
            os.write(to_parent, json.dumps(told).encode()[:60_000])
            os._exit(0)
    os.close(to_parent)
    _, status, usage = os.wait4(child, 0)
    with os.fdopen(answer, "rb") as file:
        text = file.read()
    seconds = usage.ru_utime + usage.ru_stime
    if os.WIFSIGNALED(status):
        hung = os.WTERMSIG(status) in (signal.SIGALRM, signal.SIGXCPU, signal.SIGKILL)
        return "hung" if hung else "crashed", {"signal": os.WTERMSIG(status)}, seconds
    told = json.loads(text or b'{"outcome": "crashed"}')
    return told.pop("outcome"), told, seconds


if __name__ == "__main__":
    main()

"""What a build costs: processor time a second of clip by stage, beside the least that it could cost.

Runs a real build over a folder of videos and annotations, with the worker processes that every build has, and reads
what they wrote of their stages. The least: decode the clips once, MediaPipe's own loop over their frames, and x264.

    python -m benchmarks.throughput [FOLDER] [--quick] [--json FILE]

FOLDER holds `annotations/*.json` and `videos/<video_id>.mp4`; none: the sample, or the demo's videos.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Started by its path, the folder of this file is searched first: its neighbours are not meant for that.
sys.path[:] = [
    str(ROOT),
    *(entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent),
]

from multitalk.assets.fetch import require  # noqa: E402
from multitalk.extract.trim import TrimSettings  # noqa: E402
from multitalk.flows.running.cpu_time import cpu_by_stage, cpu_seconds  # noqa: E402
from multitalk.ground.units import FPS  # noqa: E402

MULTITALK_HOURS = 420
QUICK_VIDEOS = ("enAOCsynced", "deTalkerAAA")
LEAST_FRAMES = 250


@dataclass(frozen=True)
class Figures:
    """Processor seconds."""

    videos: int
    clips: int
    """That went through every stage."""
    clip_sec: float
    """Length of the clips that were cut."""
    total_sec: float
    """Of the command and all that it started."""
    by_stage: dict[str, float]
    """As the workers measured it."""
    least_per_clip_sec: dict[str, float]
    """Of decoding, MediaPipe and x264, a second of clip."""


def main() -> None:
    """Build, print the table, and write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, help="of annotations/ and videos/")
    parser.add_argument("--quick", action="store_true", help="two videos, in less than a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--workers", type=int, default=1, metavar="N")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="throughput-") as scratch:
        folder = options.folder or _default_folder(Path(scratch))
        figures = measure(folder, Path(scratch) / "dataset", quick=options.quick, workers=options.workers)
    print(table(figures))
    if options.json:
        options.json.write_text(json.dumps(asdict(figures), indent=1))


def measure(folder: Path, root: Path, *, quick: bool, workers: int) -> Figures:
    """Build what the folder holds, and measure the least on the clips that came out."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import multitalk
    from multitalk.flows.building.build import build
    from multitalk.flows.building.settings import build_settings

    annotations = sorted((folder / "annotations").glob("*.json"))
    if quick:
        annotations = _some(annotations, root.parent / "some.json")
    before = cpu_seconds()
    build(
        build_settings(
            annotations=tuple(map(str, annotations)),
            root=root,
            source_url=(folder.resolve() / "videos").as_uri() + "/{video_id}.mp4",
            workers=workers,
        )
    )
    total = cpu_seconds() - before
    clips = multitalk.open_dataset(root).clips()
    cut = clips[clips["clip_path"].notna()]
    good = [root / path for path in cut[cut["status"] == "ok"]["clip_path"]]
    if not good:
        raise SystemExit(f"no clip of {folder} came through: there is nothing to measure")
    return Figures(
        videos=clips["video_id"].nunique(),
        clips=len(good),
        clip_sec=float(cut["duration_sec"].sum()),
        total_sec=total,
        by_stage=cpu_by_stage(sorted(root.glob(".runs/*/*.events.jsonl"))),
        least_per_clip_sec=least(good, LEAST_FRAMES // 2 if quick else LEAST_FRAMES),
    )


def least(clips: list[Path], most: int) -> dict[str, float]:
    """Decode, detect as MediaPipe does by itself, and encode: seconds a second of clip, over at most so many frames."""
    import av
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    spent = {"decode": 0.0, "MediaPipe": 0.0, "x264": 0.0}
    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(require("face_landmarker"))),
        running_mode=vision.RunningMode.VIDEO,
        num_faces=1,
    )
    trim = TrimSettings()
    frames = 0
    for clip in clips:
        if frames >= most:
            break
        mark = cpu_seconds()
        with av.open(str(clip)) as container:
            pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][:most]
        mark, spent["decode"] = cpu_seconds(), spent["decode"] + cpu_seconds() - mark
        with vision.FaceLandmarker.create_from_options(options) as landmarker:
            for index, picture in enumerate(pictures):
                image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=picture)
                landmarker.detect_for_video(image, index * 1000 // FPS)
        mark, spent["MediaPipe"] = cpu_seconds(), spent["MediaPipe"] + cpu_seconds() - mark
        with av.open(os.devnull, "w", format="mp4", options={"movflags": "frag_keyframe"}) as container:
            stream = container.add_stream("libx264", rate=FPS)
            stream.options = {"crf": str(trim.crf), "preset": trim.preset}
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            stream.codec_context.thread_count = 1
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
        spent["x264"] += cpu_seconds() - mark
        frames += len(pictures)
    return {what: seconds * FPS / frames for what, seconds in spent.items()}


def table(figures: Figures) -> str:
    """Put the figures in a table of Markdown."""
    rest = figures.total_sec - sum(figures.by_stage.values())
    rows = {**figures.by_stage, "all else: planning, watching, parts, verdicts": rest}
    least_sec = sum(figures.least_per_clip_sec.values())
    per_sec = figures.total_sec / figures.clip_sec
    lines = [
        f"{figures.videos} videos, {figures.clips} good clips, {figures.clip_sec:.1f} s cut; "
        f"{figures.total_sec:.1f} s of processor time",
        "",
        f"| stage | s a second of clip | share | core-hours for {MULTITALK_HOURS} h |",
        "| --- | --- | --- | --- |",
    ]
    for stage, seconds in sorted(rows.items(), key=lambda row: -row[1]):
        each = seconds / figures.clip_sec
        lines.append(
            f"| {stage} | {each:.3f} | {seconds / figures.total_sec:.0%} | {each * MULTITALK_HOURS:.0f} |"
        )
    lines.append(f"| **all** | **{per_sec:.2f}** | 100% | **{per_sec * MULTITALK_HOURS:.0f}** |")
    parts = ", ".join(f"{what} {seconds:.3f}" for what, seconds in figures.least_per_clip_sec.items())
    return "\n".join(
        [*lines, "", f"The least ({parts}): {least_sec:.2f}; this is {per_sec / least_sec:.1f} times it"]
    )


def _some(annotations: list[Path], place: Path) -> list[Path]:
    """Write the annotations of two videos, or one, to a file of their own."""
    entries = {name: entry for path in annotations for name, entry in json.loads(path.read_text()).items()}
    videos = {str(entry.get("youtube_id")) for entry in entries.values()}
    wanted = videos & set(QUICK_VIDEOS) or set(sorted(videos)[:1])
    chosen = {name: entry for name, entry in entries.items() if entry.get("youtube_id") in wanted}
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(chosen))
    return [place]


def _default_folder(scratch: Path) -> Path:
    sample = ROOT.parent / "shared" / "sample"
    if (sample / "videos").is_dir():
        return sample
    from multitalk.flows.demo.videos import make_demo_source

    return make_demo_source(scratch / "demo").videos.parent


if __name__ == "__main__":
    main()

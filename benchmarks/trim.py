"""Cut 30 clips of 5 s out of a 20-minute 720p video, beside the way MultiTalk's own script does it.

The reference decodes the video from its beginning for every clip (``-i IN -r 25 -vf crop,scale
-ss S -to E``), so its time grows with a clip's place. The source has 25 frames a second, where
both pick the same frames; from faster sources the reference's ``-r 25`` picks frames that are up
to 77 ms old, and ours are within 20 ms.

The reference's time grows linearly with a clip's place: clips spread evenly over the video, as
``--reference-clips`` takes them, stand for all. ``--quick`` cuts 6 clips out of 4 minutes, and the
reference's way one of them, in the middle. The shorter the video, the smaller the gain.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from multitalk.extract.annotations import Annotation, BoundingBox
from multitalk.extract.ffmpeg import ffmpeg_exe, ffmpeg_version
from multitalk.extract.probe import probe
from multitalk.extract.trim import CropBox, TrimRequest, TrimResult, TrimSettings, trim_clips

CLIP_FRAMES = 125
BOX = BoundingBox(top=0.1, bottom=0.85, left=0.3, right=0.7)


@dataclass(frozen=True)
class Figures:
    """What was measured; the reference's times are extrapolated when `reference_clips` is less than `clips`.

    Processor time is what both need whatever else the machine does meanwhile; `times_faster` compares that.
    """

    source_minutes: int
    clips: int
    reference_clips: int
    ours_sec: float
    ours_cpu_sec: float
    reference_sec: float
    reference_cpu_sec: float
    times_faster: float
    min_psnr_db: float
    mean_ssim: float
    size_ratio: float
    ffmpeg: str


class Watch:
    """Takes the time from its making to `stop`, and the processor time of this process and what it started."""

    def __init__(self) -> None:
        self.sec, self.cpu_sec = -time.perf_counter(), -self._cpu()

    def stop(self) -> None:
        """Take the times."""
        self.sec += time.perf_counter()
        self.cpu_sec += self._cpu()

    @staticmethod
    def _cpu() -> float:
        used = os.times()
        return used.user + used.system + used.children_user + used.children_system


def main() -> None:
    """Make the source, cut it both ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer clips, under a minute")
    parser.add_argument(
        "--reference-clips", type=int, metavar="N", help="clips cut the reference's way, too; default: all"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), quick=options.quick, reference_clips=options.reference_clips)
    for name, value in asdict(figures).items():
        print(f"{name:18} {value:.4g}" if isinstance(value, float) else f"{name:18} {value}")
    if options.json:
        options.json.write_text(json.dumps(asdict(figures), indent=1))


def measure(folder: Path, *, quick: bool, reference_clips: int | None = None) -> Figures:
    """Make the source in a folder, cut it both ways, and compare speed, frames and sizes."""
    minutes, count = (4, 6) if quick else (20, 30)
    source = make_source(folder / "source.mp4", minutes)
    clips = annotations(minutes, count)
    requests = [
        TrimRequest(clip, folder / f"{clip.clip_id}.mp4", folder / f"{clip.clip_id}.wav") for clip in clips
    ]
    ours = Watch()
    results = trim_clips(source, probe(source), requests, TrimSettings())
    ours.stop()

    wanted = reference_clips or (1 if quick else count)
    compared = [(2 * index + 1) * count // (2 * wanted) for index in range(wanted)]
    theirs, psnr, ssim, sizes = [], [], [], []
    for index in compared:
        result = results[index]
        assert isinstance(result, TrimResult), result
        reference = folder / "reference.mp4"
        theirs.append(Watch())
        cut_as_the_reference(source, clips[index], result.crop, reference)
        theirs[-1].stop()
        psnr.append(min_psnr(result.clip_path, reference))
        ssim.append(mean_ssim(result.clip_path, reference))
        sizes.append(result.clip_path.stat().st_size / reference.stat().st_size)
    scale = len(clips) / len(compared)
    reference_cpu_sec = scale * sum(watch.cpu_sec for watch in theirs)
    return Figures(
        source_minutes=minutes,
        clips=len(clips),
        reference_clips=len(compared),
        ours_sec=ours.sec,
        ours_cpu_sec=ours.cpu_sec,
        reference_sec=scale * sum(watch.sec for watch in theirs),
        reference_cpu_sec=reference_cpu_sec,
        times_faster=reference_cpu_sec / ours.cpu_sec,
        min_psnr_db=min(psnr),
        mean_ssim=sum(ssim) / len(ssim),
        size_ratio=sum(sizes) / len(sizes),
        ffmpeg=ffmpeg_version(),
    )


def make_source(path: Path, minutes: int) -> Path:
    """Write a 720p video with sound: half a minute of a moving fractal, repeated."""
    half = path.with_name("half_minute.mp4")
    picture = "mandelbrot=s=640x360:r=25:end_scale=0.02:end_pts=750,scale=1280:720"
    run("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", "anoisesrc=r=48000:a=0.1", "-t", "30",
        "-c:v", "libx264", "-preset", "superfast", "-crf", "26", "-g", "250", "-pix_fmt", "yuv420p",
        "-c:a", "aac", str(half))  # fmt: skip
    run("-stream_loop", str(2 * minutes - 1), "-i", str(half), "-c", "copy", str(path))
    return path


def annotations(minutes: int, count: int) -> list[Annotation]:
    """Return clips spread evenly over the source, each on a frame of the 1/25 s grid."""
    step = minutes * 60 * 25 // count
    starts = [index * step + step // 2 + 7 * index % 50 for index in range(count)]
    return [
        Annotation(
            clip_id=f"clip_{start}",
            video_id="source",
            language="none",
            start_sec=start / 25,
            end_sec=(start + CLIP_FRAMES) / 25,
            start_frame=start,
            frame_count=CLIP_FRAMES,
            bbox=BOX,
            transcript="",
        )
        for start in starts
    ]


def cut_as_the_reference(source: Path, clip: Annotation, crop: CropBox, path: Path) -> None:
    """Run the command of MultiTalk's script."""
    run("-i", str(source), "-r", "25",
        "-vf", f"crop={crop.width}:{crop.height}:{crop.x}:{crop.y},scale=512:512",
        "-ss", str(clip.start_sec), "-to", str(clip.end_sec), str(path))  # fmt: skip


def min_psnr(first: Path, second: Path) -> float:
    """Return the PSNR in dB of the frame that differs most."""
    found = re.findall(r"psnr_avg:([\d.]+|inf)", compare("psnr=stats_file=-", first, second))
    assert len(found) == CLIP_FRAMES, f"{len(found)} frames compared"
    return min(map(float, found))


def mean_ssim(first: Path, second: Path) -> float:
    """Return the mean of the frames' structural similarity, 1 for the same."""
    found = re.findall(r"All:([\d.]+)", compare("ssim=stats_file=-", first, second))
    return sum(map(float, found)) / len(found)


def compare(measure: str, first: Path, second: Path) -> str:
    """Compare two clips frame by frame, by number, and return what ffmpeg prints about each."""
    graph = f"[0:v]setpts=N/25/TB[a];[1:v]setpts=N/25/TB[b];[a][b]{measure}"
    return run("-i", str(first), "-i", str(second), "-lavfi", graph, "-f", "null", "-")


def run(*arguments: str) -> str:
    """Run ffmpeg to its end and return what it prints."""
    command = [str(ffmpeg_exe()), "-nostdin", "-v", "error", "-y", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()

"""What of a machine a build needs, and what to do about what is missing: ``multitalk doctor``."""

import http.client
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from multitalk.assets.errors import AssetError
from multitalk.assets.fetch import find, statuses
from multitalk.extract.ffmpeg import FfmpegMissingError, ffmpeg_exe
from multitalk.ground.untrusted.confined import landlock_abi
from multitalk.ground.untrusted.confinement import Confinement, what_holds

_NEEDED_ASSETS = ("face_landmarker", "whisper_base", "silero_vad")
_FREE_GB_WANTED = 20
_TIMEOUT_SEC = 5.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at."""

    what: str
    state: Literal["ok", "warning", "missing"]
    found: str
    action: str = ""
    """What to do, empty where nothing is to be done."""


def examine(root: Path, source_url: str) -> Iterator[Check]:
    """Look at Python, packages, ffmpeg, GPU, assets, disk and the source, and yield what is found."""
    yield _python()
    yield from _packages()
    yield _ffmpeg()
    yield _confinement(root)
    yield _mediapipe_libraries()
    yield _gpu()
    yield _javascript()
    yield from _assets()
    yield _disk(root)
    yield _source(source_url)


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return Check("Python", "ok", found)


def _packages() -> Iterator[Check]:
    names = (
        "torch",
        "ai-edge-litert",
        "mediapipe",
        "faster-whisper",
        "yt-dlp",
        "prefect",
        "fastapi",
        "duckdb",
    )
    versions = []
    for name in names:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            yield Check(f"package {name}", "missing", "not installed", "run `make setup`")
    yield Check("packages", "ok", ", ".join(versions))


def _ffmpeg() -> Check:
    try:
        program = str(ffmpeg_exe())
        lines = _output([program, "-hide_banner", "-version"]).splitlines()
        encoders = _output([program, "-hide_banner", "-encoders"])
    except (FfmpegMissingError, OSError, subprocess.SubprocessError) as error:
        return Check(
            "ffmpeg", "missing", str(error), "`apt-get install ffmpeg`, or `pip install imageio-ffmpeg`"
        )
    version = " ".join(lines[0].split()[:3]) if lines else "unknown version"
    found = f"{version} ({program})"
    if "libx264" not in encoders:
        return Check("ffmpeg", "missing", f"{found}, without libx264", "install an ffmpeg with libx264")
    return Check("ffmpeg", "ok", found)


def _confinement(root: Path) -> Check:
    """Say which limits hold for programs that decode strangers' files."""
    folder = next(p for p in (root.absolute(), *root.absolute().parents) if p.is_dir())
    try:
        holds = what_holds(folder)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return Check(
            "confinement", "missing", f"a confined process does not start: {error}", "see docs/security.md"
        )
    told = {
        "network": "no network (seccomp)",
        "writing": f"writing in its own folders only (Landlock {landlock_abi()})",
        "memory": "memory and processor time limited",
    }
    found = "ffmpeg and what looks at videos: " + ", ".join(
        told[name] for name, held in holds.items() if held
    )
    lacking = [told[name] for name, held in holds.items() if not held]
    if not lacking:
        return Check("confinement", "ok", found)
    action = "build what strangers publish in a container or a virtual machine without secrets"
    return Check("confinement", "warning", f"{found}; not: {', '.join(lacking)}", action)


def _mediapipe_libraries() -> Check:
    try:
        model = find("face_landmarker")
    except AssetError as error:
        return Check("MediaPipe", "missing", str(error), "remove that file, then `multitalk assets fetch`")
    if model is None:
        return Check("MediaPipe", "warning", "not tried, for want of face_landmarker")
    # In a process of its own: a library that fails to load prints and can end the process. Only a landmarker
    # that is made loads them all.
    code = (
        "import sys, cv2; from mediapipe.tasks.python import vision; "
        "vision.FaceLandmarker.create_from_model_path(sys.argv[1]).close()"
    )
    probe = Confinement(writable=None).command([sys.executable, "-P", "-c", code, str(model)])
    try:
        done = subprocess.run(probe, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return Check(
            "MediaPipe", "warning", "import took more than two minutes", "run `multitalk doctor` again"
        )
    if done.returncode == 0:
        return Check("MediaPipe", "ok", "loads, with its system libraries")
    reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
    if ".so" in done.stderr:
        return Check("MediaPipe", "missing", reason, "`apt-get install libegl1 libgles2 libgl1 libglib2.0-0`")
    # Its native code also stops where the machine hides itself, for instance a container without /sys.
    return Check(
        "MediaPipe", "missing", reason, "the message is MediaPipe's own; is /sys mounted, is memory free?"
    )


def _gpu() -> Check:
    try:
        import torch
    except ImportError:
        return Check("GPU", "warning", "not looked at: torch is not installed", "run `make setup`")
    if not torch.cuda.is_available():
        return Check("GPU", "warning", "none; everything runs on the CPU", "")
    names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return Check("GPU", "ok", f"{names}; what is told no device computes there")


def _javascript() -> Check:
    runtime = next(filter(None, map(shutil.which, ("deno", "node", "bun", "qjs"))), None)
    if runtime is None:
        return Check(
            "JavaScript",
            "warning",
            "no runtime; YouTube hides formats from yt-dlp without one",
            "`pip install deno` (other sources need none)",
        )
    return Check("JavaScript", "ok", f"{runtime} (for YouTube)")


def _assets() -> Iterator[Check]:
    for status in statuses():
        if status.asset.name in _NEEDED_ASSETS:
            ready = status.state == "present"
            found = str(status.path or status.action) if ready else status.state
            yield Check(
                f"asset {status.asset.name}",
                "ok" if ready else "missing",
                found,
                "" if ready else status.action,
            )


def _disk(root: Path) -> Check:
    folder = next(p for p in (root.absolute(), *root.absolute().parents) if p.exists())
    if not folder.is_dir():
        return Check("disk", "missing", f"{folder} is no folder", "choose another --root")
    free = shutil.disk_usage(folder).free / 1e9
    if not os.access(folder, os.W_OK):
        return Check("disk", "missing", f"{folder} is not writable", "choose another --root")
    state: Literal["ok", "warning"] = "ok" if free >= _FREE_GB_WANTED else "warning"
    action = "" if state == "ok" else f"a large build wants more than {_FREE_GB_WANTED} GB"
    return Check("disk", state, f"{free:.0f} GB free at {folder}", action)


def _source(source_url: str) -> Check:
    try:
        parts = urlsplit(source_url)
    except ValueError as error:
        return Check("source", "missing", f"{source_url}: {error}", "give another --source-url")
    if parts.scheme not in ("http", "https"):
        return Check("source", "warning", f"{source_url}: not looked at", "")
    base = f"{parts.scheme}://{parts.netloc}/"
    try:
        request = urllib.request.Request(base, method="HEAD")  # noqa: S310  (the scheme was checked)
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SEC) as answer:  # noqa: S310
            return Check("source", "ok", f"{base} answers ({answer.status})")
    except urllib.error.HTTPError as error:
        return Check("source", "ok", f"{base} answers ({error.code})")
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        return Check("source", "warning", f"{base}: {reason}", "check the network, or give --source-url")


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout

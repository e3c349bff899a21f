"""A wheel, and a zip of the repository, in a clean environment: from any folder, whatever files lie in it."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from multitalk.assets.fetch import find
from tests.golden import golden, golden_models

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[1]
ROOMS = ("assets", "eval", "extract", "filters", "fit_flame", "flows", "manifests", "training")
OF_THE_PROJECT = (*ROOMS, "multitalk", "pyproject.toml", "setup.py", "README.md", "LICENSE")
TRAPS = (*ROOMS, "ground", "worker")


def run(command, folder, status=0):
    """Run a command as a stranger would: without this repository on Python's path."""
    strangers = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*map(str, command)],
        cwd=folder,
        env=strangers,
        capture_output=True,
        text=True,
        check=False,
        timeout=1000,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def clean_environment(folder):
    """Make an environment that has what the project asks for, and not the project; gives its Python.

    There may be no network: the packages are those of this Python. A path in a `.pth` file is looked through, but
    its own `.pth` files, which an editable installation consists of, are not heeded.
    """
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    assert (
        "ModuleNotFoundError"
        in subprocess.run(
            [python, "-c", "import multitalk"],
            cwd=folder,
            env={},
            capture_output=True,
            text=True,
            check=False,
        ).stderr
    )
    return python


def install(python, what, folder):
    offline = ["--no-deps", "--no-index", "--no-build-isolation"]
    run([sys.executable, "-m", "pip", "--python", python, "install", *offline, what], folder)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel of a copy of the project: setuptools leaves folders behind."""
    source = tmp_path_factory.mktemp("source")
    for name in OF_THE_PROJECT:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, source)
    run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", "dist", "."], source
    )
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    found = clean_environment(folder / "venv")
    install(found, wheel, folder)
    return found


@pytest.fixture
def strangers_folder(tmp_path):
    for name in TRAPS:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')\n")
    return tmp_path


def test_the_command_and_the_public_names_are_there(python, strangers_folder):
    assert "Build a dataset" in run([python.with_name("multitalk"), "--help"], strangers_folder)
    code = "import multitalk; print(multitalk.open_dataset.__module__, multitalk.__file__)"
    name, file = run([python, "-c", code], strangers_folder).split()
    assert name == "multitalk.manifests"
    assert Path(file).is_relative_to(python.parents[1])
    everything = "import multitalk; [getattr(multitalk, name) for name in multitalk.__all__]"
    run([python, "-c", everything], strangers_folder)


def test_the_wheel_has_every_file_of_the_rooms(wheel):
    packed = set(zipfile.ZipFile(wheel).namelist())
    for room in ROOMS:
        for file in (ROOT / room).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                name = f"multitalk/{file.relative_to(ROOT)}"
                assert name in packed, (
                    f"{name}: data belong under [tool.setuptools.package-data] in pyproject.toml"
                )


def test_our_models_agree_with_the_originals(python, strangers_folder):
    models = golden_models(strangers_folder / "golden")
    for room, folder in (("training", models), ("fit_flame", golden("deca")), ("eval", golden("av_hubert"))):
        assert run([python, "-m", f"multitalk.{room}.parity", folder], strangers_folder)


def test_a_zip_of_the_repository_installs(strangers_folder):
    if not (ROOT / ".git").exists():
        pytest.skip("needs the repository's history")
    archive = strangers_folder / "multitalk.zip"
    subprocess.run(["git", "-C", ROOT, "archive", "-o", archive, "HEAD"], check=True)
    python = clean_environment(strangers_folder / "venv")
    install(python, archive, strangers_folder)
    assert "Build a dataset" in run([python.with_name("multitalk"), "--help"], strangers_folder)
    run([python, "-c", "import multitalk; multitalk.load_head_model, multitalk.fit_clip"], strangers_folder)


@pytest.mark.exhaustive
def test_the_demo_is_built_from_there(python, strangers_folder):
    if find("whisper_base") is None:
        pytest.skip("Whisper base is not here: multitalk assets fetch whisper_base")
    told = run([python.with_name("multitalk"), "demo", "--root", "demo", "--workers", "1"], strangers_folder)
    assert (strangers_folder / "demo" / "manifest").is_dir(), told

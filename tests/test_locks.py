"""What is installed is pinned with the hashes of its files, and so is all that it asks for."""

import importlib.metadata
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
# Of a build of torch for NVIDIA's cards, and no other: `make setup` fetches these after it.
OF_CUDA = re.compile("nvidia-|cuda-|triton")


def pinned(name):
    """Each pinned package of a lock file, with its version and the hashes of its files."""
    whole = (ROOT / name).read_text("utf-8").replace("\\\n", "")
    lines = [line.split() for line in whole.splitlines() if line and not line.startswith("#")]
    parts = [(Requirement(pin), hashes) for pin, *hashes in lines]
    return {canonicalize_name(pin.name): (str(pin.specifier), hashes) for pin, hashes in parts}


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-models.lock"])
def test_every_package_is_pinned_by_version_and_hash(name):
    found = pinned(name)
    assert found
    for package, (version, hashes) in found.items():
        assert version.startswith("=="), package
        assert hashes, f"{package} has no hash: make lock"
        assert all(re.fullmatch("--hash=sha256:[0-9a-f]{64}", one) for one in hashes), package


def test_what_is_pinned_asks_for_nothing_else():
    """It is installed without looking for more."""
    found = pinned("requirements.lock")
    lacking = set()
    for package in found:
        try:
            asked = importlib.metadata.requires(package) or ()
        except importlib.metadata.PackageNotFoundError:
            continue  # another system's
        for requirement in map(Requirement, asked):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                lacking.add(canonicalize_name(requirement.name))
    assert not [name for name in lacking - found.keys() if not OF_CUDA.match(name)]


def test_set_up_takes_nothing_without_its_hash():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for name in ("requirements.lock", "requirements-models.lock"):
        (line,) = [line for line in makefile.splitlines() if f"-r {name}" in line and "install" in line]
        assert "--require-hashes" in line and "--no-deps" in line

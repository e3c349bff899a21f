"""Write the hashes of every file of each pinned version into the lock files: `make lock`, after a version is changed.

Versions, order and comments stay as they are. The hashes come from the index, through uv.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

LOCKS = ("requirements.lock", "requirements-models.lock")
# Builds that are not on PyPI under the version's own name.
ALSO = {
    # torch 2.13.0+cpu, CPython 3.11, Linux x86-64, from PyTorch's index of CPU builds
    "torch==2.13.0": ["sha256:6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b"],
}
PIN = re.compile(r"([A-Za-z0-9_.\-]+==[^\s;\\#]+)")


def hashes(lock: Path) -> dict[str, list[str]]:
    """Return the hashes of each pinned version, by its name as the index writes it."""
    pins = [match[1] for line in lock.read_text("utf-8").splitlines() if (match := PIN.match(line))]
    with tempfile.TemporaryDirectory() as folder:
        plain, made = Path(folder, "plain.in"), Path(folder, "made.txt")
        plain.write_text("\n".join(pins), "utf-8")
        options = ["--no-deps", "--generate-hashes", "--no-annotate", "--no-header", "--universal", "--quiet"]
        command = ["uv", "pip", "compile", *options, "--python-version", "3.11", "-o", made, plain]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found: dict[str, list[str]] = {}
        for line in made.read_text("utf-8").splitlines():
            if match := PIN.match(line):
                found[key(match[1])] = current = []
            if match := re.search(r"--hash=(sha256:[0-9a-f]{64})", line):
                current.append(match[1])
    return found


def key(pin: str) -> str:
    """Return a pin with its name as the index writes it."""
    name, _, version = pin.partition("==")
    return f"{re.sub('[-_.]+', '-', name).lower()}=={version}"


def main() -> None:
    """Write them."""
    for lock in map(Path, LOCKS):
        found, lines = hashes(lock), []
        for line in lock.read_text("utf-8").splitlines():
            if line.lstrip().startswith("--hash"):
                continue
            match = PIN.match(line)
            if match is None:
                lines.append(line)
                continue
            if comment := line.partition("#")[2].strip():
                lines.append(f"# {comment}")
            of = sorted({*found[key(match[1])], *ALSO.get(match[1], ())})
            if not of:
                sys.exit(f"{lock}: the index has no file of {match[1]}")
            lines.append(" \\\n    ".join([match[1], *(f"--hash={one}" for one in of)]))
        lock.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()

"""The pages of docs/ that are tables are those of today's code, and what the documentation names is there."""

import re
from pathlib import Path

import pytest

from multitalk.extract.errors import ErrorCode
from multitalk.flows.commands import reference_pages

ROOT = Path(__file__).parents[3]
PAGES = reference_pages.pages()
PROSE = [path for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")) if path.name not in PAGES]


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_up_to_date(name):
    assert (ROOT / "docs" / name).read_text("utf-8") == PAGES[name], "run `make docs`"


def test_every_code_command_and_setting_has_its_line():
    assert all(f"| `{code}` | " in PAGES["error-codes.md"] for code in ErrorCode)
    for command in ("build", "query", "evaluate lip-reading", "assets fetch"):
        assert f" multitalk {command}\n" in PAGES["commands.md"]
    assert "| `fit.smooth_face` |" in PAGES["settings.md"]
    assert "| `download.proxy` |" in PAGES["settings.md"]
    for line in PAGES["settings.md"].splitlines():
        assert "PydanticUndefined" not in line and "<function" not in line


def test_a_page_does_not_depend_on_the_machine(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 77)
    monkeypatch.setenv("COLUMNS", "40")
    assert reference_pages.pages() == PAGES


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text("utf-8")
    to_be_made = re.findall(r"New file `([^`]+)`", text)  # by who follows a recipe
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), target
    # Paths in backticks that look like files of the repository are such.
    rooms = "assets|benchmarks|docs|eval|extract|filters|fit_flame|flows|manifests|multitalk|tests|training"
    for target in re.findall(rf"`((?:{rooms})/[\w/]+\.(?:py|md|yaml))`", text):
        assert target in to_be_made or (ROOT / target).exists(), target
    for module in re.findall(r"multitalk(?:\.[a-z_]+)+", text):
        parts = module.split(".")
        assert "/".join(parts[1:]) + ".py" in to_be_made or _is_there(parts), module


def _is_there(parts):
    """Whether a dotted name is a module, or a name in one; `multitalk.yaml` and the like are files."""
    for end in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:end])
        file = place.with_suffix(".py") if place.with_suffix(".py").exists() else place / "__init__.py"
        if file.exists():
            return end >= len(parts) - 2 and all(name in file.read_text("utf-8") for name in parts[end:])
    return False

"""Array types with shapes are checked, while tests run, in the modules that state them; and a browser for pages."""

import builtins
import shutil
import sys
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

from multitalk.ground import arrays
from tests import array_shapes

ROOT = Path(__file__).parents[1]
ROOMS = ("multitalk/ground", "eval", "extract", "filters", "fit_flame", "training")


def modules_with_shapes() -> list[str]:
    """Name the modules that import array types."""
    files = [file for room in ROOMS for file in (ROOT / room).rglob("*.py")]
    shaped = [file for file in files if "from multitalk.ground.arrays import" in file.read_text("utf-8")]
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in shaped]
    return [name if name.startswith("multitalk.") else f"multitalk.{name}" for name in names]


# The modules import the types for type checkers only; here their annotations must mean something.
vars(builtins).update({name: getattr(arrays, name) for name in arrays.__all__})
# Under a name of its own: pytest makes `tests` anew, without what was imported of it.
sys.modules["array_shapes"] = array_shapes
install_import_hook(modules_with_shapes(), "array_shapes.checked")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first: one that begins last leaves all cores but its own idle."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium or Chrome on the PATH")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=chromium,
            args=[
                "--no-sandbox",
                "--enable-unsafe-swiftshader",
                "--autoplay-policy=no-user-gesture-required",
            ],
        )
        yield browser
        browser.close()

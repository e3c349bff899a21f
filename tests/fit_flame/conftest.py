from pathlib import Path

import pytest

from multitalk.assets.fetch import require
from multitalk.fit_flame.heads.canonical import canonical_head_model
from multitalk.fit_flame.heads.head_model import HeadModel


@pytest.fixture(scope="session")
def task_file() -> Path:
    return require("face_landmarker")


@pytest.fixture(scope="session")
def head(task_file: Path) -> HeadModel:
    return canonical_head_model(task_file)


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = Path(__file__).parents[2].parent / "shared"
    if not (folder / "flame").exists():
        pytest.skip("needs FLAME's mean face and landmarks: ../shared/flame")
    return folder

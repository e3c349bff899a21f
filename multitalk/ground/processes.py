"""Starting processes that run our own modules."""

import os
from pathlib import Path


def own_environment() -> dict[str, str]:
    """Give this process's environment, made so that ``python -P -m multitalk...`` finds this very package."""
    # This file truly lies in multitalk/ground, also where the other rooms are linked or mapped into the package.
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}

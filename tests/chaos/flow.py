"""Runs a build as `multitalk build` does, through Prefect's flow: `python -m tests.chaos.flow build ...`."""

import sys
from typing import Any
from unittest import mock

from multitalk.flows.build_dataset import build_dataset
from multitalk.flows.commands.main import main


def _through_prefect(settings: Any, **_: Any) -> Any:
    return build_dataset(settings)


if __name__ == "__main__":
    with mock.patch("multitalk.flows.building.build.build", _through_prefect):
        sys.exit(main())

"""What many commands share: options described once, headings, and commands of several."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Group, Parameter

Root = Annotated[Path, Parameter(metavar="DIR", help="Folder of the dataset")]
AsJson = Annotated[bool, Parameter(help="Print the outcome as JSON", negative=(), show_default=False)]
HeadModelOfClips = Annotated[
    str | None,
    Parameter(metavar="NAME|PATH", help="The clips' head model, where its name alone does not find it"),
]

OPTIONS = Group("Options", sort_key=1)
"""Heading of a command's options."""


def several_commands(name: str) -> App:
    """Return a command that is only a name in front of others."""
    return App(name=name, group_commands=Group("Commands"), group_parameters=OPTIONS)

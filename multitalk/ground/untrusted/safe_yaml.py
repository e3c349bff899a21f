"""The one reader of YAML: policies and configurations, maybe from strangers, in bounded time and memory.

A file of a few lines can mean milliards of values by its aliases, overflow the stack by its brackets, or name a pipe
that never answers.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

LARGEST_FILE = 256 * 1024
"""Bytes; reading so much takes some seconds, and a policy has a few thousand."""
MOST_VALUES = 20_000
"""With each value counted wherever an alias names it."""
MOST_DEPTH = 50
LONGEST_SCALAR = 32 * 1024


class YamlFileError(ValueError):
    """A text is no YAML, or no YAML that is read here."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem if line is None else f"line {line}: {problem}")
        self.line = line


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """A document, and where each of its values stands."""

    root: yaml.Node | None
    content: Any


class _Loader(yaml.SafeLoader):
    """Stops at brackets in brackets before the stack is full."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise yaml.MarkedYAMLError(
                problem=f"groups lie too deep in one another (more than {MOST_DEPTH})",
                problem_mark=self.peek_event().start_mark,  # type: ignore[no-untyped-call]
            )
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


def read_yaml_text(path: Path) -> str:
    """Read a YAML file.

    Raises
    ------
    YamlFileError
        When it is a device, a pipe that no shell made, too large, or no text.
    OSError
        When it can not be read.
    """
    found = path.stat().st_mode
    made_by_shell = stat.S_ISFIFO(found) and str(path).startswith(("/dev/fd/", "/proc/"))  # <(...)
    if not (stat.S_ISREG(found) or stat.S_ISDIR(found) or made_by_shell):
        raise YamlFileError("is a device or a pipe, not a file")
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise YamlFileError(f"has more than {LARGEST_FILE:,} bytes: is it the right file?")
    return content.decode("utf-8")


def parse_yaml(text: str) -> YamlDocument:
    """Parse a text.

    Raises
    ------
    YamlFileError
        When it is no YAML, holds itself, or means too many values.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return YamlDocument(None, None)
        _measure(root, {}, set())
        return YamlDocument(root, loader.construct_document(root))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise YamlFileError(str(error.problem), line) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"the character #x{error.character:02x} may not stand in a YAML file: remove it"
        raise YamlFileError(what, line) from error
    except RecursionError as error:
        raise YamlFileError("groups lie too deep in one another", 1) from error
    except (ValueError, ArithmeticError) as error:  # a date that is none, a number without end
        if isinstance(error, YamlFileError):
            raise
        raise YamlFileError(f"one of its values can not be read: {error}") from error


def _measure(node: yaml.Node, known: dict[int, tuple[int, int]], around: set[int]) -> tuple[int, int]:
    """Count the values that a node means, aliases followed, and how deep they lie.

    A node that was measured is not walked again, so that this takes as long as the text is.
    """
    if id(node) in known:
        return known[id(node)]
    if id(node) in around:
        raise yaml.MarkedYAMLError(problem="this holds itself", problem_mark=node.start_mark)
    if isinstance(node, yaml.ScalarNode) and len(node.value) > LONGEST_SCALAR:
        raise yaml.MarkedYAMLError(
            problem=f"a text of {len(node.value):,} characters", problem_mark=node.start_mark
        )
    around.add(id(node))
    inside: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        inside = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        inside = node.value
    measured = [_measure(part, known, around) for part in inside]
    around.discard(id(node))
    count = 1 + sum(values for values, _ in measured)
    depth = 1 + max((below for _, below in measured), default=0)
    if count > MOST_VALUES:
        raise yaml.MarkedYAMLError(
            problem=f"this means more than {MOST_VALUES:,} values: write out what its aliases (*name) stand for",
            problem_mark=node.start_mark,
        )
    if depth > MOST_DEPTH:
        raise yaml.MarkedYAMLError(
            problem=f"groups lie too deep in one another (more than {MOST_DEPTH})",
            problem_mark=node.start_mark,
        )
    known[id(node)] = count, depth
    return count, depth

"""The house: which room may import which, no circles, no crowded folders, and one name for all of it."""

import ast
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import multitalk

ROOT = Path(__file__).parents[1]
GROUND = {"ground"}
LIBRARIES = GROUND | {"assets"}
MAY_IMPORT = {
    "ground": set(),
    "assets": GROUND,
    "manifests": GROUND,
    "extract": LIBRARIES,
    "fit_flame": LIBRARIES,
    "filters": LIBRARIES | {"extract", "fit_flame"},
    "training": GROUND | {"manifests", "fit_flame"},
    "eval": GROUND | {"manifests", "fit_flame", "training"},
    "flows": LIBRARIES | {"manifests", "extract", "fit_flame", "filters", "training", "eval"},
}
# A pickle that is refused is told of as a head model's fault, whatever it was to hold.
FORGIVEN = ("multitalk.ground.untrusted.pickles", "multitalk.fit_flame.heads.head_model")
MOST_FILES = 16
"""Modules side by side in one folder, `__init__.py` left out."""


def folder_of(room: str) -> Path:
    return ROOT / "multitalk" / room if room == "ground" else ROOT / room


def modules() -> dict[str, Path]:
    """Give every module of the rooms by its name; a package by its own."""
    found = {}
    for room in MAY_IMPORT:
        for path in folder_of(room).rglob("*.py"):
            inner = path.relative_to(folder_of(room)).with_suffix("").parts
            parts = inner[:-1] if inner[-1] == "__init__" else inner
            found[".".join(("multitalk", room, *parts))] = path
    return found


MODULES = modules()


def imported(module: str) -> set[str]:
    """Name the modules of ours that one imports, at its top or inside its functions."""
    names = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names |= {name if name in MODULES else node.module for name in whole}
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return (names & MODULES.keys()) - {module}


def circles(arrows: dict[str, set[str]]) -> Iterator[list[str]]:
    """Yield ways that lead back to where they began, one for each place on one."""
    for start in sorted(arrows):
        ways, seen = [[start]], set()
        while ways:
            way = ways.pop()
            for place in sorted(arrows.get(way[-1], ())):
                if place == start:
                    yield [*way, start]
                    ways = []
                    break
                if place not in seen:
                    seen.add(place)
                    ways.append([*way, place])


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_rooms_below_it(room: str):
    wrong = [
        f"{module} imports {name}"
        for module in MODULES
        if module.split(".")[1] == room
        for name in imported(module)
        if name.split(".")[1] not in MAY_IMPORT[room] | {room} and (module, name) != FORGIVEN
    ]
    assert not wrong


def test_no_module_and_no_folder_stands_in_a_circle():
    arrows = {module: imported(module) for module in MODULES}
    assert not list(circles(arrows))
    # What lies side by side in a folder: its modules, and its sub-folders as one thing each.
    for folder in {module for module, path in MODULES.items() if path.name == "__init__.py"}:
        depth = folder.count(".") + 2
        beside = defaultdict(set)
        for module, names in arrows.items():
            for name in names:
                if module.startswith(f"{folder}.") and name.startswith(f"{folder}."):
                    one, other = (".".join(of.split(".")[:depth]) for of in (module, name))
                    if one != other:
                        beside[one].add(other)
        assert not list(circles(beside)), folder


def test_no_folder_is_crowded_and_each_says_what_it_is_for():
    for folder in {path.parent for path in MODULES.values()}:
        assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= MOST_FILES, folder
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8"))), folder


def test_only_the_flows_themselves_know_prefect():
    inner = [name for name, path in MODULES.items() if path.parent != ROOT / "flows"]
    assert not [name for name in inner if "\nfrom prefect" in MODULES[name].read_text("utf-8")]


def test_public_names_are_there_and_cost_nothing_before_they_are_used():
    code = "import sys, multitalk; print([n for n in ('numpy', 'torch', 'pydantic') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    for name in multitalk.__all__:
        assert getattr(multitalk, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = multitalk.nothing
    assert set(multitalk.__all__) <= set(dir(multitalk))


def test_files_in_the_users_folder_do_not_stand_in_the_way(tmp_path):
    for room in MAY_IMPORT:
        (tmp_path / f"{room}.py").write_text("raise SystemExit('not this one')")
    for module in ("multitalk.eval.parity", "multitalk.fit_flame.parity"):
        command = [sys.executable, "-m", module, "--help"]
        here = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=here, check=True)
        assert f"usage: python -m {module}" in done.stdout


def test_no_file_is_two_modules():
    """The rooms are links in `multitalk/`, too: a module under its room's bare name would be another module."""
    rooms = tuple(f"{folder_of(room)}{os.sep}" for room in MAY_IMPORT)
    code = (
        "import importlib, os, sys\n"
        f"for name in {sorted(MODULES)}: importlib.import_module(name)\n"
        "files = [os.path.realpath(m.__file__) for m in list(sys.modules.values()) if getattr(m, '__file__', None)]\n"
        f"ours = [file for file in files if file.startswith({rooms!r})]\n"
        "print(len(ours) - len(set(ours)), [n for n in sys.modules if n.split('.')[0] in ('flows', 'eval')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"

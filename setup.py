"""Where the packages lie: the rooms are folders of the repository's root, and are installed as `multitalk.<room>`.

All else about the project stands in pyproject.toml. A list of packages can not stand there: it would have to be kept
by hand, and finding them through the links in `multitalk/` fails where an archive brought no links.
"""

from setuptools import find_packages, setup

ROOMS = ("assets", "extract", "fit_flame", "filters", "manifests", "training", "eval", "flows")

found = find_packages(include=[*ROOMS, *(f"{room}.*" for room in ROOMS)])
ground = find_packages("multitalk/ground")
setup(
    packages=[
        "multitalk",
        "multitalk.ground",
        *(f"multitalk.ground.{package}" for package in ground),
        *(f"multitalk.{package}" for package in found),
    ],
    package_dir={f"multitalk.{room}": room for room in ROOMS},
)

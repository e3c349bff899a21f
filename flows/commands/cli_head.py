"""Commands about head models: ``head-model embed``."""

import argparse
from pathlib import Path
from typing import Any


def add_commands(commands: Any) -> None:
    """Add the commands of this module to the parser's."""
    head = commands.add_parser("head-model", help="prepare a FLAME file")
    kinds = head.add_subparsers(title="kinds", metavar="KIND", required=True)
    embed = kinds.add_parser(
        "embed",
        help="MediaPipe's 468 points on FLAME's surface",
        description="Register MediaPipe's canonical face mesh to a FLAME file's mean head, so that fits need no "
        "landmark embedding of FLAME's. Beside the FLAME file, which is the default, fits use it.",
    )
    embed.add_argument("flame", metavar="FLAME.pkl", help="a FLAME file, or the name of a release")
    embed.add_argument("--out", type=Path, metavar="FILE.npz", help="default: beside the FLAME file")
    embed.add_argument("--picture", type=Path, metavar="FILE.png", help="draw the points on the mean head")
    embed.set_defaults(run=_embed)


def _embed(options: argparse.Namespace) -> int:
    from multitalk.ground.settings import ConfigError

    for name, suffix in (("out", ".npz"), ("picture", ".png")):
        place = getattr(options, name)
        if place is not None and place.suffix != suffix:
            raise ConfigError(f"--{name}: {place} must end in {suffix}")
    from multitalk.flows.modelling.landmark_embedding import embed

    place, figures = embed(options.flame, options.out, options.picture)
    print(place)
    for name, value in figures.items():
        print(f"{name:62} {value:.2f}")
    return 0

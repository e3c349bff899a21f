"""The ``multitalk`` command: its commands in the order of the work, and what becomes of their errors.

Progress goes to stderr, results to stdout. Exit status: 0 when the run finished, 2 for unusable arguments
or configuration, 1 when the run could not finish, or nothing came out of it. A command's module is imported
when the command is called.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cyclopts import App, Group, Parameter

from multitalk.flows.commands.faults import logged, message_of, status_of
from multitalk.flows.commands.words import OPTIONS

_GOES_ON = "what was finished is kept, the same command goes on from there"
_HERE = "multitalk.flows.commands"


@dataclass(frozen=True, slots=True)
class Listed:
    """A command as ``multitalk --help`` lists it."""

    name: str
    place: str
    """Module and function, imported when the command is called."""
    help: str
    """A line for the list; below a blank one, what its own help says besides."""
    if_stopped: str = ""
    """Said on Ctrl-C."""


COMMANDS: dict[str, tuple[Listed, ...]] = {
    "Build a dataset": (
        Listed(
            "discover",
            "discover:discover",
            "Find clips in raw videos and write annotations.\n\n"
            "Find where one person's face is well seen and heard speaking, in video files or at URLs of videos, "
            "playlists and channels; run again to continue.",
            _GOES_ON,
        ),
        Listed(
            "build",
            "build:build",
            "Build a dataset out of annotations.\n\n"
            "Download, trim, track, fit and measure every annotated clip; run again to continue.",
            _GOES_ON,
        ),
        Listed(
            "import",
            "exchange:import_clips",
            "Take data in the published trainer's layout into a dataset.\n\n"
            "Encode npy/<Language>_<clip_id>.npz (vertices) on a head model and take them with wav/ into a dataset. "
            "Every clip ends as a row; the same command again goes on where it was stopped.",
            _GOES_ON,
        ),
        Listed(
            "sync",
            "models:sync",
            "Learn audio-visual sync from the dataset and rescore its clips.\n\n"
            "Learn from all source videos how lips go with sound, rescore the sync of every clip, and keep what was "
            "learned for later builds.",
        ),
        Listed(
            "persons",
            "data:persons",
            "Tell the persons of all clips apart.\n\n"
            "Cluster the faces and voices of all source videos into persons, as every build does at its end, and say "
            "how many there are; or delete all that describes them.",
        ),
        Listed(
            "filter",
            "data:filter_clips",
            "Apply a policy: accept or reject each clip.\n\n"
            "Apply a policy to all clips, without touching a video, and print what each rule takes away.",
        ),
    ),
    "Look at it": (
        Listed(
            "query",
            "data:query",
            "Ask the dataset in SQL.\n\nRun one SELECT over the tables clips, motion and landmarks.",
        ),
        Listed(
            "report",
            "release:report",
            "Write one HTML page that shows what the dataset is.\n\n"
            "Write one self-contained page: sizes, distributions, what the policy takes away, failures, clips.",
        ),
        Listed(
            "status",
            "build:status",
            "Say how far a build is.\n\n"
            "Say how far the newest build at a root is, how fast, how long still, what failed and what is slow; from "
            "any shell that sees the root.",
        ),
        Listed(
            "preview",
            "models:preview",
            "Write a video that shows how one clip was fitted.\n\n"
            "Write a video of one clip: landmarks, the fitted mesh over it and from the side, lip gap and residual as "
            "curves, with sound.",
        ),
        Listed(
            "view",
            "models:view",
            "Write a page with the moving head, its sound and curves, that opens anywhere.\n\n"
            "One HTML file, no network: the head turns under the mouse; sound, video, weights and curves keep in "
            "step, in slow motion and frame by frame; several clips, or a talker and the truth, side by side.",
        ),
        Listed(
            "verify",
            "release:verify",
            "Check every file against the manifest.\n\n"
            "Check media, motion and releases. Exit status 1 when anything is missing, damaged or contradictory.",
        ),
    ),
    "Release and hand on": (
        Listed(
            "release",
            "release:release",
            "Freeze the accepted clips with their split, hashed.\n\n"
            "Freeze manifest, policy and split as releases/NAME, with checksums, a dataset card and Croissant "
            "metadata.",
        ),
        Listed(
            "export",
            "exchange:export",
            "Write the clips in the layout of another program.\n\n"
            "Write the clips of a release, or all accepted ones, for other programs. Pictures are in no layout.",
        ),
        Listed(
            "convert",
            "exchange:convert",
            "Give motion to another head model.\n\n"
            "FLAME to ARKit's weights and back: the same points of both faces move alike, closed lips stay closed, "
            "weights keep to 0..1.",
        ),
        Listed(
            "remove",
            "release:remove",
            "Take source videos or clips out for good.\n\n"
            "Delete all that is there of them; a tombstone row stays, and no later build brings them back. "
            "Exit status 1 where nothing was removed.",
        ),
    ),
    "Train and talk": (
        Listed(
            "train",
            "models:train",
            "Train a motion prior, then a talker.\n\n"
            "Train on accepted clips, or on a release. The talker speaks through the prior of --out.",
            "go on with --resume",
        ),
        Listed(
            "talk",
            "models:talk",
            "Speech in, moving face out.\n\n"
            "Speak sound files of any length: vertices and motion (.npz, .npy), a video with the sound, or "
            "files for engines (.glb, .usd, .csv, .json).",
        ),
        Listed("head-model", "models:head_model", "Prepare a FLAME file for fits."),
    ),
    "Evaluate": (
        Listed(
            "evaluate",
            "evaluate:evaluate",
            "Measure what models predict: motion, and what is read off the lips.",
            _GOES_ON,
        ),
    ),
    "This machine": (
        Listed(
            "demo",
            "system:demo",
            "Build a small dataset offline, out of videos made on the spot, and show what comes out.",
        ),
        Listed("doctor", "system:doctor", "Say what a build needs of this machine, and what is missing."),
        Listed("assets", "system:assets", "Model files: what for, licence, where, how to get them."),
    ),
}


def application() -> App:
    """Return the application with all commands, none of which is imported yet."""
    app = App(
        name="multitalk",
        help="Datasets and models for speech-driven 3D talking heads in many languages.",
        version=_version,
        help_format="plaintext",
        default_parameter=Parameter(negative_iterable=()),
        group_commands=Group("Help", sort_key=99),
        group_parameters=OPTIONS,
        suppress_keyboard_interrupt=False,
        exit_on_error=False,
        print_error=False,
        result_action="return_value",
    )
    for index, (title, commands) in enumerate(COMMANDS.items()):
        group = Group(title, sort_key=index)
        for order, command in enumerate(commands):
            app.command(
                f"{_HERE}.{command.place}",
                name=command.name,
                help=command.help,
                group=group,
                sort_key=order,
            )
    app.register_install_completion_command(help="Let the shell complete commands and options.")
    return app


def _version() -> str:
    from importlib.metadata import version

    return version("multitalk")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``multitalk``; returns the exit status."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with logged(_root_in(tokens)):
            return _run(tokens)
    except KeyboardInterrupt:
        hints = [c.if_stopped for commands in COMMANDS.values() for c in commands if [c.name] == tokens[:1]]
        print("; ".join(["multitalk: stopped", *filter(None, hints)]), file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of a pipe went away (`| head`); writing at exit must not fail a second time.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        print(f"multitalk: error: {message_of(error)}", file=sys.stderr)
        return status_of(error) or 1


def _run(tokens: list[str]) -> int:
    status = application()(tokens)
    if isinstance(status, int):
        return status
    # Help or the version was printed: because it was asked for, or because nothing was said to be done.
    return 0 if any(token.startswith("-") for token in tokens) else 2


def _root_in(tokens: Sequence[str]) -> Path | None:
    """Folder that `--root` names, where a log can lie if the command does not get so far as to know it."""
    for token, following in zip(tokens, [*tokens, ""][1:], strict=True):
        name, _, value = token.partition("=")
        if name == "--root" and (value or following):
            return Path(value or following)
    return None


if __name__ == "__main__":
    sys.exit(main())

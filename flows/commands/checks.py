"""Mistakes that can be told before anything heavy is imported: files, folders and names that are not there."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from multitalk.ground.nearest import did_you_mean
from multitalk.ground.settings import SettingsError

_QUICKLY_READ_BYTES = (
    20_000_000  # of JSON, in a quarter of a second; what is wrong in more is told by the plan
)


def check_root(root: Path) -> None:
    """Try whether a dataset's folder can be made and written to; it is left as it was, or not there.

    Raises
    ------
    SettingsError
        It can not be made, or nothing can be written in it.
    """
    missing = [folder for folder in (root, *root.parents) if not os.path.lexists(folder)]
    try:
        root.mkdir(parents=True, exist_ok=True)
        writable = os.access(root, os.W_OK | os.X_OK)
    except OSError as error:
        reason = error.strerror or error
        raise SettingsError(f"root: {root} can not be made ({reason}): choose another --root") from error
    finally:
        for folder in missing:
            with contextlib.suppress(OSError):  # not made, or in use by now
                folder.rmdir()
    if not writable:
        raise SettingsError(f"root: nothing can be written in {root}: choose another --root")


def check_dataset(root: Path) -> None:
    """Raise DatasetError where there is no dataset at `root`."""
    from multitalk.manifests.paths import languages

    languages(root)


def check_annotations(patterns: Iterable[str], wanted: Iterable[str]) -> None:
    """Look into annotation files, unless they are so large that this takes long.

    Raises
    ------
    AnnotationFileError
        One is missing, or no JSON of clips.
    SettingsError
        No file fits a pattern, no clip is in them, or none of a wanted language.
    """
    from multitalk.extract.annotation_json import AnnotationFileError, read_entries
    from multitalk.flows.building.plan import annotation_files

    files = annotation_files(patterns)
    for path in files:
        if not path.exists():
            raise AnnotationFileError(f"{path}: no such annotation file")
    if sum(path.stat().st_size for path in files) > _QUICKLY_READ_BYTES:
        return
    clips = [clip for path in files for _, clip in read_entries(path)]
    if not clips:
        raise SettingsError(f"annotations: no clip is annotated in {', '.join(map(str, files))}")
    there = {str(clip.get("language", "")).lower() for clip in clips if isinstance(clip, dict)} - {""}
    for language in wanted:
        if language not in there:
            raise SettingsError(
                f"languages: nothing is annotated as {language}; there is {', '.join(sorted(there))}"
                + did_you_mean(language, there)
            )


def check_policy(source: str | Path | None) -> None:
    """Raise PolicyError for a policy that can not be used."""
    if source is None:
        return
    from multitalk.filters.policy import load_policy
    from multitalk.manifests.schema import MANIFEST

    load_policy(source, MANIFEST)


def check_head_model(name: str | None) -> None:
    """Raise SettingsError for what is neither a head model's name nor a file."""
    from multitalk.assets.registry import REGISTRY

    if name is None or name in REGISTRY or Path(name).exists():
        return
    names = head_model_names()
    if name not in names:
        what = "no such file" if os.sep in name or Path(name).suffix else "no such head model"
        raise SettingsError(
            f"head_model: {name}: {what}; there are {', '.join(names)}{did_you_mean(name, names)}"
        )


def head_model_names() -> list[str]:
    """Names that a head model can have."""
    from multitalk.assets.registry import REGISTRY

    parts = ("flame_landmark_embedding", "flame_mediapipe_embedding", "flame_masks")
    return [
        "canonical",
        "anny",
        *(name for name in REGISTRY if name.startswith("flame_") and name not in parts),
    ]


def check_preset(name: str) -> None:
    """Raise UnknownPresetError for a preset of training that there is none of."""
    from multitalk.training.presets import prior_preset

    prior_preset(name)


def check_files(option: str, *files: Path) -> None:
    """Raise SettingsError for the first of an option's files that is not there."""
    for path in files:
        if not path.exists():
            raise SettingsError(f"{option}: {path}: no such file")


def check_suffix(path: Path, *suffixes: str, option: str = "--out") -> None:
    """Raise SettingsError for a file whose name does not end as it must."""
    if path.suffix not in suffixes:
        raise SettingsError(f"{option}: {path} must end in {' or '.join(suffixes)}")

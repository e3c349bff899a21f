"""What a command that fails says and returns: one line and an exit status, never a library's traceback."""

import contextlib
import errno
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

_USAGE_ERRORS = (
    "HeadModelError",
    "UntrustedFileError",
    "SettingsError",
    "AnnotationFileError",
    "PolicyError",
    "QueryError",
    "DatasetError",
    "UnsafeNameError",
    "MotionError",
    "UnknownAsset",
    "VertexFileError",
    "RegionError",
    "MediaError",
    "RenderError",
    "UsdMissingError",
    "CheckpointError",
    "WeightsError",
    "VocabularyError",
    "LayoutError",
    "TrainingError",
    "NoTrainingDataError",
    "UnknownPresetError",
    "UnknownLanguageError",
    "AudioEncoderError",
    "TalkError",
    "CycloptsError",
)
_RUN_ERRORS = (
    "AssetError",
    "AssetMissing",
    "AssetCorrupt",
    "LipReaderMissingError",
    "DownloadFailed",
    "FfmpegMissingError",
    "ClipError",
    "PrefectServerError",
    "UnforeseenError",
)


class UnforeseenError(Exception):
    """Something went wrong that nobody has thought of; the message names the log with its trace."""


def status_of(error: Exception) -> int | None:
    """Exit status for an error that is the user's to mend; None for a fault of ours, whose trace is kept."""
    # By name, since importing them all would take seconds.
    names = {kind.__name__ for kind in type(error).__mro__}
    if names.intersection(_USAGE_ERRORS):
        return 2
    if names.intersection(_RUN_ERRORS):
        return 1
    if isinstance(error, NotADirectoryError | IsADirectoryError | FileExistsError):
        return 2
    return 1 if isinstance(error, PermissionError) or getattr(error, "errno", None) in _FULL else None


def message_of(error: Exception) -> str:
    """Say what an error of `status_of` was; of the system's, with the file that it is about."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename2 or error.filename}: {error.strerror}"
    return str(error)


@contextlib.contextmanager
def logged(root: Path | None) -> Iterator[None]:
    """Keep the trace of an error that nobody has thought of in a file, and raise one line instead.

    Parameters
    ----------
    root
        Folder of the dataset that is at work, whose ``.runs`` gets the file; the user's cache folder where there
        is none.

    Raises
    ------
    UnforeseenError
        In place of any error without a status.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except Exception as error:
        if status_of(error) is not None:
            raise
        place = _write_log(root, "".join(traceback.format_exception(error)))
        first = (str(error).strip().splitlines() or [""])[0][:300]
        message = (
            f"unforeseen {type(error).__name__}{': ' + first if first else ''}; the whole trace: {place}"
        )
        raise UnforeseenError(message) from error


def _write_log(root: Path | None, text: str) -> Path:
    """Write a trace to the first of several places that takes it."""
    name = f"error-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.log"
    heading = f"multitalk {' '.join(sys.argv[1:])}\nPython {sys.version}\n\n"
    places = [Path(tempfile.gettempdir())]
    with contextlib.suppress(Exception):  # without a home folder there is no cache
        from multitalk.assets.fetch import cache_directory

        places.insert(0, cache_directory() / "logs")
    if root is not None and root.is_dir():
        places.insert(0, root / ".runs")
    for folder in places:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(heading + text, "utf-8", errors="backslashreplace")
            return folder / name
    sys.stderr.write(text)  # nowhere to keep it, and it must not be lost
    return Path("none could be written, see above")

"""The closed set of reasons why a clip, or a whole source video, can fail."""

from __future__ import annotations

import errno
import logging
import traceback
from enum import StrEnum

_log = logging.getLogger(__name__)

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""System errors that mean: the disk, the user's quota, or what a file may hold at most is full."""


class ErrorCode(StrEnum):
    """Why there is no clip: the value of the manifest's column ``error_code``."""

    INVALID_ANNOTATION = "invalid_annotation"
    """The annotation contradicts itself or lacks what a clip needs."""
    VIDEO_UNAVAILABLE = "video_unavailable"
    """The source says that the video does not exist (any more), or not as a downloadable video."""
    PRIVATE = "private"
    """The video exists, for other viewers: private, for members, or behind a login or payment."""
    GEO_BLOCKED = "geo_blocked"
    """The video is not shown in the country that the request came from."""
    AGE_RESTRICTED = "age_restricted"
    """The source wants to know the viewer's age; cookies of an adult's account help."""
    BOT_CHECK = "bot_check"
    """The source took the downloader for a robot; cookies, another proxy or a pause help."""
    RATE_LIMITED = "rate_limited"
    """The source asked to slow down."""
    NETWORK = "network"
    """The connection failed, stalled or broke, or the server had a fault of its own."""
    DOWNLOAD_FAILED = "download_failed"
    """yt-dlp failed with a message that no rule of ours knows: never taken for permanent."""
    DISK_FULL = "disk_full"
    """A file could not be written for want of space."""
    CORRUPT_MEDIA = "corrupt_media"
    """The file is not a video, or it can not be decoded where the clip lies."""
    TOO_LARGE = "too_large"
    """The file has more pixels, streams, hours or bytes than the settings allow, or takes more memory."""
    NO_AUDIO = "no_audio"
    """The source video has no audio stream."""
    FPS_TOO_LOW = "fps_too_low"
    """The source video has fewer frames a second than the dataset asks for."""
    INTERVAL_OUTSIDE_VIDEO = "interval_outside_video"
    """The annotated interval ends after the source video does."""
    NO_FACE = "no_face"
    """No usable face was found where the annotation says there is one."""
    FIT_DIVERGED = "fit_diverged"
    """The head model could not be fitted to the landmarks."""
    REMOVED = "removed"
    """The source video is on the dataset's take-down list: it was removed, and is never fetched again."""
    INTERNAL = "internal"
    """A fault of this program or of the machine, not of the input."""

    @property
    def transient(self) -> bool:
        """Whether the same input may well succeed later, so that trying again is worth it."""
        return self in _TRANSIENT


_TRANSIENT = frozenset(
    {
        ErrorCode.BOT_CHECK,
        ErrorCode.RATE_LIMITED,
        ErrorCode.NETWORK,
        ErrorCode.DOWNLOAD_FAILED,
        ErrorCode.DISK_FULL,
        ErrorCode.INTERNAL,
    }
)


class Stage(StrEnum):
    """The steps of a clip's way, in their order: values of the manifest's columns ``stage``."""

    ANNOTATION = "annotation"
    """Reading the annotation; what fails here has no way."""
    SOURCE = "source"
    """The source video is fetched."""
    TRIM = "trim"
    """Picture and sound of the clip are cut out of it."""
    LANDMARKS = "landmarks"
    """The face is detected and tracked."""
    IMAGE = "image"
    """Metrics of the picture and of the head's pose."""
    TEXT = "text"
    """Text is looked for near the face."""
    FIT = "fit"
    """The head model is fitted to the landmarks."""
    SPEECH = "speech"
    """Speech is found in the sound and measured."""
    LANGUAGE = "language"
    """The spoken language is identified."""
    TRANSCRIPT = "transcript"
    """Words are recognised and compared with the annotated ones."""
    SPEAKING = "speaking"
    """Whether the face speaks is judged by LR-ASD."""
    VIDEO_LANGUAGE = "video_language"
    """The spoken language is identified over all clips of the source video."""
    SYNC = "sync"
    """Sound and lips are compared, over all clips of a source video."""
    PERSONS = "persons"
    """Face and voice are described, so that persons can be told apart."""
    WORKER = "worker"
    """No step: the process that did the work died, or hung."""


class ClipError(Exception):
    """A clip, or all clips of a source video, can not be made.

    Parameters
    ----------
    code
        The reason, out of the closed set.
    message
        One line or a few for the user: what happened, to which file or clip, what to do.
    stage
        Where it happened.
    attempts
        How often it was tried before giving up.
    """

    def __init__(self, code: ErrorCode, message: str, stage: Stage, attempts: int = 1) -> None:
        # All go to Exception, so that the error survives pickling between processes.
        super().__init__(code, message, stage, attempts)
        self.code = code
        self.message = message
        self.stage = stage
        self.attempts = attempts

    def __str__(self) -> str:
        """Return the message for the user."""
        return self.message


def as_clip_error(error: Exception, name: str, stage: Stage) -> ClipError:
    """Give any exception the code that fits it; one that nobody foresaw is logged with its trace."""
    if isinstance(error, ClipError):
        return error
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        message = f"{name}: no space left on the disk at stage {stage}; free some and run again"
        return ClipError(ErrorCode.DISK_FULL, message, stage)
    _log.error("%s, stage %s:\n%s", name, stage, "".join(traceback.format_exception(error)))
    message = f"{name}: {type(error).__name__} at stage {stage}: {error}"
    return ClipError(ErrorCode.INTERNAL, message, stage)

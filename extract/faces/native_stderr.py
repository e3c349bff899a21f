"""What C++ libraries write to stderr by themselves, and how to keep the known part of it away."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# MediaPipe and LiteRT say this at every start; no environment variable that they or their logger know turns it off.
MEDIAPIPE_CHATTER = re.compile(
    rb"WARNING: (Logging before InitGoogle|All log messages before)|[IW]\d{4} \d\d:|INFO: Created TensorFlow Lite"
)

_STDERR = 2
_REDIRECTING = threading.Lock()  # the descriptor belongs to the whole process


@contextmanager
def without_lines(pattern: re.Pattern[bytes]) -> Iterator[None]:
    """Keep lines that start like `pattern` off the process's stderr while the block runs.

    All other lines, whoever writes them, appear when the block ends, so it should be a short one. A process
    without a stderr is left alone.
    """
    with _REDIRECTING:
        try:
            original = os.dup(_STDERR)
        except OSError:
            original = None
        if original is None:
            yield
            return
        with tempfile.TemporaryFile() as caught:
            sys.stderr.flush()
            os.dup2(caught.fileno(), _STDERR)
            try:
                yield
            finally:
                sys.stderr.flush()
                os.dup2(original, _STDERR)
                os.close(original)
                caught.seek(0)
                for line in caught:
                    if not pattern.match(line):
                        os.write(_STDERR, line)

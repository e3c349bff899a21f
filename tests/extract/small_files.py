"""A disk that is full: no file may become larger than some bytes."""

import contextlib
import resource
from collections.abc import Iterator


@contextlib.contextmanager
def small_files(largest: int) -> Iterator[None]:
    """Let nothing that this process or one started by it writes become larger than so many bytes.

    Around the one call in question, not a fixture: pytest's own report may go to a file that is larger.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

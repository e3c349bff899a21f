"""Killing a step of work between any two things that it does to the disk."""

import itertools
import os
from contextlib import contextmanager, suppress


class Killed(BaseException):
    """What stands for SIGKILL: from then on, the process does nothing to the disk any more."""


@contextmanager
def killed_at(monkeypatch, number):
    """Let `number` changes of the disk happen, and none after that; tells in a list whether it came to that."""
    count, dead = itertools.count(), []

    def limited(function):
        def call(*arguments, **options):
            if dead or next(count) >= number:
                dead.append(True)
                raise Killed
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for name in ("replace", "unlink", "rmdir"):
            patch.setattr(os, name, limited(getattr(os, name)))
        patch.setattr(os, "fsync", limited(lambda handle: None))  # what is written is seen at once anyway
        with suppress(Killed):
            yield dead

"""The frames of a clip one after the other, with no more than a few of them in memory."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from multitalk.extract.errors import ClipError, ErrorCode, Stage

Frame = npt.NDArray[np.uint8]

_AHEAD = 8  # decoded frames in waiting: 6 MB, whatever the length of the clip


class ClipFrames:
    """Iterates over the RGB frames (H, W, 3) of a clip, decoded by a thread that runs a few frames ahead.

    A context manager. Iterating raises ClipError (``corrupt_media``) if the clip can not be decoded.
    """

    def __init__(self, clip: Path) -> None:
        self._clip = clip
        self._queue: queue.Queue[Frame | Exception | None] = queue.Queue(_AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._decode, name="decode", daemon=True)

    def __enter__(self) -> Iterator[Frame]:
        self._thread.start()
        return self._frames()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _frames(self) -> Iterator[Frame]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    def _decode(self) -> None:
        import av

        last: Exception | None = None
        try:
            with av.open(str(self._clip)) as container:
                for frame in container.decode(video=0):
                    if not self._put(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)):
                        return
        except (av.FFmpegError, IndexError) as error:  # not a video, damaged, or without a picture
            message = f"{self._clip.name} can not be decoded: {error}"
            last = ClipError(ErrorCode.CORRUPT_MEDIA, message, Stage.LANDMARKS)
        except Exception as error:  # whatever it is, the reading thread must not wait for ever
            last = error
        self._put(last)

    def _put(self, item: Frame | Exception | None) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

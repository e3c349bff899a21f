"""Speech for the demo, synthesised by eSpeak NG: offline, small, and recognised by Whisper."""

from __future__ import annotations

import ctypes
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 22_050
"""Samples a second of all that `synthesise` returns."""

# AUDIO_OUTPUT_SYNCHRONOUS: samples go to the callback, espeak_Synth returns when all are made.
_SYNCHRONOUS = 2
_UTF8 = 1
_RATE, _PITCH = 1, 3  # espeak_PARAMETER
_FRESH_PROCESS_SEC = 60.0


@dataclass(frozen=True, slots=True)
class Sentence:
    """What is said, and by which voice."""

    voice: str
    """eSpeak NG's name of the voice, such as `de` or `en-us`."""
    text: str
    pitch: int = 50
    """0 to 100."""
    words_per_minute: int = 150


def synthesise(sentences: Sequence[Sentence]) -> list[npt.NDArray[np.float32]]:
    """Synthesise sentences.

    eSpeak NG's noise depends on what the library has said before, so it runs in a process of its own: the
    same sentences then give the same samples.

    Parameters
    ----------
    sentences : sequence of Sentence

    Returns
    -------
    list of ndarray, float32 (samples,)
        In -1..1 at `SAMPLE_RATE`, one array a sentence.

    Raises
    ------
    RuntimeError
        The extra `demo` is not installed, or a voice is unknown.
    """
    request = json.dumps([asdict(sentence) for sentence in sentences])
    done = subprocess.run(
        [sys.executable, "-P", "-m", "multitalk.flows.demo.speech"],
        input=request.encode(),
        capture_output=True,
        timeout=_FRESH_PROCESS_SEC,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(
            f"The demo's speech could not be made: {done.stderr.decode(errors='replace').strip()}"
        )
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as samples:
        return [samples[f"arr_{index}"].astype(np.float32) / 32_768 for index in range(len(sentences))]


def _synthesise(sentences: Sequence[Sentence]) -> list[npt.NDArray[np.int16]]:
    library = _open_library()
    received: list[npt.NDArray[np.int16]] = []

    def take(samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int | None) -> int:
        if samples and count > 0:
            received.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    pointer = ctypes.POINTER(ctypes.c_short)
    callback = ctypes.CFUNCTYPE(ctypes.c_int, pointer, ctypes.c_int, ctypes.c_void_p)(take)
    library.espeak_SetSynthCallback(callback)
    spoken = []
    for sentence in sentences:
        received.clear()
        if library.espeak_SetVoiceByName(sentence.voice.encode()) != 0:
            raise RuntimeError(f"eSpeak NG has no voice {sentence.voice!r}")
        library.espeak_SetParameter(_RATE, sentence.words_per_minute, 0)
        library.espeak_SetParameter(_PITCH, sentence.pitch, 0)
        text = sentence.text.encode()
        library.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, 1, 0, _UTF8, None, None)
        spoken.append(np.concatenate(received))
    return spoken


def _open_library() -> ctypes.CDLL:
    try:
        import espeakng_loader
    except ImportError as error:
        raise RuntimeError("eSpeak NG is not installed: pip install 'multitalk[demo]'") from error
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    data = espeakng_loader.get_data_path().encode()
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, data, 0)
    if rate != SAMPLE_RATE:
        raise RuntimeError(f"eSpeak NG did not start (it answered {rate})")
    return library


def _main() -> None:
    sentences = [Sentence(**fields) for fields in json.load(sys.stdin)]
    try:
        spoken = _synthesise(sentences)
    except RuntimeError as error:
        sys.exit(str(error))
    content = io.BytesIO()
    np.savez(content, *spoken)
    sys.stdout.buffer.write(content.getvalue())


if __name__ == "__main__":
    _main()

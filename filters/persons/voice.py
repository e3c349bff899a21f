"""A voice as 256 numbers: GE2E (Wan et al., "Generalized end-to-end loss for speaker verification", ICASSP 2018).

Own implementation of the network whose weights Resemblyzer publishes (Apache-2.0). The recordings that it was trained
on are of 16 kHz; what is no speech has to be left out of what it hears.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from multitalk.ground.devices import chosen_device
from multitalk.ground.mel import triangles
from multitalk.ground.units import AUDIO_RATE

if TYPE_CHECKING:
    from torch import nn

    from multitalk.ground.arrays import Array, Float32, Float64

VOICE_SIZE = 256
SHORTEST_SEC = 0.8
"""Of less speech no voice is told."""

_BANDS, _HIDDEN, _LAYERS = 40, 256, 3
_WINDOW, _STEP = 400, 160  # 25 ms, 10 ms
_SEEN = 160  # steps that the network hears at a time: 1.6 s
_APART = 77  # steps between two of these, as Resemblyzer takes them
_LOUDNESS_DBFS = -30.0


class VoiceEncoder:
    """The network on one device. Deterministic on the CPU.

    Parameters
    ----------
    weights
        Resemblyzer's `pretrained.pt` (the asset `voice_encoder`).
    device
        Torch device; None takes CUDA where there is one.

    Raises
    ------
    ValueError
        The file holds other weights.
    """

    def __init__(self, weights: Path, device: str | None = None) -> None:

        self._device = chosen_device(device)
        self._lstm, self._linear = (part.to(self._device).eval() for part in _load(weights))

    def embed(self, speech: npt.NDArray[np.float32]) -> "Float32[Array, ' 256'] | None":
        """Describe a voice.

        Parameters
        ----------
        speech
            (N,) floats in -1..1, 16 kHz: speech without its pauses.

        Returns
        -------
        (256,) float32 of length 1: the mean over windows of 1.6 s. Two of them have a scalar product in 0..1, higher
        for the same voice. None where there is less than `SHORTEST_SEC` of speech, or only silence.
        """
        import torch

        if len(speech) < SHORTEST_SEC * AUDIO_RATE or not np.any(speech):
            return None
        windows = _windows(mel_spectrum(_at_loudness(speech)))
        with torch.inference_mode():
            _, (hidden, _) = self._lstm(torch.from_numpy(windows).to(self._device))
            each = torch.relu(self._linear(hidden[-1]))
            each = each / each.norm(dim=1, keepdim=True).clamp_min(1e-9)
            mean = each.mean(dim=0)
            found = mean / mean.norm().clamp_min(1e-9)
        return np.asarray(found.cpu().numpy(), np.float32)


def mel_spectrum(speech: npt.NDArray[np.float32]) -> "Float32[Array, 'steps 40']":
    """Power in 40 bands of Slaney's mel scale, (1 + N // 160, 40): a row each 10 ms, not in decibels.

    Parameters
    ----------
    speech
        (N,) floats in -1..1, 16 kHz.
    """
    padded = np.pad(speech, _WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_STEP]
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)).astype(np.float32)
    power = np.abs(np.fft.rfft(frames * hann)) ** 2
    return np.asarray(power @ _bands().T, np.float32)


def _bands() -> "Float64[Array, '40 bins']":
    """Slaney's triangles of equal area: a straight scale up to 1 kHz, logarithmic above."""
    top = 15 + 27 * np.log(AUDIO_RATE / 2 / 1000) / np.log(6.4)
    mel = np.linspace(0, top, _BANDS + 2)
    corners = np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))
    bins = np.fft.rfftfreq(_WINDOW, 1 / AUDIO_RATE)
    return np.asarray(triangles(corners, bins) * (2 / (corners[2:] - corners[:-2]))[:, None])


def _windows(mel: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Overlapping windows (B, 160, 40); the last one may be a quarter empty."""
    count = 1 + max(0, -(-(len(mel) - _SEEN) // _APART))
    if count > 1 and (len(mel) - (count - 1) * _APART) < 0.75 * _SEEN:
        count -= 1
    mel = np.pad(mel, ((0, max(0, (count - 1) * _APART + _SEEN - len(mel))), (0, 0)))
    return np.stack([mel[at : at + _SEEN] for at in range(0, count * _APART, _APART)])


def _at_loudness(speech: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Raise what is quieter than the recordings that the network was trained on."""
    loudness = 10 * np.log10(np.mean(np.square(speech, dtype=np.float64)))
    return speech * np.float32(10 ** (max(0.0, _LOUDNESS_DBFS - loudness) / 20))


def _load(weights: Path) -> tuple["nn.LSTM", "nn.Linear"]:
    from torch import nn

    from multitalk.ground.untrusted.checkpoint_file import CheckpointError, read_content

    lstm = nn.LSTM(_BANDS, _HIDDEN, _LAYERS, batch_first=True)
    linear = nn.Linear(_HIDDEN, VOICE_SIZE)
    try:
        state: dict[str, Any] = read_content(weights)["model_state"]
        for name, part in (("lstm", lstm), ("linear", linear)):
            part.load_state_dict(
                {
                    key.removeprefix(f"{name}."): value
                    for key, value in state.items()
                    if key.startswith(f"{name}.")
                }
            )
    except (CheckpointError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        first = str(error).partition("\n")[0]
        raise ValueError(f"{weights} does not hold Resemblyzer's weights ({first})") from error
    return lstm, linear

"""What is known of mouths and sound before any video was seen: a predictor of twelve numbers.

Open vowels are strong between 0.8 and 2.6 kHz, where the first two formants of an open mouth lie; closures, nasals
and hum keep what is below 0.3 kHz. The lips part and the jaw falls with the former and not with the latter, and the
mouth widens with higher formants. So four broad bands, smoothed over 120 ms, tell most of what a regression on
twenty bands learns from a handful of videos, and nothing of a speaker, a microphone or a language.

The numbers are those of a ridge regression on real videos of five speakers, rounded to what they agree on. Learned
from four of the five and judged on the fifth, they part true videos from dubbed ones with an area under the curve
of 0.997 (5 true, 116 exchanged or dubbed; `benchmarks.quality` measures it again).
"""

import numpy as np

from multitalk.filters.sync.features import MEL_BANDS
from multitalk.filters.sync.predictor import SyncPredictor
from multitalk.filters.sync.score import CONTEXT

VERSION = 1
"""Raised with every change of the numbers."""

# Lip gap, nose-chin distance, mouth width for each natural logarithm of power in a quarter of the mel bands:
# about 60 to 600, 600 to 1,600, 1,600 to 3,500 and 3,500 to 7,600 Hz.
_OPENINGS_OF_BANDS = np.array([[-1.0, -0.6, -0.5], [0.5, 0.5, -0.5], [1.0, 1.0, 1.0], [0.2, -0.15, 0.0]])
_SMOOTHING = np.exp(-0.5 * np.arange(-CONTEXT, CONTEXT + 1) ** 2)  # a Gaussian whose deviation is a frame


def prior_predictor() -> SyncPredictor:
    """Return the predictor; its openings have no unit, for only their correlation counts."""
    bands = np.repeat(_OPENINGS_OF_BANDS, MEL_BANDS // len(_OPENINGS_OF_BANDS), axis=0)
    return SyncPredictor(np.vstack([weight * bands for weight in _SMOOTHING / _SMOOTHING.sum()]))

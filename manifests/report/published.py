"""MultiTalk's published size, for the report page to set a dataset beside.

Source: README of the authors' `MultiTalk_dataset` folder (https://github.com/postech-ami/MultiTalk).
"""

from types import MappingProxyType

HOURS = MappingProxyType(
    {
        "arabic": 10.32,
        "catalan": 41.0,
        "croatian": 41.0,
        "czech": 18.9,
        "dutch": 17.05,
        "english": 15.49,
        "french": 13.17,
        "german": 16.25,
        "greek": 17.53,
        "hindi": 24.41,
        "italian": 13.59,
        "japanese": 8.36,
        "mandarin": 8.73,
        "polish": 21.58,
        "portuguese": 41.0,
        "russian": 26.32,
        "spanish": 23.65,
        "thai": 10.95,
        "turkish": 12.9,
        "ukrainian": 41.0,
    }
)
"""Hours of each language."""

CLIPS = 293_812
TOTAL_HOURS = sum(HOURS.values())

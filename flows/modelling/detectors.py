"""The landmark detector that the settings name, with its model files."""

import importlib.util

from multitalk.assets.fetch import require
from multitalk.extract.faces.face_alignment import FaceAlignmentDetector
from multitalk.extract.faces.landmarks import FaceDetector, LandmarkSettings, MediaPipeDetector
from multitalk.ground.face_layout import IBUG_68, MEDIAPIPE_478, FaceLayout
from multitalk.ground.settings import SettingsError


def face_detector(settings: LandmarkSettings) -> FaceDetector:
    """Make the detector.

    Raises
    ------
    SettingsError
        The extra that brings it is not installed.
    AssetMissing, AssetCorrupt
        A model file is not here, or not the published one; the message says where to get it.
    """
    if settings.backend == "mediapipe":
        return MediaPipeDetector(require("face_landmarker"), settings)
    if importlib.util.find_spec("face_alignment") is None:
        raise SettingsError(
            "landmarks.backend: face-alignment needs the extra of its name: pip install multitalk[face-alignment]"
        )
    networks, detector = require("face_alignment"), require(settings.face_alignment.detector)
    return FaceAlignmentDetector(networks, detector, settings)


def detected_layout(settings: LandmarkSettings) -> FaceLayout:
    """Return the layout of the landmarks that the detector gives."""
    return MEDIAPIPE_478 if settings.backend == "mediapipe" else IBUG_68

"""Versions of the tools that made a row, stage by stage: the manifest's column `tool_versions`."""

import importlib.metadata
from collections.abc import Mapping

from multitalk.extract.errors import Stage
from multitalk.extract.ffmpeg import ffmpeg_version
from multitalk.flows.building.fitting import regressor_version
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.modelling.sync_predictor import PREDICTOR, VERSION_KEY, predictor_version

_PACKAGES: Mapping[Stage, tuple[str, ...]] = {
    Stage.SOURCE: ("yt-dlp",),
    Stage.LANDMARKS: ("ai-edge-litert", "face-alignment"),
    Stage.FIT: ("torch",),
    Stage.SPEECH: ("silero-vad",),
    Stage.LANGUAGE: ("faster-whisper", "ctranslate2"),
    Stage.VIDEO_LANGUAGE: ("faster-whisper", "ctranslate2"),
    Stage.PERSONS: ("torch",),
}
_OTHERS: Mapping[Stage, tuple[str, ...]] = {
    Stage.TRIM: ("ffmpeg",),
    Stage.FIT: ("regressor",),
    Stage.SYNC: (VERSION_KEY,),
}


class StageVersions:
    """Tells which versions a stage leaves in a row.

    Parameters
    ----------
    settings
        Of the build: they choose between tools.
    """

    def __init__(self, settings: BuildSettings) -> None:
        unused = {"mediapipe": "face-alignment", "face-alignment": "ai-edge-litert"}[
            settings.landmarks.backend
        ]
        self._found = {
            name: importlib.metadata.version(name)
            for names in (*_PACKAGES.values(), ("multitalk",))
            for name in names
            if name != unused
        }
        self._found["ffmpeg"] = ffmpeg_version()
        if settings.regressor is not None:
            self._found["regressor"] = regressor_version(settings.regressor)
        predictor = settings.root / PREDICTOR
        if predictor.exists():
            self._found[VERSION_KEY] = predictor_version(predictor)
        self._of = {
            stage: (*_PACKAGES.get(stage, ()), *_OTHERS.get(stage, ()), "multitalk") for stage in Stage
        }

    def with_stage(self, versions: Mapping[str, str], stage: Stage) -> dict[str, str]:
        """Return a row's versions after a stage was done again: what it used now, and not what it used before."""
        names = self._of[stage]
        kept = {name: version for name, version in versions.items() if name not in names}
        return kept | {name: self._found[name] for name in names if name in self._found}

"""Versions of the tools that decide what a row says."""

import importlib.metadata

from extract.ffmpeg import ffmpeg_version

_PACKAGES = ("multitalk", "yt-dlp", "mediapipe", "torch", "faster-whisper", "ctranslate2", "silero-vad")


def tool_versions() -> dict[str, str]:
    """Return versions by name, for the manifest's column `tool_versions`."""
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {**versions, "ffmpeg": ffmpeg_version()}

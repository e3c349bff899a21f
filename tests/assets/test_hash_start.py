"""Files of whose hash only the first digits are published."""

import hashlib

import pytest

from multitalk.assets.asset import AssetFile
from multitalk.assets.errors import AssetCorrupt
from multitalk.assets.files import verify, write_verified
from multitalk.assets.registry import REGISTRY

CONTENT = b"weights"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def test_the_start_of_a_hash_catches_another_file_but_proves_nothing(tmp_path):
    place = tmp_path / "model-0123456789.pth"
    place.write_bytes(CONTENT)
    assert verify(AssetFile(place.name, DIGEST), (place,), "") is True
    assert verify(AssetFile(place.name, sha256_start=DIGEST[:10]), (place,), "") is False
    with pytest.raises(AssetCorrupt, match=r"expected 0123456789.*Fetch it"):
        verify(AssetFile(place.name, sha256_start="0123456789"), (place,), "Fetch it")


def test_what_does_not_begin_so_is_never_put_in_place(tmp_path):
    place = tmp_path / "model.pth"
    with pytest.raises(AssetCorrupt, match="has 0123456789"):
        write_verified(place, AssetFile(place.name, sha256_start="0123456789"), [CONTENT], "there")
    assert list(tmp_path.iterdir()) == []
    assert (
        write_verified(place, AssetFile(place.name, sha256_start=DIGEST[:10]), [CONTENT], "there") == DIGEST
    )


def test_the_starts_are_those_in_the_files_names():
    starts = [file for asset in REGISTRY.values() for file in asset.files if file.sha256_start]
    assert starts
    assert all(f"-{file.sha256_start}." in file.name for file in starts)

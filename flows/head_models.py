"""Head models by name: the bundled canonical one, a FLAME release, or a FLAME file."""

from pathlib import Path

from assets.fetch import cache_directory, find, require
from fit_flame.canonical import canonical_head_model
from fit_flame.embedding import read_contour_embedding, read_mediapipe_embedding
from fit_flame.flame_file import flame_head_model, read_flame
from fit_flame.head_model import HeadModel

CANONICAL = "canonical"


def load_head_model(name: str) -> HeadModel:
    """Load a head model.

    FLAME is fitted to 105 of MediaPipe's landmarks, and to 17 more of its outline where FLAME's
    `landmark_embedding.npy` is here, too.

    Parameters
    ----------
    name
        ``canonical``; the name of a FLAME release in the asset registry, such as ``flame_2023_open``; or the path
        of a FLAME file.

    Raises
    ------
    AssetMissing, UnknownAsset
        If a model file, or FLAME's landmark embedding, is not here; the message says where to get it.
    HeadModelError
        If the file is damaged, refused, or no FLAME model.
    """
    if name == CANONICAL:
        return canonical_head_model(require("face_landmarker"))
    is_file = Path(name).suffix == ".pkl" or Path(name).exists()
    flame = read_flame(Path(name) if is_file else require(name), cache_directory() / "head_models")
    contour_file = find("flame_landmark_embedding")
    contour = read_contour_embedding(contour_file, flame.faces) if contour_file else None
    embedding = read_mediapipe_embedding(require("flame_mediapipe_embedding"), flame.faces, contour)
    return flame_head_model(flame, embedding, "flame" if is_file else name)

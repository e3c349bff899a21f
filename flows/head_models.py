"""Head models by name: the bundled canonical one, a FLAME release, or a FLAME file."""

from pathlib import Path

from assets.fetch import cache_directory, require
from fit_flame.canonical import canonical_head_model
from fit_flame.flame_file import flame_head_model, read_eyelids, read_flame
from fit_flame.head_model import HeadModel
from flows.landmark_embedding import embedding_of, flame_path

CANONICAL = "canonical"


def load_head_model(name: str) -> HeadModel:
    """Load a head model.

    `flows.landmark_embedding.embedding_of` says to which landmarks FLAME is fitted. Eyelid shapes that lie beside
    its file (`l_eyelid.npy`, `r_eyelid.npy`) are fitted, too.

    Parameters
    ----------
    name
        ``canonical``; the name of a FLAME release in the asset registry, such as ``flame_2023_open``; or the path
        of a FLAME file.

    Raises
    ------
    AssetMissing, UnknownAsset
        If a model file is not here; the message says where to get it.
    HeadModelError
        If the file is damaged, refused, or no FLAME model.
    """
    if name == CANONICAL:
        return canonical_head_model(require("face_landmarker"))
    path = flame_path(name)
    flame = read_flame(path, cache_directory() / "head_models")
    return flame_head_model(
        flame,
        embedding_of(path, flame),
        "flame" if path == Path(name) else name,
        eyelids=read_eyelids(path.parent),
    )

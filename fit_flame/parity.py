"""`python -m multitalk.fit_flame.parity DIR`: compare with what the original FLAME and DECA compute.

`DIR` holds `golden.npz` and `deca_tensors.json`. Where `golden.npz` has vertices, FLAME's forward model is compared,
too: FLAME's mean face, its triangles and the landmark embedding lie in a folder `flame` beside one of its parents, or
where `--flame` says. The model and the weights behind the stored arrays are not stored but made by the rules given
with them; `golden_flame` and `golden_weight` below follow those rules.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multitalk.fit_flame.heads.flame_file import FlameArrays, flame_head_model
from multitalk.fit_flame.heads.head_model import HeadModelError, LandmarkEmbedding
from multitalk.fit_flame.landmarks.embedding import contour_row, landmarks_68, read_contour_embedding
from multitalk.ground.untrusted.pickles import load_arrays

VERTEX_TOLERANCE = 1e-5  # metres
CODE_TOLERANCE = 1e-3  # relative to the array's largest value

Array = npt.NDArray[np.float64]


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status: 0 within the tolerances, 1 above, 2 for unusable arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m multitalk.fit_flame.parity", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("directory", type=Path, help="folder with golden.npz and deca_tensors.json")
    parser.add_argument(
        "--flame", type=Path, help="folder with templates.pkl, head_template.obj, landmark_embedding.npy"
    )
    options = parser.parse_args(arguments)
    try:
        with np.load(options.directory / "golden.npz", allow_pickle=False) as stored:
            golden = {name: stored[name] for name in stored.files}
        flame = (options.flame or _flame_folder(options.directory)) if "vertices" in golden else None
        names = json.loads((options.directory / "deca_tensors.json").read_text())
    except (OSError, ValueError, HeadModelError) as error:
        sys.stderr.write(f"cannot compare: {error}\n")
        return 2
    rows = (compare_flame(golden, flame) if flame else []) + compare_deca(golden, names)
    width = max(len(name) for name, _, _, _ in rows)
    for name, difference, tolerance, unit in rows:
        verdict = "ok" if difference <= tolerance else "TOO LARGE"
        sys.stdout.write(
            f"{name:{width}}  {difference:.2e} {unit:<8}  (at most {tolerance:.0e})  {verdict}\n"
        )
    return int(any(not difference <= tolerance for _, difference, tolerance, _ in rows))


def _flame_folder(directory: Path) -> Path:
    for parent in directory.resolve().parents:
        if (parent / "flame" / "templates.pkl").exists():
            return parent / "flame"
    raise HeadModelError(f"no folder flame with templates.pkl beside {directory}; name it with --flame")


Row = tuple[str, float, float, str]


def compare_flame(golden: dict[str, npt.NDArray[np.generic]], folder: Path) -> list[Row]:
    """Compare vertices and the 68 landmarks, moving and fixed contour."""
    import torch

    from multitalk.fit_flame.parameters.decode import ForwardModel
    from multitalk.fit_flame.parameters.rotation import to_matrix

    flame = golden_flame(folder)
    contour = read_contour_embedding(folder / "landmark_embedding.npy", flame.faces)
    nowhere = LandmarkEmbedding(
        np.zeros(0, np.int64), np.zeros((0, 3), np.int64), np.zeros((0, 3), np.float32)
    )
    forward = ForwardModel(flame_head_model(flame, nowhere))

    def tensor(name: str) -> torch.Tensor:
        return torch.as_tensor(golden[name].astype(np.float32))

    pose = tensor("pose")
    vertices = forward(
        tensor("shape"), tensor("expression"), rotation=pose[:, :3], jaw=pose[:, 3:], eyes=tensor("eyes")
    )
    placed = vertices.double().numpy()
    row = contour_row(to_matrix(pose[:, :3].double()).numpy())
    found = {
        "vertices": placed,
        "landmarks_68_moving_contour": landmarks_68(placed, flame.faces, contour, row),
        "landmarks_68_full": landmarks_68(placed, flame.faces, contour, None),
    }
    return [
        (name, float(np.abs(array - golden[name]).max()), VERTEX_TOLERANCE, "m")
        for name, array in found.items()
    ]


def compare_deca(golden: dict[str, npt.NDArray[np.generic]], shapes: dict[str, list[int]]) -> list[Row]:
    """Compare the encoder's features and code, relative to the largest value of each."""
    import torch

    from multitalk.fit_flame.regressors.deca import DecaEncoder

    encoder = DecaEncoder().eval()
    encoder.load_state_dict(
        {name: torch.as_tensor(golden_weight(name, tuple(shape))) for name, shape in shapes.items()}
    )
    with torch.no_grad():
        features = encoder.encoder(torch.as_tensor(golden["image"].astype(np.float32)))
        code = encoder.layers(features)
    rows = []
    for name, found in (("deca_features", features), ("deca_code", code)):
        wanted = golden[name].astype(np.float64)
        difference = np.abs(found.double().numpy() - wanted).max() / np.abs(wanted).max()
        rows.append((name, float(difference), CODE_TOLERANCE, "relative"))
    return rows


def golden_flame(folder: Path) -> FlameArrays:
    """Make the FLAME-format model of the golden files: true mean and triangles, bases by rule."""
    templates = load_arrays(folder / "templates.pkl")
    template = next(iter(templates.values())).astype(np.float64).reshape(-1, 3)
    lines = (folder / "head_template.obj").read_text().splitlines()
    faces = np.array(
        [[int(c.split("/")[0]) - 1 for c in line.split()[1:4]] for line in lines if line.startswith("f ")]
    )
    v, c = np.arange(len(template))[:, None, None], np.arange(3)[None, :, None]
    k = np.arange(400)[None, None]
    shapedirs = 0.002 * np.sin(0.01 * v * (k % 17 + 1) + c + k)
    k = np.arange(36)[None, None]
    posedirs = 0.0005 * np.sin(0.013 * v * (k % 11 + 1) + 2 * c + k)
    joints = np.array(
        [[0, -0.15, -0.03], [0, -0.10, -0.03], [0, -0.02, 0], [0.03, 0.03, 0.04], [-0.03, 0.03, 0.04]]
    )
    squared = ((template[:, None] - joints[None]) ** 2).sum(axis=2)
    regressor, weights = np.exp(-squared.T / (2 * 0.03**2)), np.exp(-squared / (2 * 0.05**2))
    return FlameArrays(
        template,
        faces,
        shapedirs,
        posedirs,
        regressor / regressor.sum(axis=1, keepdims=True),
        weights / weights.sum(axis=1, keepdims=True),
        "golden",
    )


def golden_weight(name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32] | npt.NDArray[np.int64]:
    """Make a tensor of the golden encoder: a sine whose phase is the checksum of its name."""
    last = name.rsplit(".", 1)[-1]
    if last == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    x = np.sin(zlib.crc32(name.encode()) % 1000 + 0.37 * np.arange(int(np.prod(shape)))).reshape(shape)
    if last == "running_var":
        x = 1 + 0.1 * np.abs(x)
    elif last == "weight" and len(shape) == 1:
        x = 1 + 0.1 * x
    elif len(shape) == 1:
        x = 0.05 * x
    else:
        x = x * np.sqrt(2 / np.prod(shape[1:]))
    made: npt.NDArray[np.float32] = x.astype(np.float32)
    return made


if __name__ == "__main__":
    sys.exit(main())

"""A head in FLAME's format with FLAME's true mean and triangles, and smooth bases in place of the learnt ones.

FLAME's own bases need a licence; its mean face, topology and landmark embeddings show as well how fast and how
closely a fit on its mesh runs. The bases are the mesh's low-frequency modes, the jaw's weights harmonic.
"""

from pathlib import Path

import numpy as np

from multitalk.fit_flame.heads.flame_file import FlameArrays
from multitalk.fit_flame.heads.spectral import Amplitude
from multitalk.fit_flame.heads.surface import skin
from multitalk.fit_flame.parity import golden_flame

IDENTITY = Amplitude(0.040, 0.4, 1.2)
EXPRESSION = Amplitude(0.025, 0.2, 1.5, (1.0, 1.0, 0.4))
JOINTS = np.array(
    [[0, -0.15, -0.03], [0, -0.10, -0.03], [0, -0.02, 0], [0.0315, 0.022, 0.025], [-0.0315, 0.022, 0.025]]
)
LIP_HEIGHT, FACE_DEPTH = -0.043, 0.0  # of the line where the lips meet; of what lies in front of the ears


def spectral_flame(folder: Path) -> FlameArrays:
    """Make the head from the folder with FLAME's `templates.pkl` and `head_template.obj`."""
    flame = golden_flame(folder)
    template, faces = flame.v_template, flame.faces
    surface = skin(template, faces)
    used = np.unique(surface.faces)
    modes, frequencies = face_modes(template, surface.faces, used)
    shapedirs = np.concatenate(
        [
            basis(modes, IDENTITY.at(frequencies), (1.0, 1.0, 1.0), 100),
            basis(modes, EXPRESSION.at(frequencies), EXPRESSION.axes, 34)[:, :, :100],
        ],
        axis=2,
    )
    weights = np.zeros((len(template), 5))
    jaw = jaw_weights(template, surface.faces, used)
    weights[:, 2], weights[:, 0] = jaw, 1 - jaw
    eyeballs = np.setdiff1d(np.arange(len(template)), used)
    for joint, side in ((3, template[:, 0] > 0), (4, template[:, 0] < 0)):
        ball = eyeballs[side[eyeballs]]
        weights[ball] = np.eye(5)[joint]
        lids = used[np.linalg.norm(template[used] - JOINTS[joint], axis=1) < 0.02]
        shapedirs[ball] = shapedirs[lids].mean(axis=0)
    return FlameArrays(
        template,
        faces,
        shapedirs,
        np.zeros_like(flame.posedirs),
        regressor(template, used),
        weights,
        "spectral",
    )


def face_modes(template: np.ndarray, faces: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(V, 100) lowest modes of the skin, resolved where the face is, finest at the lips; and frequencies."""
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import eigsh

    laplacian = graph_laplacian(faces, used)
    face = 1 / (1 + np.exp(-(template[used, 2] - 0.01) / 0.01))
    lips = np.exp(
        -((np.linalg.norm((template[used] - [0, LIP_HEIGHT, 0.055]) / [2, 1, 1], axis=1) / 0.012) ** 2)
    )
    mass = 0.02 + face * (1 + 3 * lips)
    frequencies, vectors = eigsh(
        laplacian, k=101, M=diags_array(mass).tocsc(), sigma=-1e-3, which="LM", v0=np.ones(len(used))
    )
    modes = np.zeros((len(template), 100))
    modes[used] = vectors[:, 1:]
    # Amplitudes are those of the canonical mesh: modes of unit norm on 468 vertices, its frequencies.
    return modes * np.sqrt(mass.sum() / 468), frequencies[1:] * len(used) / 468


def graph_laplacian(faces: np.ndarray, used: np.ndarray):  # noqa: ANN201
    """Degree minus adjacency of the vertices in use, sparse."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import laplacian

    rows = np.searchsorted(used, faces)
    pairs = np.concatenate([rows[:, [0, 1]], rows[:, [1, 2]], rows[:, [2, 0]]])
    adjacency = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(used), len(used)))
    return laplacian(((adjacency + adjacency.T) > 0).astype(np.float64).tocsc())


def basis(modes: np.ndarray, sigma: np.ndarray, axes: tuple[float, float, float], count: int) -> np.ndarray:
    """(V, 3, 3 count) the first modes along each axis, at one standard deviation."""
    columns = np.zeros((len(modes), 3, 3 * count))
    for k in range(count):
        for axis in range(3):
            columns[:, axis, 3 * k + axis] = modes[:, k] * sigma[k] * axes[axis]
    return columns


def jaw_weights(template: np.ndarray, faces: np.ndarray, used: np.ndarray) -> np.ndarray:
    """(V,) 1 on lower lip and chin, 0 above the mouth and behind, harmonic between."""
    from scipy.sparse.linalg import spsolve

    x, y, z = template[used].T
    laplacian = graph_laplacian(faces, used)
    mouth = (np.abs(x) < 0.022) & (np.abs(y - LIP_HEIGHT) < 0.012) & (z > 0.04)
    lower = _below_the_mouth(laplacian, template[used])
    moved = (mouth & lower) | ((y < -0.055) & (y > -0.095) & (np.abs(x) < 0.035) & (z > 0.03))
    fixed = (mouth & ~lower) | (y > -0.015) | (z < -0.01) | (y < -0.115)
    free = ~(moved | fixed)
    weights = moved.astype(np.float64)
    weights[free] = spsolve(laplacian[free][:, free].tocsc(), -laplacian[free][:, ~free] @ weights[~free])
    result = np.zeros(len(template))
    result[used] = np.clip(weights, 0, 1)
    return result


def _below_the_mouth(laplacian, points: np.ndarray) -> np.ndarray:  # noqa: ANN001
    """(n,) which vertices lie nearer to the chin than to the nose, along the mesh."""
    from scipy.sparse.csgraph import dijkstra

    graph = laplacian.tocoo()
    far = np.linalg.norm(points[graph.row] - points[graph.col], axis=1)
    graph.data = np.where(graph.row == graph.col, 0, far)
    ends = [
        np.linalg.norm(points - place, axis=1).argmin() for place in ([0, -0.0602, 0.058], [0, -0.026, 0.06])
    ]
    chin, nose = dijkstra(graph.tocsr(), indices=ends)
    return chin < nose


def regressor(template: np.ndarray, used: np.ndarray) -> np.ndarray:
    """(5, V) joints as combinations of the skin's vertices."""
    rows = np.zeros((5, len(template)))
    points = np.vstack([template[used].T, np.ones(len(used))])
    uniform = np.full(len(used), 1 / len(used))
    for row, joint in zip(rows, JOINTS, strict=True):
        row[used] = uniform + np.linalg.lstsq(points, np.append(joint, 1.0) - points @ uniform, rcond=None)[0]
    return rows

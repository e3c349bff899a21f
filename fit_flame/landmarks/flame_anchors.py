"""Where a few of MediaPipe's landmarks lie on FLAME's topology, told by anatomy.

FLAME's triangles are the same in every release, so a vertex id means the same place on each. The ids were read
off renderings of the mesh: the margins of the lids, the border of the red of the lips, the line where the lips
meet, and the profile. Only the head's right side is listed; the left is its mirror image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curve:
    """A line on both meshes; landmarks divide it as they divide MediaPipe's canonical mesh."""

    landmarks: tuple[int, ...]
    """MediaPipe's landmarks along the line, both ends included."""
    mirrored: tuple[int, ...]
    """Their mirror images, in the same order."""
    vertices: tuple[int, ...]
    """FLAME's vertices along the line, on the head's right."""


CURVES = (
    Curve(  # upper lid, outer to inner corner
        (33, 246, 161, 160, 159, 158, 157, 173, 133),
        (263, 466, 388, 387, 386, 385, 384, 398, 362),
        (2437, 2447, 2448, 2449, 2450, 2451, 2453, 2495, 3689, 2494, 2492, 2490, 2489, 2488, 3631, 2517),
    ),
    Curve(  # lower lid
        (33, 7, 163, 144, 145, 153, 154, 155, 133),
        (263, 249, 390, 373, 374, 380, 381, 382, 362),
        (
            *(2437, 2436, 2406, 2403, 2325, 2272, 2265, 2333, 2296),
            *(2290, 2293, 2298, 2305, 2503, 2504, 2509, 2517),
        ),
    ),
    Curve(  # upper border of the red, corner to middle
        (61, 185, 40, 39, 37, 0),
        (291, 409, 270, 269, 267, 0),
        (2819, 2821, 2834, 2864, 2812, 2811, 2774, 3543),
    ),
    Curve(  # lower border of the red
        (61, 146, 91, 181, 84, 17),
        (291, 375, 321, 405, 314, 17),
        (2819, 2871, 2879, 2878, 2899, 2904, 2949, 3511),
    ),
    Curve(  # where the upper lip rests on the lower one
        (78, 191, 80, 81, 82, 13),
        (308, 415, 310, 311, 312, 13),
        (2715, 2832, 2851, 2852, 2787, 2786, 3531),
    ),
    Curve(  # where the lower lip rests on the upper one
        (78, 95, 88, 178, 87, 14),
        (308, 324, 318, 402, 317, 14),
        (2715, 2869, 2894, 2895, 2896, 2907, 2938, 3504),
    ),
    Curve((129, 98), (358, 327), (3092, 2751)),  # the nostril's wing: widest, and where it meets the lip
)

PROFILE = {168: 3553, 4: 3564, 2: 3551, 18: 3502, 152: 3414}
"""On the middle of the face: root and tip of the nose, its base, the fold under the lip, the chin's lowest."""


@dataclass(frozen=True, slots=True)
class Anchors:
    """Landmarks whose place on FLAME is known."""

    landmarks: npt.NDArray[np.int64]
    """(A,) of the 468."""
    points: Array
    """(A, 3) on the template, metres."""
    segments: npt.NDArray[np.int64]
    """(A, 2) vertices between which each lies; twice the same where it is a vertex."""


def anchors(canonical: Array, template: Array, skin: npt.NDArray[np.int64]) -> Anchors:
    """Place the landmarks of the curves and of the profile on FLAME's template.

    Parameters
    ----------
    canonical
        (468, 3) MediaPipe's canonical mesh.
    template
        (5023, 3) FLAME's mean head, metres.
    skin
        Its vertices that are not the eyeballs'.
    """
    placed: dict[int, tuple[Array, tuple[int, int]]] = {}
    for curve in CURVES:
        for landmarks, vertices in (
            (curve.landmarks, curve.vertices),
            (curve.mirrored, _mirrored(template, skin, curve.vertices)),
        ):
            shares = _arc(canonical[list(landmarks)])
            for landmark, share in zip(landmarks, shares, strict=True):
                placed[landmark] = _along(template, vertices, float(share))
    placed |= {landmark: (template[v], (v, v)) for landmark, v in PROFILE.items()}
    order = sorted(placed)
    return Anchors(
        np.array(order),
        np.stack([placed[k][0] for k in order]),
        np.array([placed[k][1] for k in order]),
    )


def _mirrored(template: Array, skin: npt.NDArray[np.int64], vertices: tuple[int, ...]) -> tuple[int, ...]:
    """Vertices on the other side; those in the middle are their own mirror images."""
    flipped = template[list(vertices)] * np.array([-1.0, 1.0, 1.0])
    nearest = np.linalg.norm(flipped[:, None] - template[skin][None], axis=2).argmin(axis=1)
    return tuple(int(v) for v in skin[nearest])


def _arc(points: Array) -> Array:
    """(n,) how far along the line from its first to its last each point of a curve lies, 0 to 1."""
    chord = points[-1] - points[0]
    shares: Array = np.maximum.accumulate((points - points[0]) @ chord / (chord @ chord))
    return shares


def _along(template: Array, vertices: tuple[int, ...], share: float) -> tuple[Array, tuple[int, int]]:
    """Find the point at a share of a polyline's length, and the two vertices that it lies between."""
    arc = _arc(template[list(vertices)])
    k = int(np.clip(np.searchsorted(arc, share, side="right") - 1, 0, len(vertices) - 2))
    t = float(np.clip((share - arc[k]) / max(arc[k + 1] - arc[k], 1e-9), 0, 1))
    a, b = vertices[k], vertices[k + 1]
    return (1 - t) * template[a] + t * template[b], (a, b)

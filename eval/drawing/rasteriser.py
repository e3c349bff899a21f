"""Triangles to pixels on the CPU: nearest surface first, then light, in loops that numba compiles.

Several points of each pixel are looked at, each in a row of its own (`ROWS`, `ROWS_SMOOTH`). Shapes: V vertices,
F triangles, n rows a pixel.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from multitalk.eval.motion.loops.compiled import compiled

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

ROWS: Float32 = np.array([0.5], np.float32)
"""Where in a pixel, from its left side, its surface is looked at: in its middle."""
ROWS_SMOOTH: Float32 = np.array([0.25, 0.75], np.float32)
"""At the upper left and the lower right, as graphics cards do for edges that are smooth both ways."""

AMBIENT, DIFFUSE, SPECULAR = np.float32(0.15), np.float32(0.85), np.float32(0.12)
"""Of the light that comes from where the camera is; the highlight is a cosine to the power of 12."""

_EDGE = np.float32(0.004)
_NONE, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)


@compiled
def vertex_normals(points: Float32, faces: Int32, normals: Float32) -> None:
    """Fill in each vertex's normal (V, 3): the sum of its triangles', weighted by their area, of any length."""
    normals[:] = 0
    for face in range(len(faces)):
        i, j, k = faces[face]
        ux, uy, uz = points[j, 0] - points[i, 0], points[j, 1] - points[i, 1], points[j, 2] - points[i, 2]
        vx, vy, vz = points[k, 0] - points[i, 0], points[k, 1] - points[i, 1], points[k, 2] - points[i, 2]
        x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for vertex in (i, j, k):
            normals[vertex, 0] += x
            normals[vertex, 1] += y
            normals[vertex, 2] += z
    for vertex in range(len(points)):
        x, y, z = normals[vertex]
        length = np.sqrt(x * x + y * y + z * z)
        if length > 0:
            normals[vertex] /= length


@compiled
def nearest_triangles(
    pixels: Float32, nearness: Float32, faces: Int32, rows: Float32, depth: Float32, owner: Int32
) -> None:
    """Find the triangle that is nearest at each point that is looked at, from either side.

    Parameters
    ----------
    pixels
        (V, 2) where vertices land: x right, y down in rows, the first pixel from 0 to 1 and to n.
    nearness
        (V,) one over the distance before the camera, which is linear in the picture; 0 or less: behind it.
    faces
        (F, 3)
    rows
        (n,) where the points of a pixel's rows lie, from its left side.
    depth
        (H n, W) gets the nearness, 0 where nothing is.
    owner
        (H n, W) gets the triangle, -1 where nothing is.
    """
    height, width = depth.shape
    depth[:] = 0
    owner[:] = -1
    for face in range(len(faces)):
        a, b, c = faces[face]
        if nearness[a] <= 0 or nearness[b] <= 0 or nearness[c] <= 0:
            continue
        ax, ay = pixels[a]
        bx, by = pixels[b]
        cx, cy = pixels[c]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0:
            continue
        # Nearness over the plane of the triangle: how it grows to the right and downwards.
        along_b, along_c = nearness[b] - nearness[a], nearness[c] - nearness[a]
        to_right = (along_b * (cy - ay) - along_c * (by - ay)) / area
        downwards = (along_c * (bx - ax) - along_b * (cx - ax)) / area
        origin = nearness[a] - ax * to_right - ay * downwards
        if by < ay:  # from the highest corner to the lowest
            ax, ay, bx, by = bx, by, ax, ay
        if cy < ay:
            ax, ay, cx, cy = cx, cy, ax, ay
        if cy < by:
            bx, by, cx, cy = cx, cy, bx, by
        top, bottom = max(_NONE, np.ceil(ay - _HALF)), min(np.float32(height), np.ceil(cy - _HALF))
        slope_long = (cx - ax) / (cy - ay)
        slope_upper = (bx - ax) / (by - ay) if by > ay else _NONE
        slope_lower = (cx - bx) / (cy - by) if cy > by else _NONE
        for row in range(int(top), int(bottom)):
            y = np.float32(row) + _HALF
            long = ax + (y - ay) * slope_long
            short = ax + (y - ay) * slope_upper if y < by else bx + (y - by) * slope_lower
            within = rows[row % len(rows)]
            left = max(_NONE, np.ceil(min(long, short) - within))
            right = min(np.float32(width), np.ceil(max(long, short) - within))
            near = origin + (left + within) * to_right + y * downwards
            for column in range(int(left), int(right)):
                if near > depth[row, column]:
                    depth[row, column] = near
                    owner[row, column] = face
                near += to_right


@compiled
def light(
    pixels: Float32,
    normals: Float32,
    colours: Float32,
    faces: Int32,
    rows: Float32,
    depth: Float32,
    owner: Int32,
    opacity: np.float32,
    picture: npt.NDArray[np.uint8],
) -> None:
    """Draw what `nearest_triangles` found over a picture (H, W, 3).

    Parameters
    ----------
    pixels, faces, rows, depth, owner
        As there.
    normals
        (V, 3) before the camera.
    colours
        (V, 3) 0..255.
    opacity
        0..1, of what is drawn.
    """
    height, width = picture.shape[:2]
    count = len(rows)
    for row in range(height):
        for column in range(width):
            red, green, blue = _NONE, _NONE, _NONE
            covered, looked_at, near = _NONE, False, _NONE
            r, g, b = _NONE, _NONE, _NONE
            for part in range(count):
                y = row * count + part
                face = owner[y, column]
                if face < 0:
                    continue
                covered += _ONE
                # Neighbours on one surface are lit alike: what is to be smooth are edges.
                if not looked_at or abs(depth[y, column] - near) > _EDGE * near:
                    looked_at, near = True, depth[y, column]
                    i, j, k = faces[face]
                    ax, ay = pixels[i]
                    ux, uy = pixels[j, 0] - ax, pixels[j, 1] - ay
                    vx, vy = pixels[k, 0] - ax, pixels[k, 1] - ay
                    px, py = np.float32(column) + rows[part] - ax, np.float32(y) + _HALF - ay
                    scale = _ONE / (ux * vy - uy * vx)
                    wj, wk = (px * vy - py * vx) * scale, (ux * py - uy * px) * scale
                    wi = _ONE - wj - wk
                    nx = wi * normals[i, 0] + wj * normals[j, 0] + wk * normals[k, 0]
                    ny = wi * normals[i, 1] + wj * normals[j, 1] + wk * normals[k, 1]
                    nz = wi * normals[i, 2] + wj * normals[j, 2] + wk * normals[k, 2]
                    facing = nz * nz / max(nx * nx + ny * ny + nz * nz, np.float32(1e-12))
                    diffuse = AMBIENT + DIFFUSE * np.sqrt(facing)
                    mirrored = max(_TWO * facing - _ONE, _NONE)
                    mirrored = mirrored * mirrored * mirrored
                    mirrored = mirrored * mirrored
                    gloss = np.float32(255) * SPECULAR * mirrored * mirrored
                    r = diffuse * (wi * colours[i, 0] + wj * colours[j, 0] + wk * colours[k, 0]) + gloss
                    g = diffuse * (wi * colours[i, 1] + wj * colours[j, 1] + wk * colours[k, 1]) + gloss
                    b = diffuse * (wi * colours[i, 2] + wj * colours[j, 2] + wk * colours[k, 2]) + gloss
                red, green, blue = red + r, green + g, blue + b
            if covered > 0:
                share = opacity / np.float32(count)
                rest = _ONE - covered * share
                for channel, sum_of in enumerate((red, green, blue)):
                    mixed = sum_of * share + np.float32(picture[row, column, channel]) * rest + _HALF
                    picture[row, column, channel] = np.uint8(min(max(mixed, _NONE), np.float32(255)))

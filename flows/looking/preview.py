"""Preview of one clip: landmarks, the fitted mesh from the front and from the side, curves, with sound."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multitalk.eval.drawing.camera import Camera
from multitalk.eval.drawing.render import MeshRenderer
from multitalk.eval.drawing.video import write_video
from multitalk.fit_flame.draw import draw_overlay
from multitalk.fit_flame.heads.head_model import HeadModel
from multitalk.fit_flame.parameters.decode import decode, project
from multitalk.fit_flame.parameters.motion import Motion
from multitalk.flows.modelling.stored_heads import to_motion
from multitalk.ground.face_layout import distance
from multitalk.ground.landmark_layout import INNER_LIP_PAIRS, LEFT_EYE_OUTER, RIGHT_EYE_OUTER
from multitalk.manifests.dataset import Dataset
from multitalk.manifests.media import Picture, read_frames, read_sound
from multitalk.manifests.paths import DatasetError, audio_path, clip_path

FloatArray = npt.NDArray[np.float32]

_PANEL, _CAPTION, _PLOT, _MARGIN = 400, 28, 110, 10
_GROUND, _INK, _FAINT = (24, 24, 27), (228, 228, 231), (82, 82, 91)
_CAPTIONS = ("video", "landmarks", "fitted head", "head from the side")
_FITTED, _DETECTED, _RESIDUAL = (70, 200, 255), (255, 180, 40), (244, 114, 182)
# A quarter turn to the left: the profile looks to the picture's left.
_SIDE = np.array([[0, 0, -1], [0, 1, 0], [1, 0, 0]], np.float32)


@dataclass(frozen=True, slots=True)
class _Curve:
    name: str
    colour: tuple[int, int, int]
    values: FloatArray
    """(T,) shares of the inter-ocular distance, NaN where there is none."""


def write_preview(
    dataset: Dataset,
    head_model: HeadModel,
    clip_id: str,
    place: Path,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write a video of one clip, for eyes to judge the fit.

    Parameters
    ----------
    dataset
        A dataset whose landmarks were kept.
    head_model
        The head model of the clip's motion.
    clip_id
        A clip that was fitted.
    place
        The `.mp4` file.
    progress
        Told how many of how many frames are drawn.

    Returns
    -------
    int
        Frames written.

    Raises
    ------
    DatasetError
        There is no such clip, or it was not fitted, or its landmarks were not kept.
    MotionError
        The motion belongs to another head model.
    MediaError
        The clip's video or sound can not be read.
    RenderError
        There is no way to draw on this machine.
    """
    try:
        motion = to_motion(dataset.motion(clip_id))
        landmarks = dataset.landmarks(clip_id)["landmarks"].astype(np.float32)
    except KeyError as error:
        raise DatasetError(str(error.args[0])) from error
    language = _language(dataset, clip_id)
    clip, sound = clip_path(dataset.root, language, clip_id), audio_path(dataset.root, language, clip_id)
    vertices = decode(motion, head_model)
    profile = _from_the_side(vertices, motion)
    charts = _Charts(_curves(head_model, landmarks, vertices, motion.camera, motion.residual))
    height, width = next(read_frames(clip)).shape[:2]
    focal, x, y = map(float, motion.camera)
    portrait = Camera.portrait(head_model.v_template @ _SIDE.T, _PANEL)
    faces, count, colours = head_model.faces, len(head_model.v_template), head_model.colours

    def frames() -> Iterator[Picture]:
        front = MeshRenderer(faces, count, Camera(focal, x, y), width, height, colours=colours)
        side = MeshRenderer(faces, count, portrait, _PANEL, _PANEL, "dark", colours=colours)
        for index, frame in zip(range(motion.frame_count), read_frames(clip), strict=False):
            panels = (
                frame,
                draw_overlay(frame, landmarks[index], None, faces),
                front.render_over(vertices[index], frame, 0.95),
                side.render(profile[index]),
            )
            if progress is not None:
                progress(index, motion.frame_count)
            yield _page(panels, charts.at(index), index, bool(motion.valid[index]))

    written = write_video(place, frames(), motion.fps, read_sound(sound))
    if progress is not None:
        progress(written, written)
    return written


def _from_the_side(vertices: FloatArray, motion: Motion) -> FloatArray:
    """Turn the posed heads (T, V, 3) by a quarter about where the head mostly is: depth is seen as it moves."""
    seen = motion.translation[motion.valid] if motion.valid.any() else motion.translation
    turned = (vertices - np.median(seen, axis=0)) @ _SIDE.T
    return turned.astype(np.float32)


def _language(dataset: Dataset, clip_id: str) -> str:
    clips = dataset.arrow(["clip_id", "language"]).to_pydict()
    return str(clips["language"][clips["clip_id"].index(clip_id)])


def _curves(
    head_model: HeadModel,
    landmarks: FloatArray,
    vertices: FloatArray,
    camera: FloatArray,
    residual: FloatArray,
) -> list[list[_Curve]]:
    """Measure the lips' gap, detected and fitted, and the residual: one list a chart."""
    upper, lower = INNER_LIP_PAIRS[0]
    eyes = distance(landmarks, (RIGHT_EYE_OUTER, LEFT_EYE_OUTER))
    gap = distance(landmarks, (upper, lower))
    lips = [_Curve("lips apart, detected", _DETECTED, (gap / eyes).astype(np.float32))]
    embedding = head_model.embedding
    rows = [
        int(np.flatnonzero(embedding.landmarks == k)[0]) for k in (upper, lower) if k in embedding.landmarks
    ]
    if len(rows) == 2:
        corners = vertices[:, embedding.vertices[rows]]
        points = project((corners * embedding.barycentric[rows][..., None]).sum(-2), camera)
        fitted = np.linalg.norm(points[:, 0] - points[:, 1], axis=1)
        lips.append(_Curve("fitted", _FITTED, fitted / eyes))
    return [lips, [_Curve("residual", _RESIDUAL, residual)]]


class _Charts:
    """Curves over time, drawn once; a cursor moves over them."""

    def __init__(self, charts: list[list[_Curve]]) -> None:
        self._width = _PANEL * len(_CAPTIONS)
        self._frames = len(charts[0][0].values)
        self._picture = np.vstack([self._chart(curves) for curves in charts])

    def at(self, index: int) -> Picture:
        """Draw the cursor at a frame."""
        import cv2

        picture = self._picture.copy()
        x = int(self._x(np.array([index]))[0])
        cv2.line(picture, (x, 0), (x, len(picture)), _INK, 1, cv2.LINE_AA)
        return picture

    def _x(self, index: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        span = self._width - 2 * _MARGIN
        return np.round(_MARGIN + index * span / max(1, self._frames - 1)).astype(np.int64)

    def _chart(self, curves: list[_Curve]) -> Picture:
        import cv2

        picture = np.full((_PLOT, self._width, 3), _GROUND, np.uint8)
        top, bottom = 28, _PLOT - _MARGIN
        known = np.concatenate([curve.values[np.isfinite(curve.values)] for curve in curves])
        highest = max(0.01, float(known.max())) if len(known) else 0.01
        cv2.line(picture, (_MARGIN, bottom), (self._width - _MARGIN, bottom), _FAINT, 1)
        x, legend = self._x(np.arange(self._frames)), _MARGIN
        for curve in curves:
            seen = np.isfinite(curve.values)
            y = bottom - np.where(seen, curve.values, 0) / highest * (bottom - top)
            points = np.stack([x, np.round(y).astype(np.int64)], axis=1).astype(np.int32)
            breaks = np.flatnonzero(np.diff(seen.astype(np.int8))) + 1
            for part, visible in zip(np.split(points, breaks), np.split(seen, breaks), strict=True):
                if visible[0]:
                    cv2.polylines(picture, [part.reshape(-1, 1, 2)], False, curve.colour, 1, cv2.LINE_AA)
            text = f"{curve.name} (0 to {highest:.1%} of the inter-ocular distance)"
            text = text if curve is curves[0] else curve.name
            _write(picture, text, (legend, 18), curve.colour)
            legend += cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)[0][0] + 24
        return picture


def _page(panels: tuple[Picture, ...], charts: Picture, index: int, valid: bool) -> Picture:
    import cv2

    shown = [cv2.resize(panel, (_PANEL, _PANEL), interpolation=cv2.INTER_AREA) for panel in panels]
    header = np.full((_CAPTION, _PANEL * len(panels), 3), _GROUND, np.uint8)
    for place, caption in enumerate(_CAPTIONS):
        _write(header, caption, (place * _PANEL + _MARGIN, 19), _INK)
    state = f"frame {index}" + ("" if valid else ", no landmarks")
    _write(header, state, (header.shape[1] - 190, 19), _INK)
    return np.vstack([header, np.hstack(shown), charts])


def _write(picture: Picture, text: str, place: tuple[int, int], colour: tuple[int, int, int]) -> None:
    import cv2

    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)

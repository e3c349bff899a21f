"""Contact sheets: frames of clips with their landmarks and the fitted mesh, for eyes to judge."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multitalk.eval.drawing.camera import Camera
from multitalk.eval.drawing.render import MeshRenderer
from multitalk.fit_flame.draw import draw_overlay
from multitalk.fit_flame.heads.head_model import HeadModel
from multitalk.fit_flame.parameters.decode import decode
from multitalk.flows.modelling.stored_heads import to_motion
from multitalk.ground.face_layout import distance
from multitalk.manifests.dataset import Dataset
from multitalk.manifests.media import Picture, read_frames
from multitalk.manifests.paths import clip_path

_CELL = 256
_INNER_LIPS = (13, 14)
_CAPTION, _GROUND, _INK = 26, (24, 24, 27), (228, 228, 231)


def write_contact_sheet(
    dataset: Dataset, head_model: HeadModel, clip_ids: Sequence[str], place: Path
) -> None:
    """Write a picture with two rows for each clip: landmarks, and the whole head over the frame, posed as in it.

    The frames are those with the lips closest together and farthest apart, and two in between.

    Parameters
    ----------
    dataset
        A dataset whose landmarks were kept.
    head_model
        The head model of its motion.
    clip_ids
        Clips that came out well.
    place
        The PNG or JPEG file.

    Raises
    ------
    RenderError
        There is no way to draw on this machine.
    """
    import cv2

    strips = [_strip(dataset, head_model, clip_id) for clip_id in clip_ids]
    place.parent.mkdir(parents=True, exist_ok=True)
    columns = 2 if len(strips) > 1 else 1
    strips += [np.full_like(strips[0], 24)] * (-len(strips) % columns)
    rows = [np.hstack(strips[i : i + columns]) for i in range(0, len(strips), columns)]
    cv2.imwrite(str(place), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


def _strip(dataset: Dataset, head_model: HeadModel, clip_id: str) -> Picture:
    import cv2

    motion = to_motion(dataset.motion(clip_id))
    landmarks = dataset.landmarks(clip_id)["landmarks"].astype(np.float32)
    clips = dataset.clips(["clip_id", "language", "fit_landmark_error"]).set_index("clip_id")
    clip = clips.loc[clip_id]
    chosen = _telling_frames(landmarks)
    frames = _read_frames(clip_path(dataset.root, str(clip["language"]), clip_id), chosen)
    vertices = decode(motion, head_model, frames=chosen)
    seen = [
        draw_overlay(f, landmarks[i], None, head_model.faces) for i, f in zip(chosen, frames, strict=True)
    ]
    height, width = frames[0].shape[:2]
    focal, x, y = map(float, motion.camera)
    camera = Camera(focal, x, y)
    count, colours = len(head_model.v_template), head_model.colours
    renderer = MeshRenderer(head_model.faces, count, camera, width, height, colours=colours)
    fitted = [renderer.render_over(v, f, 0.95) for f, v in zip(frames, vertices, strict=True)]
    body = np.vstack([np.hstack([_shrink(picture) for picture in row]) for row in (seen, fitted)])
    header = np.full((_CAPTION, body.shape[1], 3), _GROUND, np.uint8)
    text = f"{clip_id}  {clip['language']}  fit error {clip['fit_landmark_error']:.2%} of the inter-ocular distance"
    cv2.putText(header, text, (8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45, _INK, 1, cv2.LINE_AA)
    return np.vstack([header, body])


def _telling_frames(landmarks: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Four frames: the smallest and the largest gap between the lips, and the thirds in between."""
    gap = distance(landmarks, _INNER_LIPS)
    order = np.argsort(gap)[: int(np.isfinite(gap).sum())]
    chosen: npt.NDArray[np.int64] = order[np.linspace(0, len(order) - 1, 4).round().astype(int)]
    return chosen


def _read_frames(clip: Path, chosen: npt.NDArray[np.int64]) -> list[Picture]:
    wanted = set(chosen.tolist())
    frames = zip(range(max(wanted) + 1), read_frames(clip), strict=False)
    found = {index: frame for index, frame in frames if index in wanted}
    return [found[index] for index in chosen.tolist()]


def _shrink(picture: Picture) -> Picture:
    import cv2

    return np.asarray(cv2.resize(picture, (_CELL, _CELL), interpolation=cv2.INTER_AREA), np.uint8)

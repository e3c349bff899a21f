"""What `multitalk view` shows: a dataset's clips, and files of motion, as heads for the page."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multitalk.eval.vertex_files import read_vertices
from multitalk.fit_flame.heads.head_model import HeadModel
from multitalk.fit_flame.parameters.decode import decode
from multitalk.fit_flame.parameters.motion import Motion, MotionError
from multitalk.flows.looking.viewer import ShownHead
from multitalk.flows.modelling.head_models import load_head_model
from multitalk.flows.modelling.stored_heads import model_of, to_motion
from multitalk.ground.landmark_layout import INNER_LIP_PAIRS
from multitalk.ground.units import AUDIO_RATE, FPS
from multitalk.ground.untrusted.array_files import read_npz
from multitalk.ground.untrusted.files import UntrustedFileError
from multitalk.manifests.dataset import Dataset
from multitalk.manifests.media import MediaError, Samples, read_frames, read_sound
from multitalk.manifests.paths import DatasetError, audio_path, clip_path

FloatArray = npt.NDArray[np.float32]
LIPS_APART = "lips apart, mm"
_SIDE, _QUALITY = 320, 78  # of the video's pictures


def head_of_clip(dataset: Dataset, clip_id: str, named: str | None = None) -> ShownHead:
    """Show a clip of a dataset: its head as it was fitted, its video and sound.

    Parameters
    ----------
    dataset
        The dataset.
    clip_id
        A clip that was fitted.
    named
        The head model's name or file, where the clip's key does not tell.

    Raises
    ------
    DatasetError
        There is no such clip, or it was not fitted.
    MotionError, AssetError, HeadModelError
        Its head model is not here.
    MediaError
        Its video or sound cannot be read.
    """
    try:
        motion = to_motion(dataset.motion(clip_id))
    except KeyError as error:
        raise DatasetError(f"{clip_id}: no such clip in {dataset.root}, or it was not fitted") from error
    model = model_of(motion.head_model, named)
    clips = dataset.arrow(["clip_id", "language"]).to_pydict()
    language = str(clips["language"][clips["clip_id"].index(clip_id)])
    video, sound = (place(dataset.root, language, clip_id) for place in (clip_path, audio_path))
    return ShownHead(
        title=f"{clip_id} ({language}, {model.name})",
        fps=motion.fps,
        vertices=decode(motion, model, head_pose=False),
        faces=model.faces,
        colours=model.colours,
        pose=_pose(motion, model),
        values=_values(motion, model),
        pictures=_pictures(video, motion.frame_count) if video.is_file() else (),
        sound=_wav(read_sound(sound)) if sound.is_file() else None,
    )


def head_of_file(path: Path, sound: Path | None, named: str | None = None) -> ShownHead:
    """Show a file of motion: what `talk` wrote, or anybody's vertices.

    Parameters
    ----------
    path
        `.npz` or `.npy`.
    sound
        What was spoken.
    named
        The head model's name or file, where the file does not tell.

    Raises
    ------
    MotionError
        The file does not say whose vertices these are, or they are others.
    VertexFileError, MediaError
        A file cannot be read.
    """
    vertices = read_vertices(path)
    key = _key_in(path)
    if key is None and named is None:
        raise MotionError(f"{path}: does not say which head model moves: name it (--head-model)")
    model = load_head_model(named) if key is None and named is not None else model_of(str(key), named)
    if vertices.shape[1] != len(model.v_template):
        raise MotionError(f"{path}: {vertices.shape[1]} vertices are not those of {model.key}")
    return ShownHead(
        title=f"{path.name} ({model.name})",
        fps=FPS,
        vertices=vertices,
        faces=model.faces,
        colours=model.colours,
        values=_weights_in(path, model, len(vertices)) | _lips_apart(vertices, model),
        sound=_wav(read_sound(sound)) if sound is not None else None,
    )


def _pose(motion: Motion, model: HeadModel) -> FloatArray:
    """(T, 3, 4) of the head about where it mostly is."""
    import torch

    from multitalk.fit_flame.parameters.decode import root_joint
    from multitalk.fit_flame.parameters.rotation import to_matrix

    turn = to_matrix(torch.from_numpy(motion.rotation.astype(np.float64))).numpy()
    shape, expression = (torch.tensor(part) for part in (motion.shape, motion.expression))
    joint = root_joint(model, shape, expression).numpy()
    seen = motion.translation[motion.valid] if motion.valid.any() else motion.translation
    place = joint - (turn @ joint[..., None])[..., 0] + motion.translation - np.median(seen, axis=0)
    return np.concatenate([turn, place[..., None]], axis=2).astype(np.float32)


def _values(motion: Motion, model: HeadModel) -> dict[str, FloatArray]:
    named = {}
    if model.rules is not None:
        named = dict(zip(model.rules.names, motion.expression.T, strict=True))
    return named | _lips_apart(decode(motion, model, head_pose=False), model)


def _lips_apart(vertices: FloatArray, model: HeadModel) -> dict[str, FloatArray]:
    """Gap of the inner lips in millimetres, where the head model's landmarks tell."""
    embedding = model.embedding
    if not np.isin(INNER_LIP_PAIRS[0], embedding.landmarks).all():
        return {}
    rows = [int(np.flatnonzero(embedding.landmarks == k)[0]) for k in INNER_LIP_PAIRS[0]]
    corners = vertices[:, embedding.vertices[rows]]
    upper, lower = np.moveaxis((corners * embedding.barycentric[rows][..., None]).sum(axis=2), 1, 0)
    return {LIPS_APART: (1000 * np.linalg.norm(upper - lower, axis=1)).astype(np.float32)}


def _key_in(path: Path) -> str | None:
    """Return the head model that a file of motion names."""
    if path.suffix != ".npz":
        return None
    try:
        named = read_npz(path).get("head_model")
    except UntrustedFileError as error:
        raise MotionError(str(error)) from error
    return str(named) if named is not None and named.ndim == 0 else None


def _weights_in(path: Path, model: HeadModel, frames: int) -> dict[str, FloatArray]:
    if path.suffix != ".npz" or model.rules is None:
        return {}
    weights = read_npz(path).get("expression")
    if weights is None or weights.shape != (frames, model.expression_size):
        return {}
    return dict(zip(model.rules.names, weights.astype(np.float32).T, strict=True))


def _pictures(video: Path, frames: int) -> list[bytes]:
    import cv2

    found = []
    for _, frame in zip(range(frames), read_frames(video, (_SIDE, _SIDE)), strict=False):
        shown = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
        done, content = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if not done:
            raise MediaError(f"{video}: a picture could not be encoded")
        found.append(content.tobytes())
    return found


def _wav(samples: Samples) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((1, 2, AUDIO_RATE, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    return content.getvalue()

"""What lip reading reads: rendered vertices, real videos, references, and MultiTalk's folder layout."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from eval.camera import Camera
from eval.ground_truth import GroundTruth
from eval.lip_reading import Sight
from eval.mouth import MouthLandmarks, Topology, model_input, mouth_crops
from eval.render import IntArray, MeshRenderer
from eval.vertex_files import find_vertex_files, read_vertices
from eval.video import read_frames

Float32Array = npt.NDArray[np.float32]
RENDER_SIZE = 512


class LayoutError(ValueError):
    """A folder is not laid out as MultiTalk's AVLR script expects."""


def rendered_mouths(vertices: Float32Array, faces: IntArray, template: Float32Array) -> Float32Array:
    """Render a head without pose and cut out its mouth; the landmarks are projected, not detected.

    Parameters
    ----------
    vertices
        (T, V, 3) metres at 25 frames a second.
    faces
        (F, 3) triangles.
    template
        (V, 3) neutral face, which the camera is set up by.

    Returns
    -------
    array
        (T, 88, 88) normalised grey.
    """
    camera = Camera.portrait(template, RENDER_SIZE)
    # The outline of the head is not in the picture of its mouth.
    with MeshRenderer(faces, len(template), camera, RENDER_SIZE, RENDER_SIZE, smooth_edges=False) as renderer:
        return model_input(
            mouth_crops(map(renderer.render, vertices), MouthLandmarks.of_mesh(vertices, camera))
        )


def vertex_sight(
    folder: Path, faces: IntArray, template: Float32Array, metres_per_unit: float = 1.0
) -> Sight:
    """Mouth pictures of a model's folder of vertex files.

    Raises
    ------
    VertexFileError
        The folder can not be used.
    """
    files = find_vertex_files(folder)

    def see(clip_id: str) -> Float32Array:
        if clip_id not in files:
            raise LookupError(f"no prediction in {folder}")
        return rendered_mouths(read_vertices(files[clip_id].paths[0], metres_per_unit), faces, template)

    return see


def truth_sight(truth: GroundTruth, faces: IntArray) -> Sight:
    """Mouth pictures of the true motion, rendered: the ceiling of what any model could reach."""

    def see(clip_id: str) -> Float32Array:
        clip = truth.load(clip_id)
        if clip.template is None:
            raise LookupError(f"{clip_id}: rendering needs a template")
        return rendered_mouths(clip.vertices, faces, clip.template)

    return see


def video_sight(
    video: Callable[[str], Path],
    landmarks: Callable[[str], npt.NDArray[np.floating]],
    topology: Topology = "mediapipe",
) -> Sight:
    """Mouth pictures of real or rendered videos at 25 frames a second.

    Parameters
    ----------
    video
        Gives a clip's video by clip id.
    landmarks
        Gives its landmarks (T, N, 2 or more) in pixels of that video, NaN without a face; for instance
        `manifests.open_dataset(root).landmarks`, or a detector.
    topology
        Of the landmarks.
    """

    def see(clip_id: str) -> Float32Array:
        points = MouthLandmarks.of(landmarks(clip_id), topology)
        return model_input(mouth_crops(read_frames(video(clip_id)), points))

    return see


def model_sight(
    folder: Path,
    faces: IntArray,
    template: Float32Array,
    detect: Callable[[Path], npt.NDArray[np.floating]],
    metres_per_unit: float = 1.0,
) -> Sight:
    """Mouth pictures of a model's folder, of vertex files or of `<clip_id>.mp4` videos, whichever it holds.

    Parameters
    ----------
    detect
        Finds MediaPipe's landmarks (T, 478, 2 or more) in a video, in its pixels, NaN without a face.

    Other parameters and what is raised as `vertex_sight`.
    """
    if any(folder.glob("*.mp4")):
        return video_sight(
            lambda clip_id: folder / f"{clip_id}.mp4", lambda clip_id: detect(folder / f"{clip_id}.mp4")
        )
    return vertex_sight(folder, faces, template, metres_per_unit)


@dataclass(frozen=True, slots=True)
class AvlrFolder:
    """What lies in MultiTalk's `avlr/<language>`."""

    checkpoint: Path
    """Folder of the recogniser, `checkpoints/<language>_avsr`."""
    models: Mapping[str, Path]
    """`inputs/<model>`: folders of videos or of vertex files by model."""
    sounds: Path
    """`inputs/wav`."""


def avlr_folder(folder: Path, language_code: str) -> AvlrFolder:
    """Find the parts of MultiTalk's layout.

    Raises
    ------
    LayoutError
        `inputs/wav` or every `inputs/<model>` is missing.
    """
    inputs = folder / "inputs"
    models = (
        {p.name: p for p in sorted(inputs.iterdir()) if p.is_dir() and p.name != "wav"}
        if inputs.is_dir()
        else {}
    )
    if not (inputs / "wav").is_dir() or not models:
        raise LayoutError(
            f"{folder}: needs inputs/wav and inputs/<model> with the videos or vertices of each model"
        )
    return AvlrFolder(folder / "checkpoints" / f"{language_code}_avsr", models, inputs / "wav")


def read_valid_clips(path: Path) -> frozenset[str]:
    """Read the clips that a list such as the paper's keeps: a JSON object of true or false by clip id.

    Raises
    ------
    LayoutError
        It is not such a file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return frozenset(str(clip) for clip, valid in content.items() if valid)
    except (OSError, ValueError, AttributeError) as error:
        raise LayoutError(f"{path}: not a JSON object of true or false by clip ({error})") from error


def recognised_references(
    sounds: Mapping[str, Path], language_code: str, whisper: Path | str, record: Path
) -> dict[str, str]:
    """Make references as the paper does: what Whisper hears in the clean sound (beam 5, language given).

    Parameters
    ----------
    sounds
        Clean sound by clip id.
    language_code
        Whisper's code, e.g. `de`.
    whisper
        Folder of a faster-whisper model; the paper used large-v3.
    record
        JSON file that keeps what was heard; clips that are in it are not heard again.

    Returns
    -------
    dict
        Text by clip id.
    """
    heard: dict[str, str] = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    missing = [clip_id for clip_id in sounds if clip_id not in heard]
    if missing:
        from faster_whisper import WhisperModel

        model = WhisperModel(str(whisper), device="cpu", compute_type="int8")
        for clip_id in missing:
            segments, _ = model.transcribe(str(sounds[clip_id]), language=language_code, beam_size=5)
            heard[clip_id] = " ".join(segment.text.strip() for segment in segments)
            _write_json(record, heard)  # each one took long
    return {clip_id: heard[clip_id] for clip_id in sounds}


def _write_json(path: Path, content: Mapping[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.tmp")
    unfinished.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    unfinished.replace(path)

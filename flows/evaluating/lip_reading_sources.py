"""Where lip reading's clips and pictures come from: a release, a folder of clips, or MultiTalk's layout."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from multitalk.assets.errors import AssetError
from multitalk.assets.fetch import require
from multitalk.eval.ground_truth import ReleaseTruth
from multitalk.eval.lip_reading.clips import avlr_folder, folder_clips
from multitalk.eval.lip_reading.inputs import (
    model_version,
    true_mouth_crops,
    vertex_mouth_crops,
    video_mouth_crops,
)
from multitalk.eval.lip_reading.lip_reading import MouthCrops, SpokenClip, Version, file_version
from multitalk.eval.lip_reading.release import REAL_VIDEO, release_clips, release_mouth_crops, release_speech
from multitalk.extract.errors import ClipError
from multitalk.extract.faces.landmarks import MediaPipeDetector
from multitalk.fit_flame.heads.head_model import HeadModel, HeadModelError
from multitalk.fit_flame.parameters.motion import MotionError
from multitalk.flows.evaluating.lip_reading_settings import ReadLipsSettings
from multitalk.flows.modelling.head_models import CANONICAL, load_head_model
from multitalk.flows.modelling.stored_heads import only_model
from multitalk.ground.settings import SettingsError
from multitalk.manifests.media import MediaError
from multitalk.manifests.paths import clip_path, motion_path
from multitalk.manifests.releases.release import read_release

TRUTH = "ground truth"


@dataclass(slots=True)
class Source:
    """What is read of one language."""

    clips: list[SpokenClip]
    speech: Mapping[str, Path]
    """Sound by source video, for babble."""
    mouth_crops: dict[str, MouthCrops] = field(default_factory=dict)
    """Pictures by row."""
    versions: dict[str, Version] = field(default_factory=dict)
    """State of what they are made of, by row."""
    note: str = ""
    """What is missing, and why."""


def open_source(settings: ReadLipsSettings, language: str, code: str) -> Source:
    """Gather clips and rows: every model, the true motion where it is known, and the real video.

    Parameters
    ----------
    settings
    language
        As the manifest calls it.
    code
        Of two letters, as MultiTalk's folders call it.

    Raises
    ------
    LayoutError, VertexFileError, DatasetError, SettingsError
        A folder or the release can not be used, or two rows have one name.
    AssetError, HeadModelError, MotionError
        The head model of vertices is not here, or can not be used.
    """
    models = dict(settings.models)
    head: HeadModel | None = None
    if settings.release is not None:
        source = _release(settings, language)
    elif settings.clips is not None:
        source = _folder(settings.clips)
    else:
        assert settings.avlr is not None
        layout = avlr_folder(settings.avlr, code)
        clips = folder_clips(layout.sounds)
        source = Source(clips, {clip.source: clip.sound for clip in clips})
        models = {**layout.models, **models}
    rows: dict[str, MouthCrops] = {}
    for name, folder in models.items():
        if name in source.mouth_crops:
            raise SettingsError(f"{name}: another row has this name; call the model otherwise")
        if any(folder.glob("*.mp4")):
            rows[name] = _mouth_crops_of_videos(folder)
            source.versions[name] = model_version(folder)
        else:
            head = head or _head_model(settings)
            rows[name] = vertex_mouth_crops(folder, head.faces, head.v_template, settings.metres_per_unit)
            source.versions[name] = _drawn(model_version(folder), head, settings.metres_per_unit)
    source.mouth_crops = {**rows, **source.mouth_crops}
    return source


class LargestFaceFinder:
    """Landmarks of the largest face of a video; MediaPipe starts with the first one."""

    def __init__(self) -> None:
        self._detector: MediaPipeDetector | None = None

    def __call__(self, video: Path) -> npt.NDArray[np.floating]:
        """Find landmarks (T, 478, 2) in a video's pixels, NaN where no face is seen.

        Raises
        ------
        MediaError
            The video can not be read.
        """
        self._detector = self._detector or MediaPipeDetector(require("face_landmarker"))
        points: list[npt.NDArray[np.floating]] = []
        try:
            for frame in self._detector.faces(video):
                faces = sorted(frame.faces, key=lambda face: float(np.ptp(face.box.reshape(2, 2)[:, 0])))
                points.append(faces[-1].points[:, :2] if faces else np.full((478, 2), np.nan))
        except ClipError as error:
            raise MediaError(f"{video}: {error}") from error
        return np.stack(points) if points else np.zeros((0, 478, 2))


def _release(settings: ReadLipsSettings, language: str) -> Source:
    assert settings.root is not None and settings.release is not None
    root, release = settings.root, settings.release
    clips = release_clips(root, release, language, settings.split)
    if not clips:
        raise SettingsError(f"release {release}: its split {settings.split!r} has no clip of {language}")
    source = Source(clips, release_speech(root, release, language))
    source.mouth_crops[REAL_VIDEO] = release_mouth_crops(root, language, LargestFaceFinder())
    source.versions[REAL_VIDEO] = lambda clip_id: file_version(clip_path(root, language, clip_id))
    try:
        head = _head_model(settings)
    except (AssetError, HeadModelError, MotionError, OSError) as error:
        source.note = f"No row for the true motion: {error}"
        return source
    truth = ReleaseTruth(root, release, head, settings.split)
    videos = {clip.clip_id: clip.source for clip in clips}
    source.mouth_crops = {TRUTH: true_mouth_crops(truth, head.faces), **source.mouth_crops}
    motion: Version = lambda clip_id: file_version(motion_path(root, language, videos[clip_id]))  # noqa: E731
    source.versions[TRUTH] = _drawn(motion, head)
    return source


def _drawn(vertices: Version, head: HeadModel, metres_per_unit: float = 1.0) -> Version:
    """Tell the state of pictures of vertices: they change with the head and the unit that they are drawn by."""
    return lambda clip_id: f"{vertices(clip_id)} {head.key} {metres_per_unit:g}"


def _folder(folder: Path) -> Source:
    clips = folder_clips(folder)
    source = Source(clips, {clip.source: clip.sound for clip in clips})
    if any(folder.glob("*.mp4")):
        source.mouth_crops[REAL_VIDEO] = _mouth_crops_of_videos(folder)
        source.versions[REAL_VIDEO] = model_version(folder)
    return source


def _mouth_crops_of_videos(folder: Path) -> MouthCrops:
    find = LargestFaceFinder()
    return video_mouth_crops(
        lambda clip_id: folder / f"{clip_id}.mp4", lambda clip_id: find(folder / f"{clip_id}.mp4")
    )


def _head_model(settings: ReadLipsSettings) -> HeadModel:
    if settings.release is None or settings.root is None:
        return load_head_model(settings.head_model or CANONICAL)
    return only_model(read_release(settings.root, settings.release)["head_model"], settings.head_model)

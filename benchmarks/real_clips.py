"""Landmarks of real clips: stored ones, or the sample's, taken through trim, landmarks and track."""

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from multitalk.assets.fetch import require
from multitalk.extract.annotations import Annotation, read_annotations
from multitalk.extract.faces.landmarks import LandmarkSettings, MediaPipeDetector
from multitalk.extract.faces.tracks import FaceTrack, TrackSettings, box_in_clip, choose_track
from multitalk.extract.probe import probe
from multitalk.extract.trim import TrimRequest, TrimResult, TrimSettings, trim_clips

Clips = dict[str, tuple[np.ndarray, np.ndarray]]


def read_folder(folder: Path) -> Clips:
    """Landmarks and validity of stored clips."""
    clips = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as stored:
            clips[path.stem] = stored["landmarks"], stored["valid"]
    return clips


def read_sample(sample: Path, *, quick: bool) -> Clips:
    """Take the sample's good clips through trim, landmarks and track."""
    if not (sample / "videos").is_dir():
        return {}
    wanted = (
        "enAOCsynced",
        "deTalkerAAA",
        "ruSyncedJJJ",
        "enSyncedKKK",
        "frTalkerBBB",
        "jaTalkerEEE",
        "ruTalkerCCC",
    )
    by_video = defaultdict(list)
    for annotation in read_annotations(sorted((sample / "annotations").glob("*.json"))).annotations:
        if annotation.video_id in wanted[: 2 if quick else None]:
            by_video[annotation.video_id].append(annotation)
    if quick:
        by_video = defaultdict(list, {name: annotations[:1] for name, annotations in by_video.items()})
    clips: Clips = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, annotations in by_video.items():
            tracked = track_clips(sample / "videos" / f"{name}.mp4", annotations, Path(scratch))
            for annotation, (_, track) in zip(annotations, tracked, strict=True):
                clips[annotation.clip_id] = track.landmarks, track.valid
    return clips


def track_clips(
    source: Path, annotations: list[Annotation], scratch: Path
) -> Iterator[tuple[TrimResult, FaceTrack]]:
    """Take one video's clips through trim, landmarks and track, each in its turn; all of them must be good."""
    detector = MediaPipeDetector(require("face_landmarker"), LandmarkSettings(max_faces=2))
    video = probe(source)
    requests = [
        TrimRequest(a, scratch / f"{a.clip_id}.mp4", scratch / f"{a.clip_id}.wav") for a in annotations
    ]
    for annotation, trimmed in zip(
        annotations, trim_clips(source, video, requests, TrimSettings()), strict=True
    ):
        assert isinstance(trimmed, TrimResult), trimmed
        box = box_in_clip(annotation.bbox.as_dict(), trimmed.crop, video.width, video.height)
        faces = [seen.faces for seen in detector.faces(trimmed.clip_path)]
        yield trimmed, choose_track(faces, box, TrackSettings(), annotation.clip_id)

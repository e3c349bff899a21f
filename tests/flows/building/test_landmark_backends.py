"""The choice of a landmark detector: its settings, its files, and a clip through the stages with 68 points."""

import numpy as np
import pytest

from benchmarks.landmarks import moving_portrait
from multitalk.assets.errors import AssetMissing
from multitalk.assets.fetch import require
from multitalk.extract.annotations import Annotation, BoundingBox
from multitalk.extract.errors import Stage
from multitalk.extract.faces.face_alignment import DEPTH_NETWORK, LANDMARK_NETWORK, SFD_NETWORK
from multitalk.extract.faces.landmarks import DetectedFace, FrameFaces, LandmarkSettings, MediaPipeDetector
from multitalk.flows.building import clip as stages
from multitalk.flows.building import stages as stage_rules
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.modelling.detectors import detected_layout, face_detector
from multitalk.ground.face_layout import IBUG_68
from multitalk.manifests import open_dataset
from multitalk.manifests.clip_row import ClipRow
from multitalk.manifests.store import commit_fragment

IBUG = LandmarkSettings(backend="face-alignment")


class FewerPoints(MediaPipeDetector):
    """True 68 points: those of MediaPipe's that lie where iBUG's do."""

    def faces(self, clip):
        for seen in super().faces(clip):
            few = tuple(DetectedFace(face.points[list(IBUG_68.mediapipe)]) for face in seen.faces)
            yield FrameFaces(seen.index, seen.frame, few)


def test_the_choice_makes_other_rows_and_what_it_leaves_unused_does_not(monkeypatch):
    monkeypatch.setattr(stage_rules, "version_of", lambda name: f"version of {name}")

    def landmarks(settings):
        return stage_rules.stage_fingerprints(BuildSettings(landmarks=settings))[Stage.LANDMARKS]

    default = landmarks(LandmarkSettings())
    unused = LandmarkSettings(face_alignment={"detector": "blazeface"})
    assert landmarks(unused) == default
    assert landmarks(IBUG) != default
    blazeface = IBUG.model_copy(update={"face_alignment": unused.face_alignment})
    assert landmarks(blazeface) != landmarks(IBUG)
    assert detected_layout(IBUG) is IBUG_68


def test_a_regressor_goes_with_mediapipe_only():
    with pytest.raises(ValueError, match="crops by MediaPipe's landmarks"):
        BuildSettings(landmarks=IBUG, regressor={"name": "smirk"}, head_model="flame_2020")


def test_absent_networks_are_said_with_the_way_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("MULTITALK_ASSETS", str(tmp_path))
    monkeypatch.setenv("MULTITALK_CACHE", str(tmp_path / "cache"))
    with pytest.raises(AssetMissing, match=f"multitalk assets fetch face_alignment.*{LANDMARK_NETWORK}"):
        face_detector(IBUG)


def test_the_librarys_own_downloads_are_found_and_others_files_refused(monkeypatch, tmp_path):
    from multitalk.assets.errors import AssetCorrupt

    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    for name in (LANDMARK_NETWORK, DEPTH_NETWORK, SFD_NETWORK):
        (folder / name).write_bytes(b"something else")
    monkeypatch.setenv("MULTITALK_ASSETS", str(tmp_path))
    monkeypatch.setenv("MULTITALK_CACHE", str(tmp_path / "cache"))
    with pytest.raises(
        AssetCorrupt, match=f"{LANDMARK_NETWORK}: the content is not that.*expected 7835d9f11d"
    ):
        face_detector(IBUG)


def test_a_clip_of_68_points_is_built_measured_fitted_and_stored(monkeypatch, tmp_path):
    place = moving_portrait(tmp_path / "portrait.mp4", 16)
    box = BoundingBox(top=0.1, bottom=0.9, left=0.1, right=0.9)
    annotation = Annotation("portrait_0", "portrait", "english", 0.0, 0.64, 0, 16, box, "")
    rows = {}
    for name, kind, settings in (("478", MediaPipeDetector, LandmarkSettings()), ("68", FewerPoints, IBUG)):
        detector = kind(require("face_landmarker"))
        monkeypatch.setattr(stages, "face_detector", lambda _, detector=detector: detector)
        row = ClipRow("portrait_0", "portrait", "english")
        row.source_width = row.source_height = 512
        clip = stages.ClipInWork(annotation, row, place, place)
        does = stages.ClipStages(BuildSettings(root=tmp_path, landmarks=settings, head_model="canonical"))
        for stage in (Stage.LANDMARKS, Stage.IMAGE):
            does.do(stage, clip)
        assert does.fit([clip]) == [None]
        rows[name] = row.to_mapping()
    few, every = rows["68"], rows["478"]
    np.testing.assert_allclose(few["yaw_deg"], every["yaw_deg"], atol=3)
    np.testing.assert_allclose(few["roll_deg"], every["roll_deg"], atol=3)
    np.testing.assert_allclose(few["pitch_deg"], every["pitch_deg"], atol=6)
    assert few["face_size_px"] == every["face_size_px"]
    assert few["mouth_open_range"] == every["mouth_open_range"]
    assert few["bbox_iou"] == pytest.approx(every["bbox_iou"], abs=0.05)
    assert few["fit_landmark_error"] < every["fit_landmark_error"] + 0.002
    row = {"clip_id": "portrait_0", "video_id": "portrait", "language": "english", "status": "ok"}
    commit_fragment(
        tmp_path, "english", "portrait", [row], landmark_rows=[clip.landmarks_row()], fingerprint="f"
    )
    stored = open_dataset(tmp_path).landmarks("portrait_0")
    assert stored["landmarks"].shape == (16, 68, 3)
    np.testing.assert_array_equal(stored["confidence"], clip.landmarks.confidence)
    assert clip.motion_row()["confidence"].shape == (16, 2)
    np.testing.assert_array_equal(
        stored["landmarks"], clip.landmarks.points
    )  # what is fitted is what is stored

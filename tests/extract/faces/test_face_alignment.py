"""The library's real networks with random weights: their published files can not be had while testing."""

import importlib.util
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest

from multitalk.extract.errors import ClipError, ErrorCode
from multitalk.extract.faces import face_alignment
from multitalk.extract.faces.face_alignment import FaceAlignmentDetector
from multitalk.extract.faces.landmarks import FaceAlignmentSettings, LandmarkSettings
from multitalk.extract.faces.tracks import TrackSettings, choose_track

pytestmark = pytest.mark.slow

WHOLE = np.array([0, 0, 160, 160], np.float32)


if importlib.util.find_spec("face_alignment") is None:
    pytest.skip("the extra `face-alignment` is not installed", allow_module_level=True)


def settings(detector="sfd", **chosen):
    chosen = {"max_faces": 2, **chosen}
    return LandmarkSettings(
        backend="face-alignment", face_alignment=FaceAlignmentSettings(detector=detector), **chosen
    )


def save(tensors, file):
    """Half precision: half the bytes to write, and loaded into the same networks."""
    import torch

    torch.save({name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}, file)


def see_everywhere(network, found, missed):
    """Make a detector sure of a face at each of an output's places, and at none of the others'."""
    import torch

    with torch.no_grad():
        for name, value in ((found, 4.0), *((other, -4.0) for other in missed)):
            head = getattr(network, name)
            head.weight.zero_()
            # S3FD has a class for the background before that of faces (three for its first output).
            head.bias.copy_(torch.tensor([-value] * (len(head.bias) - 1) + [value]))


@pytest.fixture(scope="module")
def networks():
    import numba
    import torch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba.config, "DISABLE_JIT", True)  # compiling takes 12 s, and saves milliseconds here
        from face_alignment.detection.blazeface.net_blazeface import BlazeFace
        from face_alignment.detection.sfd.net_s3fd import s3fd
        from face_alignment.models import FAN, ResNetDepth

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(FAN(4).state_dict(), folder / face_alignment.LANDMARK_NETWORK)
        depth = {
            f"module.{k}": v.half() if v.is_floating_point() else v
            for k, v in ResNetDepth().state_dict().items()
        }
        # As training scripts of its time kept them, with a score that is numpy's.
        torch.save(
            {"epoch": 3, "best_acc": np.float64(0.9), "state_dict": depth},
            folder / face_alignment.DEPTH_NETWORK,
        )
        sfd = s3fd()
        others = [f"conv{n}_3_norm_mbox_conf" for n in (3, 4, 5)] + ["conv6_2_mbox_conf", "conv7_2_mbox_conf"]
        see_everywhere(sfd, "fc7_mbox_conf", others)
        save(sfd.state_dict(), folder / face_alignment.SFD_NETWORK)
        blazeface = BlazeFace(back_model=True)
        with torch.no_grad():
            for layer, bias in ((blazeface.classifier_8, -9), (blazeface.classifier_16, 9)):
                layer.weight.zero_()
                layer.bias.fill_(bias)
            # Shift and size of the box, in 256ths of the anchor, then six keypoints: boxes like the anchors.
            blazeface.regressor_16.weight.zero_()
            blazeface.regressor_16.bias.copy_(torch.tensor([0.0, 0, 256, 256, *[0] * 12]).repeat(6))
        save(blazeface.state_dict(), folder / face_alignment.BLAZEFACE_NETWORK)
        anchors = np.tile(np.array([0.5, 0.4, 0.5, 0.5], np.float32), (896, 1))
        np.save(folder / face_alignment.BLAZEFACE_ANCHORS, anchors)
        yield folder


@pytest.fixture(scope="module")
def detector(networks):
    return FaceAlignmentDetector(networks, networks / face_alignment.SFD_NETWORK, settings())


@pytest.fixture(scope="module")
def clip(networks):
    """Two frames of 160 x 160 pixels; the cost of S3FD goes with the area."""
    import av
    from skimage import data

    place = networks / "clip.mp4"
    with av.open(str(place), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 160
        for left in (150, 152):
            picture = np.ascontiguousarray(data.astronaut()[30:190, left : left + 160])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return place


def check(seen, faces):
    assert [frame.index for frame in seen] == [0, 1]
    for frame in seen:
        assert len(frame.faces) == faces
        for face in frame.faces:
            assert face.points.shape == (68, 3)
            assert face.points.dtype == np.float32
            assert np.isfinite(face.points).all()
            assert face.points[:, :2].min() > -160
            assert face.points[:, :2].max() < 320


def test_sfds_surest_faces_have_68_points_in_pixels_and_can_be_followed(detector, clip):
    seen = list(detector.faces(clip))
    check(seen, 2)  # of the many places that S3FD was made sure of, max_faces
    loose = TrackSettings(min_overlap=0.01)  # random networks do not hold still
    track = choose_track([frame.faces[:1] for frame in seen], WHOLE, loose, "clip_0")
    assert track.landmarks.shape == (2, 68, 3)
    # The library's depth grows towards the viewer, ours away from them.
    boxes = list(detector._boxes(seen[0].frame))[:1]
    [theirs] = detector._library.get_landmarks_from_image(seen[0].frame, detected_faces=boxes)
    np.testing.assert_array_equal(seen[0].faces[0].points, np.float32(theirs) * np.float32([1, 1, -1]))


def test_blazeface_finds_the_faces_as_well(networks, clip):
    check(list(FaceAlignmentDetector(networks, networks, settings("blazeface")).faces(clip)), 1)


def test_boxes_are_the_surest_ones_inside_the_frame(detector, monkeypatch):
    found = [
        [-40, 10, 90, 100, 0.6],
        [10, 10, 90, 90, 0.9],
        [505, 0, 700, 200, 0.99],  # seven pixels of it are in the picture
        [10, 10, 90, 90, 0.4],
        [20, 20, 90, 90, 0.7],
    ]
    picture = np.zeros((512, 512, 3), np.uint8)

    def find(boxes):
        monkeypatch.setattr(
            detector._library.face_detector, "detect_from_image", lambda _: [np.array(b) for b in boxes]
        )
        return detector._boxes(picture)

    np.testing.assert_allclose(find(found), [[10, 10, 90, 90, 0.9], [20, 20, 90, 90, 0.7]])
    assert find([]).shape == find([[]]).shape == (0, 5)
    assert detector._find(picture) == ()


def test_a_pickle_with_code_in_it_is_refused(tmp_path):
    mark, file = tmp_path / "ran", tmp_path / face_alignment.LANDMARK_NETWORK
    evil = type("Evil", (), {"__reduce__": lambda self: (open, (str(mark), "w"))})
    file.write_bytes(pickle.dumps({"state_dict": evil()}))
    with pytest.raises(ClipError, match=f"{file.name} is not the network that face-alignment") as caught:
        face_alignment._network("FAN", file, 4)
    assert caught.value.code is ErrorCode.INTERNAL
    assert not mark.exists()


def test_another_networks_file_is_refused(tmp_path):
    import torch

    file = tmp_path / face_alignment.LANDMARK_NETWORK
    torch.save({"conv1.weight": torch.zeros(3)}, file)
    with pytest.raises(ClipError, match="is not the network that face-alignment publishes"):
        face_alignment._network("FAN", file, 4)


def test_a_missing_file_is_said_at_once(tmp_path):
    with pytest.raises(FileNotFoundError, match="3DFAN4"):
        FaceAlignmentDetector(tmp_path, tmp_path / "s3fd.pth")

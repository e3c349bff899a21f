"""From frames and landmarks through a regressor to a motion, or to where the fit starts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from multitalk.fit_flame.fit import FitDiverged, FitSettings, fit_clip
from multitalk.fit_flame.heads.head_model import HeadModelError
from multitalk.fit_flame.parameters.decode import decode, project_vertices, root_joint
from multitalk.fit_flame.parameters.synthetic import landmarks_of, speaking
from multitalk.fit_flame.regressors.crop import LIKE_THE_68, CropRule, cut, to_frame, windows
from multitalk.fit_flame.regressors.interface import Code, Coefficients
from multitalk.fit_flame.regressors.motion import regressed_motion
from multitalk.fit_flame.regressors.regress import regress
from multitalk.fit_flame.regressors.start import clip_shape, expression_of

BOX = CropRule((0, 1), 1.5)


def box(left, top, right, bottom):
    """Landmarks of one frame whose first two span a box."""
    points = np.zeros((478, 3), np.float32)
    points[0, :2], points[1, :2] = (left, bottom), (right, top)
    return points


def test_windows_by_hand():
    landmarks = np.stack([box(100, 50, 180, 170), np.full((478, 3), np.nan), box(120, 50, 200, 171)])
    found = windows(landmarks, np.array([True, False, True]), BOX)
    # Mean of 80 and 120 is 100, half as much again 150; of 80 and 121 it is 150.75, and whole pixels count.
    np.testing.assert_allclose(found[0], [140 - 75, 110 - 75, 150])
    np.testing.assert_allclose(found[2], [160 - 75, 110.5 - 75, 150])
    np.testing.assert_allclose(found[1], [150 - 75, 110.25 - 75, 150])


def test_box_of_the_68_leaves_the_forehead_out(head):
    landmarks = landmarks_of(speaking(head, 1), head)
    all_points = windows(landmarks, np.ones(1, bool), CropRule(tuple(range(478)), 1))
    like_68 = windows(landmarks, np.ones(1, bool), CropRule(LIKE_THE_68, 1))
    assert like_68[0, 2] < 0.95 * all_points[0, 2]
    assert like_68[0, 1] > all_points[0, 1]


def test_cut_by_hand():
    """A frame whose red is the column and whose green is the row; a window of side 446 takes every second."""
    rows, columns = np.mgrid[:200, :250]
    frame = torch.tensor(np.stack([columns, rows, 0 * rows]), dtype=torch.uint8)[None]
    image = cut(frame, torch.tensor([[10.0, -6.0, 446.0]]), BOX)[0] * 255
    assert image.shape == (3, 224, 224)
    np.testing.assert_allclose(image[0, 50, :120], 10 + 2 * np.arange(120), atol=1e-2)
    np.testing.assert_allclose(image[1, 3:100, 0], 2 * np.arange(97), atol=1e-2)
    assert image[:, :3].abs().max() < 1e-2  # above the frame
    assert image[:, :, 121:].abs().max() < 1e-2  # right of it
    half = cut(frame, torch.tensor([[10.5, 0.25, 223.0]]), BOX)[0] * 255
    np.testing.assert_allclose(half[:2, 4, 7], [17.5, 4.25], atol=1e-2)
    whole = cut(frame, torch.tensor([[10.5, 0.25, 223.0]]), replace(BOX, whole_levels=True))[0] * 255
    np.testing.assert_allclose(whole[:2, 4, 7], [17, 4], atol=1e-4)


def test_cameras_come_back_through_the_window():
    places = np.array([[65.0, 35.0, 150.0]])
    scale, tx, ty = 8.0, 0.01, -0.02
    point = np.array([0.03, 0.05])  # metres, y up
    on_image = (1 + scale * (point + np.array([tx, ty])) * (1, -1)) * 112
    wanted = places[0, :2] + on_image * 150 / 223
    per_metre, x, y = to_frame(np.array([[scale, tx, ty]]), places)[0]
    np.testing.assert_allclose([x + per_metre * point[0], y - per_metre * point[1]], wanted)


class Counter:
    """A regressor whose numbers are its input's: mean colour and where it was in the batch."""

    crop = BOX

    def __init__(self, held=None):
        self.batches, self.read_ahead, self.held = [], [], held

    def encode(self, images):
        self.batches.append(len(images))
        self.read_ahead.append(self.held and len(self.held))
        return images.mean((1, 2, 3))[:, None]

    def read(self, codes):
        blank = codes.new_zeros(len(codes), 100)
        camera = torch.tensor([[8.0, 0, 0]]).expand(len(codes), 3)
        return Code(blank + codes, blank[:, :50], blank[:, :3], blank[:, :2], blank[:, :3], camera)


def frames_of(levels, held):
    for i, level in enumerate(levels):
        held.append(i)
        yield np.full((40, 40, 3), level, np.uint8)


def test_frames_are_streamed_in_batches():
    landmarks = np.stack([box(10, 10, 30, 30)] * 7)
    held = []
    counter = Counter(held)
    valid = np.array([True, True, False, True, True, True, True])
    found = regress(counter, frames_of(range(0, 70, 10), held), landmarks, valid, batch=3)
    assert counter.batches == [3, 3, 1]
    assert counter.read_ahead == [3, 6, 7]
    np.testing.assert_allclose(found.shape[:, 0] * 255, range(0, 70, 10), atol=1e-3)
    np.testing.assert_array_equal(found.valid, valid)
    np.testing.assert_allclose(found.camera[:, 1:], 20 - 15 + 112 * 30 / 223, atol=1e-4)


@pytest.mark.parametrize("count", [6, 8])
def test_frames_and_landmarks_must_be_as_many(count):
    landmarks = np.stack([box(10, 10, 30, 30)] * 7)
    with pytest.raises(ValueError, match="frames"):
        regress(Counter(), frames_of(range(count), []), landmarks, np.ones(7, bool))


@pytest.fixture(scope="module")
def flame(head):
    """The canonical model under FLAME 2020's name: what counts is that coefficients and model agree."""
    return replace(head, name="flame_2020")


@pytest.fixture(scope="module")
def truth(flame):
    return speaking(flame)


def coefficients(motion, flame, per_metre=1600.0, at=(250.0, 260.0)):
    """What a perfect regressor would give: the motion's numbers with a weak-perspective camera."""
    frames = motion.frame_count
    camera = np.tile(np.array([per_metre, *at], np.float32), (frames, 1))
    # The network gives a shape for every frame; about the mean they scatter.
    scatter = np.linspace(-0.1, 0.1, frames, dtype=np.float32)[:, None]
    return Coefficients(
        shape=motion.shape + scatter,
        expression=motion.expression[:, :50],
        jaw=motion.jaw,
        eyelids=np.zeros((frames, 2), np.float32),
        rotation=motion.rotation,
        camera=camera,
        valid=motion.valid,
    )


def test_motion_shows_what_the_regressor_saw(flame, truth):
    """Its pinhole camera stands so far away that it shows what parallel rays show."""
    given = coefficients(truth, flame)
    still = replace(truth, translation=np.zeros_like(truth.translation))
    flat = decode(still, flame)[..., :2] * 1600 * (1, -1) + (250, 260)
    result = regressed_motion(given, flat.astype(np.float32), flame, max_error=0.05)
    assert result.landmark_error < 0.005
    assert result.landmark_error_lips < 0.005
    np.testing.assert_allclose(project_vertices(result.motion, flame), flat, atol=0.6)
    np.testing.assert_array_equal(result.motion.jaw, truth.jaw)
    assert result.motion.head_model == flame.key


def test_of_a_moving_contour_only_the_part_of_the_frames_yaw_counts(flame, truth):
    """A second set of landmarks, meant for a head turned by 39 degrees, is wrong and must not matter."""
    given = coefficients(truth, flame)
    landmarks = landmarks_of(truth, flame)
    wanted = regressed_motion(given, landmarks, flame, max_error=1)
    own = flame.embedding
    embedding = replace(
        own,
        landmarks=np.tile(own.landmarks, 2),
        vertices=np.concatenate([own.vertices, own.vertices[::-1]]),
        barycentric=np.tile(own.barycentric, (2, 1)),
        yaw=np.repeat(np.float32([0, np.radians(39)]), len(own.landmarks)),
    )
    found = regressed_motion(given, landmarks, replace(flame, embedding=embedding), max_error=1)
    assert found.landmark_error == pytest.approx(wanted.landmark_error)


def test_a_regressor_that_missed_the_face_says_so(flame, truth):
    given = coefficients(truth, flame)
    landmarks = landmarks_of(truth, flame)
    with pytest.raises(FitDiverged, match="of the regressor"):
        regressed_motion(given, landmarks + 100, flame, max_error=0.2)
    garbage = replace(given, camera=np.full_like(given.camera, -5.0))
    with pytest.raises(FitDiverged):
        regressed_motion(garbage, landmarks, flame, max_error=0.2)
    blind = replace(given, valid=np.zeros(len(given.valid), bool))
    with pytest.raises(FitDiverged, match="no frame"):
        regressed_motion(blind, landmarks, flame, max_error=0.2)


def test_frames_without_landmarks_do_not_count(flame, truth):
    landmarks = landmarks_of(truth, flame)
    valid = np.arange(40) % 4 > 0
    landmarks[~valid] = np.nan
    given = replace(coefficients(truth, flame), valid=valid)
    result = regressed_motion(given, landmarks, flame, max_error=1)
    np.testing.assert_array_equal(np.isfinite(result.motion.residual), valid)
    assert np.isfinite(result.motion.eyes).all()


@pytest.mark.parametrize("quality", ["near", "nonsense"])
def test_the_fit_ends_where_it_would_without_a_regressor(flame, truth, quality):
    landmarks = landmarks_of(truth, flame, 0.3)
    rng = np.random.default_rng(3)
    given = coefficients(truth, flame)
    amount = 0.3 if quality == "near" else 3.0

    def noisy(array, scale):
        return (array + rng.normal(0, amount * scale, array.shape)).astype(np.float32)

    given = replace(
        given,
        shape=noisy(given.shape, 0.5),
        expression=noisy(given.expression, 0.5),
        jaw=noisy(given.jaw, 0.1),
        rotation=noisy(given.rotation, 0.1),
        camera=noisy(given.camera, np.array([100, 10, 10])),
    )
    alone = fit_clip(landmarks, truth.valid, flame)
    helped = fit_clip(landmarks, truth.valid, flame, regressed=given)
    assert helped.landmark_error < 1.05 * alone.landmark_error
    apart = project_vertices(alone.motion, flame)[:, :468] - project_vertices(helped.motion, flame)[:, :468]
    assert np.linalg.norm(apart, axis=-1).mean() < 0.003 * alone.interocular_px


def test_the_mean_face_is_kept_whatever_identity_the_regressor_found(flame, truth):
    given = coefficients(truth, flame)
    assert given.shape.any()
    landmarks = landmarks_of(truth, flame)
    found = fit_clip(landmarks, truth.valid, flame, FitSettings(shape=False), regressed=given)
    assert found.motion.shape.shape == (flame.shape_size,)
    assert not found.motion.shape.any()


def test_other_head_models_are_refused(head, truth):
    given = coefficients(truth, head)
    landmarks = np.zeros((40, 478, 3), np.float32)
    for call in (
        lambda: fit_clip(landmarks, truth.valid, head, regressed=given),
        lambda: regressed_motion(given, landmarks, head, max_error=1),
    ):
        with pytest.raises(HeadModelError, match=r"FLAME 2020 \(generic_model\.pkl.*not of canonical:"):
            call()


def test_coefficients_are_cut_to_the_head_model(flame, truth):
    given = replace(coefficients(truth, flame), shape=np.ones((40, 300), np.float32))
    small = replace(
        flame, shapedirs=flame.shapedirs[:, :, :100], expressiondirs=flame.expressiondirs[:, :, :52]
    )
    assert clip_shape(given, small).tolist() == [1] * 100
    given = replace(given, eyelids=np.full((40, 2), 0.7, np.float32))
    assert expression_of(given, small)[:, 50:] == pytest.approx(0.7)
    assert expression_of(given, flame).shape == (40, flame.expression_size)
    assert not expression_of(given, flame)[:, 50:].any()


def test_root_joint_is_where_the_head_turns_about(flame, truth):
    shape, expression = torch.from_numpy(truth.shape), torch.from_numpy(truth.expression)
    joint = root_joint(flame, shape, expression).numpy()
    unposed = replace(truth, jaw=0 * truth.jaw)
    vertices = decode(unposed, flame, head_pose=False)
    np.testing.assert_allclose(joint, flame.joint_regressor[0] @ vertices, atol=1e-6)

from pathlib import Path

import numpy as np
import pytest
import torch

from multitalk.filters.sync.active_speaker import SIDE, ActiveSpeaker, crop_faces
from multitalk.filters.sync.lr_asd import LrAsd, load_lr_asd
from multitalk.filters.sync.mfcc import mfcc
from tests.golden import golden

SHARED = Path(__file__).parents[3].parent / "shared"
WEIGHTS = SHARED / "weights" / "lr_asd_talkset.model"
MFCC_OF_CHIRP = """
20.3399  3.2368 -14.7179 24.0504 12.4823 -50.1114 -39.2538 2.0478 -28.5824 -53.6169 -11.4474 4.0530 -20.7523
20.3665  4.5269 -16.9660 22.6456 10.4584 -50.4110 -35.2196 1.4298 -35.2742 -53.1859 -6.4133 0.5460 -25.7177
20.4065  7.2019 -16.4536 26.5902 14.1495 -45.6328 -27.2568 6.0366 -34.0725 -47.2649  0.6400 1.9362 -24.0694
20.2086  6.5080 -15.0410 27.2534 12.4464 -45.3696 -25.0018 5.4699 -34.4837 -43.2092  3.9856 2.2943 -21.8494
"""


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "random.model"
    torch.save(LrAsd().state_dict(), path)
    return path


def square_face(x: float, y: float, half: float, frames: int = 3) -> np.ndarray:
    """Landmarks (T, 478, 3) that fill a square."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-half, half, (478, 3)).astype(np.float32)
    points[0], points[1] = [-half, -half, 0], [half, half, 0]
    return np.repeat((points + np.array([x, y, 0]))[None], frames, axis=0).astype(np.float32)


def test_coefficients_are_those_of_python_speech_features():
    """Figures of its version 0.6 for the same signal."""
    time = np.arange(800) / 16_000
    signal = np.sin(2 * np.pi * 300 * time) * 8000 + np.sin(2 * np.pi * 2100 * time * (1 + time)) * 3000
    expected = np.array(MFCC_OF_CHIRP.split(), float).reshape(4, 13)
    np.testing.assert_allclose(mfcc(signal.astype(np.int16)), expected, atol=2e-3)


@pytest.mark.parametrize(
    ("samples", "steps"), [(0, 1), (1, 1), (400, 1), (401, 2), (16_000, 99), (16_240, 100)]
)
def test_steps_of_ten_milliseconds_the_last_padded(samples, steps):
    coefficients = mfcc(np.zeros(samples, np.int16))
    assert coefficients.shape == (steps, 13)
    assert np.isfinite(coefficients).all()


def test_the_crop_is_the_lower_face_and_gray_outside():
    frame = np.zeros((512, 512), np.uint8)
    frame[240 + 50 : 240 + 70, 190:210] = 255  # half a half-size below the centre of the face
    crop = crop_faces([frame] * 3, square_face(200, 240, 100))
    assert crop.shape == (3, SIDE, SIDE)
    rows, columns = np.nonzero(crop[1] > 128)
    # 112 pixels show 1.4 half-sizes around a point 0.4 below the centre.
    assert rows.mean() == pytest.approx(56 + (59.5 - 40) * 0.8, abs=1)
    assert columns.mean() == pytest.approx(56, abs=1)
    assert np.ptp(rows) == pytest.approx(16, abs=2)
    outside = crop_faces([frame], square_face(0, 0, 100, 1))
    assert outside[0, 50, 5] == 110


def test_missing_frames_are_bridged_and_extra_ones_left():
    landmarks = square_face(200, 200, 80, 9)
    landmarks[3:5] = np.nan
    gradient = np.tile(np.linspace(0, 255, 512).astype(np.uint8), (512, 1))
    crops = crop_faces([gradient] * 20, landmarks)
    assert len(crops) == 9
    np.testing.assert_array_equal(crops[4], crops[0])


def test_a_single_jump_of_the_box_does_not_shake_the_crop():
    landmarks = square_face(200, 200, 80, 15)
    landmarks[7] += 60
    gradient = np.tile(np.linspace(0, 255, 512).astype(np.uint8), (512, 1))
    crops = crop_faces([gradient] * 15, landmarks)
    np.testing.assert_array_equal(crops[7], crops[0])


def test_shapes_and_dtype_through_the_network(random_weights):
    network = load_lr_asd(random_weights)
    with torch.inference_mode():
        audio, visual = network.embed(torch.zeros(2, 7, SIDE, SIDE), torch.zeros(2, 28, 13))
        assert audio.shape == visual.shape == (2, 7, 128)
        assert network.logits(audio, visual).shape == (2, 7, 2)
        assert network.visual_logits(visual).shape == (2, 7, 2)


def test_folded_convolutions_in_2d_are_those_in_3d_with_their_norms(random_weights):
    block = load_lr_asd(random_weights).model.visualEncoder.block1
    x = torch.rand(2, 1, 6, 20, 18)
    with torch.inference_mode():
        for norm in (block.s_norm_1, block.s_norm_2, block.t_norm_1, block.t_norm_2):
            for seen in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                seen.uniform_(0.5, 1.5)
        y = torch.relu(block.s_norm_1(block.s_1(x)))
        y = torch.relu(block.s_norm_2(block.s_2(y)))
        y = torch.relu(block.t_norm_1(block.t_1(y)))
        y = torch.relu(block.t_norm_2(block.t_2(y)))
        torch.testing.assert_close(block(x.transpose(1, 2)).transpose(1, 2), y, atol=1e-5, rtol=1e-4)


def test_scores_are_deterministic_and_one_per_frame(random_weights):
    speaker = ActiveSpeaker(random_weights, device="cpu")
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 255, (12, SIDE, SIDE), dtype=np.uint8)
    sound = rng.normal(0, 0.1, 12 * 640).astype(np.float32)
    scores = speaker.frame_scores(faces, sound)
    assert scores.shape == (12,)
    np.testing.assert_array_equal(scores, speaker.frame_scores(faces, sound))
    as_int16 = np.round(sound * 32768).astype(np.int16)
    np.testing.assert_array_equal(scores, speaker.frame_scores(faces, as_int16))
    # Sound that ends too early is silence.
    assert speaker.frame_scores(faces, sound[:100]).shape == (12,)


def test_a_face_that_is_not_there_has_no_score(random_weights, tmp_path):
    landmarks = np.full((50, 478, 3), np.nan, np.float32)
    speaker = ActiveSpeaker(random_weights, device="cpu")
    assert speaker.measure(tmp_path / "unread.mp4", landmarks, np.zeros(32_000, np.int16)) is None


def test_other_weights_are_refused(tmp_path):
    path = tmp_path / "other.model"
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match=r"other\.model does not hold LR-ASD"):
        load_lr_asd(path)
    path.write_bytes(b"not torch")
    with pytest.raises(ValueError, match="does not hold LR-ASD"):
        load_lr_asd(path)
    with pytest.raises(FileNotFoundError):
        load_lr_asd(tmp_path / "none.model")


def test_a_pickle_in_the_weights_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"weight": Trap()}, tmp_path / "trap.model")
    with pytest.raises(ValueError, match="does not hold LR-ASD"):
        load_lr_asd(tmp_path / "trap.model")
    assert not (tmp_path / "sprung").exists()


def test_the_original_computes_the_same():
    if not WEIGHTS.is_file():
        pytest.skip("needs LR-ASD's weights: ../shared/weights")
    stored = np.load(golden("lr_asd") / "golden.npz")
    network = load_lr_asd(WEIGHTS)
    with torch.inference_mode():
        audio, visual = network.embed(
            torch.from_numpy(stored["video"]).float(), torch.from_numpy(stored["mfcc"])
        )
        logits = network.logits(audio, visual)[0]
        visual_logits = network.visual_logits(visual)[0]
    np.testing.assert_allclose(audio.numpy(), stored["audio_embedding"], atol=1e-5)
    np.testing.assert_allclose(visual.numpy(), stored["visual_embedding"], atol=1e-5)
    np.testing.assert_allclose(logits.numpy(), stored["logits_audio_visual"], atol=1e-5)
    np.testing.assert_allclose(visual_logits.numpy(), stored["logits_visual"], atol=1e-5)

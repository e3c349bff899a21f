"""Landmark embeddings as published: damaged ones, ones with irises, and what is kept for other detectors."""

from dataclasses import replace

import numpy as np
import pytest

from multitalk.fit_flame.heads.head_model import HeadModelError, LandmarkEmbedding
from multitalk.fit_flame.landmarks.embedding import (
    CONTOUR_LANDMARKS,
    detected_embedding,
    read_contour_embedding,
    read_mediapipe_embedding,
)

FACES = np.arange(300).reshape(100, 3)


def _contour_file(path, inner=51, full=68, contour=(79, 17)):
    def corners(*shape):
        return np.tile(np.array([1.0, 0.0, 0.0]), (*shape, 1))

    arrays = {
        "static_lmk_faces_idx": np.arange(inner),
        "static_lmk_bary_coords": corners(inner),
        "dynamic_lmk_faces_idx": np.zeros(contour, np.int64),
        "dynamic_lmk_bary_coords": corners(*contour),
        "full_lmk_faces_idx": np.arange(full)[None],
        "full_lmk_bary_coords": corners(1, full),
    }
    np.save(path, np.array(arrays, dtype=object))
    return path


def test_irises_of_the_contour_embedding_are_left_out(tmp_path):
    with_eyes = read_contour_embedding(_contour_file(tmp_path / "eyes.npy", 53, 70), FACES)
    without = read_contour_embedding(_contour_file(tmp_path / "plain.npy"), FACES)
    for name in ("static_faces", "static_barycentric", "full_faces", "full_barycentric"):
        np.testing.assert_array_equal(getattr(with_eyes, name), getattr(without, name))


@pytest.mark.parametrize(
    "sizes", [{"inner": 50}, {"full": 67}, {"contour": (78, 17)}, {"contour": (79, 16)}, {"inner": 0}]
)
def test_a_contour_embedding_of_other_sizes_is_refused(tmp_path, sizes):
    with pytest.raises(HeadModelError, match=r"wanted \(79, 17\), 51 and 68"):
        read_contour_embedding(_contour_file(tmp_path / "e.npy", **sizes), FACES)


@pytest.mark.parametrize("damage", ["empty", "cut", "one array"])
def test_a_damaged_mediapipe_embedding_is_named(tmp_path, damage):
    path = tmp_path / "mediapipe.npz"
    with path.open("wb") as file:
        if damage == "one array":
            np.save(file, np.zeros(3))
        else:
            np.savez(file, lmk_face_idx=np.arange(105))
    if damage != "one array":
        path.write_bytes(path.read_bytes()[: 0 if damage == "empty" else 200])
    with pytest.raises(HeadModelError, match=r"mediapipe\.npz is no MediaPipe landmark embedding"):
        read_mediapipe_embedding(path, FACES)


def test_other_detectors_take_the_outline_of_a_face_that_looks_ahead():
    steps = np.radians([-30, 0, 30]).astype(np.float32)
    staying = [33, 263]
    embedding = LandmarkEmbedding(
        landmarks=np.append(staying, np.tile(CONTOUR_LANDMARKS, 3)),
        vertices=np.arange(2 + 51)[:, None].repeat(3, axis=1),
        barycentric=np.tile(np.array([1, 0, 0], np.float32), (53, 1)),
        yaw=np.append([np.nan] * 2, np.repeat(steps, 17)).astype(np.float32),
    )
    part = detected_embedding(embedding, [*CONTOUR_LANDMARKS, *staying])
    np.testing.assert_array_equal(part.vertices[:, 0], [*range(2 + 17, 2 + 34), 0, 1])
    every = detected_embedding(replace(embedding, yaw=None), [*staying, 1])
    np.testing.assert_array_equal(every.vertices[:, 0], [0, 1])

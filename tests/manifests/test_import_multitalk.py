"""Data in the original repository's layout enters a dataset, and goes out again as it was."""

import wave

import numpy as np
import pytest

from manifests import open_dataset
from manifests.export import divided_clips, export_multitalk
from manifests.import_multitalk import import_multitalk
from manifests.paths import DatasetError
from manifests.store import compact
from manifests.verify import verify

RNG = np.random.default_rng(0)


def encode(vertices):
    """Stand in for a head model whose vertices are its expression coefficients."""
    frames = len(vertices)
    return {
        "head_model": "test:0",
        "fps": 25.0,
        "shape": np.zeros(1, np.float32),
        "expression": vertices.reshape(frames, -1),
        "jaw": np.zeros((frames, 3), np.float32),
        "eyes": np.zeros((frames, 6), np.float32),
        "rotation": np.zeros((frames, 3), np.float32),
        "translation": np.zeros((frames, 3), np.float32),
        "camera": np.array([1200, 256, 256], np.float32),
        "valid": np.ones(frames, bool),
        "residual": np.zeros(frames, np.float32),
    }


def decode(motion):
    return motion["expression"].reshape(len(motion["expression"]), -1, 3)


def write_clip(source, stem, frames=20, rate=48_000, channels=2):
    (source / "npy").mkdir(parents=True, exist_ok=True)
    (source / "wav").mkdir(exist_ok=True)
    vertices = RNG.normal(size=(frames, 5, 3)).astype(np.float32)
    np.savez(source / "npy" / f"{stem}.npz", verts=vertices)
    seconds = np.arange(round(frames / 25 * rate)) / rate
    tone = (10_000 * np.sin(2 * np.pi * 440 * seconds)).astype("<i2")
    with wave.open(str(source / "wav" / f"{stem}.wav"), "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(np.repeat(tone, channels).tobytes())
    return vertices


def test_clips_come_in_and_go_out_unchanged(tmp_path, accept_ok):
    source, root = tmp_path / "source", tmp_path / "root"
    stems = ("English_QrDZjUeiUwc_0", "English_QrDZjUeiUwc_12", "Greek_a_b-c_3", "Thai_noNumber")
    vertices = {stem: write_clip(source, stem) for stem in stems}
    result = import_multitalk(source, root, encode=encode, fingerprint="import")
    assert (result.clips, result.videos, result.refused) == (4, 3, {})
    clips = open_dataset(root).clips().set_index("clip_id")
    assert clips.loc["QrDZjUeiUwc_12", ["video_id", "language", "frame_count"]].tolist() == [
        "QrDZjUeiUwc",
        "english",
        20,
    ]
    assert clips.loc["a_b-c_3", "video_id"] == "a_b-c"
    assert clips.loc["noNumber", "video_id"] == "noNumber"
    assert verify(root) == []
    with wave.open(str(root / "wav/greek/a_b-c_3.wav")) as file:
        samples = np.frombuffer(file.readframes(99_999), "<i2")
    expected = 10_000 * np.sin(2 * np.pi * 440 * np.arange(12_800) / 16_000)
    assert np.abs(samples - expected)[200:-200].max() < 100
    compact(root, accept_ok)
    export_multitalk(root, divided_clips(root), tmp_path / "out", decode=decode, template=np.zeros((5, 3)))
    for stem in stems:
        with np.load(tmp_path / f"out/npy/{stem}.npz") as file:
            np.testing.assert_array_equal(file["verts"], vertices[stem])


def test_what_is_no_clip_is_refused_by_name(tmp_path):
    source = tmp_path / "source"
    write_clip(source, "English_good_0")
    for stem in ("English_noSound_0", "English_hostile_0", "English_flat_0", "English_torn_0"):
        write_clip(source, stem)
    (source / "wav/English_noSound_0.wav").unlink()
    np.savez(source / "npy/English_hostile_0.npz", verts=np.array([{"a": 1}], object))
    np.savez(source / "npy/English_flat_0.npz", verts=np.zeros((20, 15)))
    (source / "npy/English_torn_0.npz").write_bytes(b"PK\x03\x04")
    (source / "npy/English_a b.npz").write_bytes(b"")
    result = import_multitalk(source, tmp_path / "root", encode=encode, fingerprint="import")
    assert result.clips == 1
    assert set(result.refused) == {
        "English_noSound_0.npz",
        "English_hostile_0.npz",
        "English_flat_0.npz",
        "English_torn_0.npz",
        "English_a b.npz",
    }
    assert "(20, 15), not (T, V, 3)" in result.refused["English_flat_0.npz"]
    with pytest.raises(DatasetError, match="has no clips"):
        import_multitalk(tmp_path / "nothing", tmp_path / "root", encode=encode, fingerprint="import")

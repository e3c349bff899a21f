"""Data in the original repository's layout enters a dataset, and goes out again as it was."""

import io
import wave
import zipfile

import numpy as np
import pytest

from multitalk.manifests import open_dataset
from multitalk.manifests.layouts.export import divided_clips, export_multitalk
from multitalk.manifests.layouts.import_multitalk import MAX_FRAMES, ClipRefused, import_multitalk
from multitalk.manifests.paths import DatasetError
from multitalk.manifests.releases.verify import verify
from multitalk.manifests.store import compact

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


def take(source, root, encode=encode):
    return import_multitalk(source, root, encode=encode, vertex_count=5, fingerprint="import")


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
    result = take(source, root)
    assert (result.clips, result.failed, result.videos, result.refused) == (4, 0, 3, {})
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


def test_what_can_not_be_taken_in_is_a_failed_row(tmp_path):
    source, root = tmp_path / "source", tmp_path / "root"
    names = ("good", "noSound", "hostile", "flat", "torn", "nan", "huge", "text", "far")
    for name in names:
        write_clip(source, f"English_{name}_0")
    (source / "wav/English_noSound_0.wav").unlink()
    (source / "wav/English_text_0.wav").write_text("no sound at all")
    np.savez(source / "npy/English_hostile_0.npz", verts=np.array([{"a": 1}], object))
    np.savez(source / "npy/English_flat_0.npz", verts=np.zeros((20, 15)))
    np.savez(source / "npy/English_nan_0.npz", verts=np.full((20, 5, 3), np.nan))
    np.savez_compressed(source / "npy/English_huge_0.npz", verts=np.zeros((MAX_FRAMES + 1, 5, 3), np.float16))
    (source / "npy/English_torn_0.npz").write_bytes(b"PK\x03\x04")

    def refuse_far(vertices):
        if vertices[0, 0, 0] == far:
            raise ClipRefused("fit_diverged", "4.00 mm from what the model can show")
        return encode(vertices)

    with np.load(source / "npy/English_far_0.npz") as file:
        far = file["verts"][0, 0, 0]
    result = take(source, root, refuse_far)
    assert (result.clips, result.failed) == (1, len(names) - 1)
    clips = open_dataset(root).clips().set_index("video_id")
    failed = clips[clips.status == "failed"]
    assert failed.error_code.to_dict() == {
        "noSound": "no_audio",
        "far": "fit_diverged",
        **dict.fromkeys(("hostile", "flat", "torn", "nan", "huge", "text"), "corrupt_media"),
    }
    assert "(20, 15), not floats (T, V, 3)" in clips.error_message["flat"]
    assert "4.00 mm" in clips.error_message["far"]
    assert clips.transcript.isna().all()
    assert verify(root) == []


def npy(header):
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def test_no_odd_archive_ends_the_import(tmp_path):
    source, root = tmp_path / "source", tmp_path / "root"
    for name in ("good", "token", "unhashable", "encrypted", "method", "lzma"):
        write_clip(source, f"English_{name}_0")
    whole = (source / "npy/English_good_0.npz").read_bytes()
    entry = whole.index(b"PK\1\2")  # of the directory: flags at 8, compression method at 10
    for name, offset, value in (("encrypted", 8, 1), ("method", 10, 97)):
        odd = bytearray(whole)
        odd[entry + offset] = odd[offset - 2] = value
        (source / f"npy/English_{name}_0.npz").write_bytes(odd)
    for name, header in (("token", "{'shape': (25, 5, 3"), ("unhashable", "{[]: 1}")):
        with zipfile.ZipFile(source / f"npy/English_{name}_0.npz", "w") as archive:
            archive.writestr("verts.npy", npy(header))
    with zipfile.ZipFile(source / "npy/English_lzma_0.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("verts.npy", RNG.bytes(200))
    torn = bytearray((source / "npy/English_lzma_0.npz").read_bytes())
    torn[60:90] = b"\xff" * 30
    (source / "npy/English_lzma_0.npz").write_bytes(torn)
    result = take(source, root)
    assert (result.clips, result.failed) == (1, 5)
    codes = open_dataset(root).clips().set_index("video_id").error_code.drop("good")
    assert set(codes) == {"corrupt_media"}


def test_the_numbers_come_from_the_member_whose_header_was_checked(tmp_path):
    vertices = write_clip(tmp_path, "English_two_0")
    other = io.BytesIO()
    np.save(other, np.zeros((MAX_FRAMES + 1, 5, 3), np.float16))
    with zipfile.ZipFile(tmp_path / "npy/English_two_0.npz", "a") as archive:
        archive.writestr("verts", other.getvalue())
    assert take(tmp_path, tmp_path / "root").clips == 1
    motion = open_dataset(tmp_path / "root").motion("two_0")
    np.testing.assert_array_equal(decode(motion), vertices)


def test_another_heads_vertices_and_bad_names_are_told_of(tmp_path):
    source = tmp_path / "source"
    write_clip(source, "English_good_0")
    for name in ("English_a b.npz", "English.npz", "English_..npz", "english_good_0.npz"):
        (source / "npy" / name).write_bytes(b"")
    result = import_multitalk(
        source, tmp_path / "root", encode=encode, vertex_count=5023, fingerprint="import"
    )
    assert result.clips == 0
    assert len(result.refused) == 4
    [message] = open_dataset(tmp_path / "root").clips().error_message
    assert "verts have 5 vertices, the head model has 5023" in message
    with pytest.raises(DatasetError, match="has no clips"):
        take(tmp_path / "nothing", tmp_path / "root")


def test_a_stopped_import_goes_on_and_a_changed_file_is_taken_in_again(tmp_path):
    source, root = tmp_path / "source", tmp_path / "root"
    for stem in ("English_a_0", "English_b_0", "English_b_1"):
        write_clip(source, stem)
    calls = []

    def counting(vertices):
        calls.append(len(vertices))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return encode(vertices)

    with pytest.raises(KeyboardInterrupt):
        take(source, root, counting)
    result = take(source, root, counting)
    assert (result.clips, result.skipped, len(calls)) == (2, 1, 4)
    write_clip(source, "English_a_0", frames=30)
    result = take(source, root, counting)
    assert (result.clips, result.skipped) == (1, 2)
    assert open_dataset(root).clips().set_index("clip_id").frame_count["a_0"] == 30


def test_removed_videos_stay_out_and_built_ones_are_not_replaced(tmp_path, commit_video):
    source, root = tmp_path / "source", tmp_path / "root"
    for stem in ("German_gone_0", "German_here_0"):
        write_clip(source, stem)
    root.mkdir()
    (root / "takedown.txt").write_text("gone asked by the speaker\n")
    result = take(source, root)
    assert (result.clips, result.failed) == (1, 1)
    assert not list(root.rglob("*gone_0*"))
    clips = open_dataset(root).clips().set_index("clip_id")
    assert clips.error_code["gone_0"] == "removed"
    assert verify(root) == []
    commit_video(tmp_path / "other", "german", "here")
    with pytest.raises(DatasetError, match="has video here of german already"):
        take(source, tmp_path / "other")

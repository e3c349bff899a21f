"""Verification finds every kind of damage, and nothing in a sound dataset."""

import shutil
import wave

import pyarrow.parquet as pq
import pytest

from multitalk.manifests import paths
from multitalk.manifests.releases.release import ReleaseSettings, create_release, sha256
from multitalk.manifests.releases.verify import verify
from multitalk.manifests.schema import MANIFEST
from multitalk.manifests.store import compact, read_manifest


def write_sound(place, samples, rate=16_000):
    place.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(place), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"\0\0" * samples)


@pytest.fixture
def sound(root):
    """A dataset whose media are all there."""
    hashes = {}
    for row in read_manifest(root).to_pylist():
        if row["status"] == "ok":
            clip = paths.clip_path(root, row["language"], row["clip_id"])
            clip.parent.mkdir(parents=True, exist_ok=True)
            clip.write_bytes(row["clip_id"].encode())
            hashes[row["clip_id"]] = sha256(clip)
            write_sound(paths.audio_path(root, row["language"], row["clip_id"]), 6400)

    def fill(table):
        rows = table.to_pylist()
        values = {
            "clip_path": [
                f"clips/{r['language']}/{r['clip_id']}.mp4" if r["status"] == "ok" else None for r in rows
            ],
            "clip_sha256": [hashes.get(r["clip_id"]) for r in rows],
        }
        for name, column in values.items():
            table = table.set_column(MANIFEST.get_field_index(name), MANIFEST.field(name), [column])
        return table

    compact(root, fill)
    return root


def found(root, **options):
    return [(f.kind, f.path.as_posix(), f.message) for f in verify(root, **options)]


def test_a_sound_dataset_has_no_findings(sound, accept_ok):
    create_release(sound, "v1", policy="p", judge=accept_ok, settings=ReleaseSettings())
    assert verify(sound) == []


def test_every_damage_is_found_and_named(sound):
    clips, wav = sound / "clips/german", sound / "wav/german"
    (clips / "de2_0.mp4").write_bytes(b"rot")
    (clips / "de2_1.mp4").unlink()
    write_sound(wav / "_de_0.wav", 6399)
    write_sound(wav / "de2_0.wav", 6400, rate=8000)
    (wav / "de2_1.wav").write_bytes((wav / "de2_1.wav").read_bytes()[:5000])
    (sound / "wav/japanese/ja1_0.wav").write_bytes(b"RIFF")
    (clips / ".x.mp4.1.tmp").write_bytes(b"half")
    paths.motion_path(sound, "japanese", "ja1").unlink()
    motion = paths.motion_path(sound, "german", "de2")
    table = pq.read_table(motion, partitioning=None)
    pq.write_table(table.slice(1).set_column(0, table.schema.field(0), [["de2_2"]]), motion)
    landmarks = paths.landmarks_path(sound, "german", "de2")
    landmarks.write_bytes(landmarks.read_bytes()[:-9])
    (sound / "takedown.txt").write_text("_de\n")
    assert [(kind, path) for kind, path, _ in found(sound)] == [
        ("stray", "clips/german/.x.mp4.1.tmp"),
        ("damaged", "clips/german/de2_0.mp4"),
        ("missing", "clips/german/de2_1.mp4"),
        ("damaged", "landmarks/language=german/de2.parquet"),
        ("stray", "motion/language=german/de2.parquet"),
        ("missing", "motion/language=german/de2.parquet"),
        ("missing", "motion/language=german/de2.parquet"),
        ("missing", "motion/language=japanese/ja1.parquet"),
        ("contradiction", "takedown.txt"),
        ("damaged", "wav/german/_de_0.wav"),
        ("damaged", "wav/german/de2_0.wav"),
        ("damaged", "wav/german/de2_1.wav"),
        ("damaged", "wav/japanese/ja1_0.wav"),
    ]
    assert {finding.video for finding in verify(sound)} == {
        None,
        ("german", "_de"),
        ("german", "de2"),
        ("japanese", "ja1"),
    }
    messages = {path: message for _, path, message in found(sound)}
    assert messages["wav/german/_de_0.wav"] == "6399 samples, not 6400"
    assert messages["wav/german/de2_1.wav"] == "fewer than 6400 samples, not 6400"
    assert "not 16000 Hz" in messages["wav/german/de2_0.wav"]
    assert "not a WAV file" in messages["wav/japanese/ja1_0.wav"]
    assert ("damaged", "clips/german/de2_0.mp4") not in [entry[:2] for entry in found(sound, hashes=False)]


def test_motion_of_another_length_and_strays_are_found(sound):
    shutil.copy(sound / "clips/german/_de_0.mp4", sound / "clips/german/_de_1.mp4")
    motion = paths.motion_path(sound, "german", "_de")
    table = pq.read_table(motion, partitioning=None)
    index = table.schema.get_field_index("valid")
    pq.write_table(table.set_column(index, table.schema.field(index), [[[True] * 9]]), motion)
    assert found(sound) == [
        ("stray", "clips/german/_de_1.mp4", "no clip of the manifest has it; it can be deleted"),
        ("contradiction", "motion/language=german/_de.parquet", "9 frames of '_de_0', not 10"),
    ]


def test_a_release_that_changed_is_found(sound, accept_ok):
    folder = create_release(sound, "v1", policy="p", judge=accept_ok, settings=ReleaseSettings()).folder
    (folder / "policy.yaml").write_text("q")
    paths.landmarks_path(sound, "german", "de2").unlink()  # optional to keep
    motion = paths.motion_path(sound, "german", "de2")
    pq.write_table(pq.read_table(motion, partitioning=None), motion)
    assert found(sound) == [
        (
            "contradiction",
            "motion/language=german/de2.parquet",
            "motion has changed or gone since release 'v1'",
        ),
        ("damaged", "releases/v1/policy.yaml", "release 'v1' is not as it was made"),
    ]
    assert [kind for kind, *_ in found(sound, hashes=False)] == ["damaged"]

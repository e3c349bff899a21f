"""Verification finds every kind of damage, and nothing in a sound dataset."""

import shutil
import wave

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multitalk.manifests import paths
from multitalk.manifests.releases.release import ReleaseSettings, create_release, sha256
from multitalk.manifests.releases.verify import to_forget, verify
from multitalk.manifests.remove import remove
from multitalk.manifests.schema import MANIFEST
from multitalk.manifests.store import compact, file_xxh3, forget, read_manifest


def write_sound(place, samples, rate=16_000):
    place.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(place), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"\1\0" * samples)


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
            "audio_path": [
                f"wav/{r['language']}/{r['clip_id']}.wav" if r["status"] == "ok" else None for r in rows
            ],
            "audio_xxh3": [
                file_xxh3(paths.audio_path(root, r["language"], r["clip_id"]))
                if r["status"] == "ok"
                else None
                for r in rows
            ],
        }
        for name, column in values.items():
            table = table.set_column(MANIFEST.get_field_index(name), MANIFEST.field(name), [column])
        return table

    compact(root, fill)
    return root


def found(root, **options):
    return [(f.kind, f.path.as_posix(), f.message) for f in verify(root, **options)]


def test_a_sound_dataset_has_no_findings(sound, accept_ok):
    create_release(sound, "v1", policy="p", add_verdicts=accept_ok, settings=ReleaseSettings())
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
    folder = create_release(
        sound, "v1", policy="p", add_verdicts=accept_ok, settings=ReleaseSettings()
    ).folder
    (folder / "policy.yaml").write_text("q")
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


def zero_sound(root):
    place = root / "wav/german/de2_0.wav"
    content = place.read_bytes()
    place.write_bytes(content[:44] + bytes(len(content) - 44))


def _change_column(place, name, change):
    table = pq.read_table(place, partitioning=None)
    index = table.schema.get_field_index(name)
    values = table[name].to_pylist()
    values[0] = change(values[0])
    pq.write_table(
        table.set_column(index, table.schema.field(index), pa.array([*values], table.schema.types[index])),
        place,
    )


def zero_landmarks(root):
    place = paths.landmarks_path(root, "german", "de2")
    _change_column(place, "landmarks", lambda frames: [[0.0] * len(frame) for frame in frames])


def change_motion(root):
    place = paths.motion_path(root, "german", "de2")
    _change_column(place, "jaw", lambda frames: [*frames[:-1], [v + 1e-3 for v in frames[-1]]])


def change_shape(root):
    _change_column(paths.motion_path(root, "german", "de2"), "shape", lambda values: [9.0, *values[1:]])


def drop_row(place_of):
    def drop(root):
        place = place_of(root, "german", "de2")
        pq.write_table(pq.read_table(place, partitioning=None).slice(1), place)

    return drop


def cut(name):
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:-4])


def flip(name):
    def change(root):
        content = bytearray((root / name).read_bytes())
        content[len(content) // 2] ^= 1
        (root / name).write_bytes(content)

    return change


def delete(name):
    return lambda root: (root / name).unlink()


def link(name):
    def replaced(root):
        (root / name).unlink()
        (root / name).symlink_to("/etc/hostname")

    return replaced


CLIP, SOUND = "clips/german/de2_0.mp4", "wav/german/de2_0.wav"
MOTION_FILE, LANDMARKS_FILE = "motion/language=german/de2.parquet", "landmarks/language=german/de2.parquet"
DAMAGE = [
    *((CLIP, "trim", plant) for plant in (cut(CLIP), flip(CLIP), delete(CLIP), link(CLIP))),
    *((SOUND, "trim", plant) for plant in (cut(SOUND), flip(SOUND), delete(SOUND), link(SOUND), zero_sound)),
    *((MOTION_FILE, "fit", plant) for plant in (cut(MOTION_FILE), delete(MOTION_FILE), link(MOTION_FILE))),
    *((MOTION_FILE, "fit", plant) for plant in (change_motion, change_shape, drop_row(paths.motion_path))),
    *((LANDMARKS_FILE, "landmarks", plant) for plant in (cut(LANDMARKS_FILE), delete(LANDMARKS_FILE))),
    *((LANDMARKS_FILE, "landmarks", plant) for plant in (link(LANDMARKS_FILE), zero_landmarks)),
    (LANDMARKS_FILE, "landmarks", drop_row(paths.landmarks_path)),
]


@pytest.mark.parametrize(("name", "stage", "plant"), DAMAGE)
def test_planted_damage_is_found_in_its_file_and_forgotten_from_its_stage_on(sound, name, stage, plant):
    plant(sound)
    findings = verify(sound)
    assert {finding.path.as_posix() for finding in findings} == {name}
    ((language, first), ids) = next(iter(to_forget(findings).items()))
    assert (language, first) == ("german", stage)
    assert "de2_0" in ids
    assert forget(sound, language, ids, stage=first) == len(ids)
    row = next(row for row in read_manifest(sound).to_pylist() if row["clip_id"] == "de2_0")
    assert row["config_fingerprint"] == ""
    assert row["status"] == "ok"  # good until there is something better


def test_changed_rows_of_the_manifest_are_found(sound):
    place = paths.part_path(sound, "german")
    content = bytearray(place.read_bytes())
    group = pq.ParquetFile(place).metadata.row_group(0)
    columns = (group.column(index) for index in range(group.num_columns))
    texts = next(column for column in columns if column.path_in_schema == "transcript")
    content[texts.data_page_offset + texts.total_compressed_size - 2] ^= 1
    place.write_bytes(content)
    assert ("damaged", place.relative_to(sound).as_posix()) in [entry[:2] for entry in found(sound)]


def test_a_row_whose_name_leads_elsewhere_is_named_and_blocks_no_removal(sound, tmp_path):
    def tamper(table):
        return table.set_column(
            0, MANIFEST.field("clip_id"), [["../../evil", *table["clip_id"].to_pylist()[1:]]]
        )

    place = paths.part_path(sound, "german")
    pq.write_table(tamper(pq.read_table(place, partitioning=None)), place)
    messages = [message for kind, _, message in found(sound) if kind == "contradiction"]
    assert any("'../../evil' can not be a file's name" in message for message in messages)
    with pytest.raises(paths.DatasetError, match="can not be a file's name"):
        paths.check_rows(read_manifest(sound), sound)
    removal = remove(sound, ["_de"])
    assert removal.rows == 2
    assert not (sound.parent / "evil.mp4").exists()
    assert all("can not be a file's name" not in message for _, _, message in found(sound))


def test_a_release_from_elsewhere_has_no_other_file_read(sound, accept_ok, tmp_path):
    folder = create_release(
        sound, "v1", policy="p", add_verdicts=accept_ok, settings=ReleaseSettings()
    ).folder
    secret = tmp_path / "secret"
    secret.write_text("s")
    for name in ("motion.sha256", "SHA256SUMS"):
        for path in (str(secret), "../../../secret", "../../motion/language=x/../../../../secret.parquet"):
            before = (folder / name).read_text()
            (folder / name).write_text(f"{before}{sha256(secret)}  {path}\n")
            damaged = {finding.path.as_posix() for finding in verify(sound)}
            assert f"releases/v1/{name}" in damaged, path
            (folder / name).write_text(before)
    assert verify(sound) == []

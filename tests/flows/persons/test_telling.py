"""Persons told of what lies on disk."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from multitalk.filters.policy import load_policy
from multitalk.filters.verdicts import apply
from multitalk.flows.persons.telling import are_told, forget, tell
from multitalk.manifests.clip_row import ClipRow
from multitalk.manifests.releases.verify import verify
from multitalk.manifests.remove import remove
from multitalk.manifests.schema import MANIFEST
from multitalk.manifests.store import claim_video, commit_video, read_manifest
from multitalk.manifests.tables import write_persons

FACES = np.random.default_rng(0).standard_normal((9, 128)) * 0.55 / np.sqrt(128)
PRINTS = np.random.default_rng(1).integers(1, 2**32, (99, 100), np.uint32)


def commit(root, language: str, video: str, *clips: tuple[int | None, int], scale: float = 1.0) -> None:
    """Commit a video of clips given by the face in them and the print of their sound."""
    rows, persons = [], []
    for number, (face, sound) in enumerate(clips):
        name = f"{video}_{number}"
        rows.append(
            ClipRow(
                name,
                video,
                language,
                source_scale=scale,
                duration_sec=4.0,
                frame_count=100,
                stage_fingerprints={"persons": "p", "trim": "t"},
            )
        )
        seen = None if face is None else FACES[face].astype(np.float32)
        persons.append(
            {"clip_id": name, "face": seen, "voice": None, "voice_sec": 0.0, "sound_print": PRINTS[sound]}
        )
    with claim_video(root, language, video) as ours:
        assert ours
        commit_video(root, language, video, rows, person_rows=persons, fingerprint="f")


def told(root, column: str) -> dict[str, object]:
    rows = read_manifest(root, ["clip_id", column])
    return dict(zip(rows["clip_id"].to_pylist(), rows[column].to_pylist(), strict=True))


@pytest.fixture
def root(tmp_path):
    commit(tmp_path, "german", "b", (0, 1), (1, 2))
    commit(tmp_path, "english", "c", (0, 3), (None, 4))
    commit(tmp_path, "english", "a", (2, 5))
    return tmp_path


def test_persons_are_told_over_languages_and_written_once(root):
    found = tell(root)
    assert (found.persons, found.clips, found.several_videos, found.repeats) == (3, 4, 1, 0)
    assert told(root, "person_id") == {"a_0": "a_0", "b_0": "b_0", "b_1": "b_1", "c_0": "b_0", "c_1": None}
    parts = {place: place.stat().st_mtime_ns for place in root.glob("manifest/*/*")}
    assert tell(root) == found
    assert {place: place.stat().st_mtime_ns for place in root.glob("manifest/*/*")} == parts


def test_an_earlier_video_of_a_person_renames_them_and_nobody_else(root):
    tell(root)
    commit(root, "english", "aa", (1, 6))
    tell(root)
    assert told(root, "person_id") == {
        "a_0": "a_0", "aa_0": "aa_0", "b_0": "b_0", "b_1": "aa_0", "c_0": "b_0", "c_1": None,
    }  # fmt: skip


def test_of_two_uploads_of_a_recording_the_less_enlarged_is_kept(root):
    commit(root, "german", "d", (1, 2), scale=0.5)
    tell(root)
    assert told(root, "repeat_of") == dict.fromkeys(["a_0", "b_0", "c_0", "c_1", "d_0"]) | {"b_1": "d_0"}
    rows = apply(load_policy("default", MANIFEST), read_manifest(root))
    rejected = dict(zip(rows["clip_id"].to_pylist(), rows["rejected_by"].to_pylist(), strict=True))
    assert {clip for clip, rules in rejected.items() if "once" in rules} == {"b_1"}


def test_one_sound_under_two_faces_is_dubbed_and_no_repeat(root):
    commit(root, "german", "d", (2, 2))
    tell(root)
    assert {clip for clip, faces in told(root, "voice_faces").items() if faces == 2} == {"b_1", "d_0"}
    assert set(told(root, "repeat_of").values()) == {None}
    rows = apply(load_policy("default", MANIFEST), read_manifest(root))
    own = {
        clip: "own_voice" not in rules
        for clip, rules in zip(rows["clip_id"].to_pylist(), rows["rejected_by"].to_pylist(), strict=True)
    }
    assert [clip for clip, holds in own.items() if not holds] == ["b_1", "d_0"]


def test_a_damaged_file_takes_nobody_elses_person(root, caplog):
    (root / "persons" / "language=german" / "b.parquet").write_bytes(b"no parquet")
    tell(root)
    assert told(root, "person_id") == {"a_0": "a_0", "b_0": None, "b_1": None, "c_0": "c_0", "c_1": None}
    assert "damaged" in caplog.text


def test_who_is_removed_is_described_no_more_and_names_nobody(root):
    commit(root, "german", "d", (1, 2), scale=0.5)
    tell(root)
    removed = remove(root, ["b_0"])
    assert removed.person_rows == 1
    assert pq.read_table(root / "persons/language=german/b.parquet", partitioning=None)[
        "clip_id"
    ].to_pylist() == ["b_1"]
    remove(root, ["d"])
    assert not (root / "persons/language=german/d.parquet").exists()
    assert are_told(root)
    tell(root)
    assert told(root, "person_id") == {
        "a_0": "a_0", "b_0": None, "b_1": "b_1", "c_0": "c_0", "c_1": None, "d_0": None,
    }  # fmt: skip
    assert set(told(root, "repeat_of").values()) == {None}


def test_any_change_of_what_describes_somebody_is_found(root):
    def wrong() -> list[tuple[str, str, str]]:
        found = [f for f in verify(root) if f.path.parts[0] == "persons"]
        return [(f.kind, f.path.name, f.stage) for f in found]

    assert wrong() == []
    place = root / "persons/language=german/b.parquet"
    rows = pq.read_table(place, partitioning=None)
    face = rows["face"].to_pylist()
    face[0][5] += 0.001
    write_persons(
        rows.set_column(1, rows.schema.field(1), pa.array([face[0], face[1]], rows.schema.field(1).type)),
        place,
    )
    assert wrong() == [("damaged", "b.parquet", "persons")]
    place.unlink()
    assert wrong() == [("missing", "b.parquet", "persons")]
    place.with_name("stranger.parquet").write_bytes(b"")
    assert ("stray", "stranger.parquet", "source") in wrong()


def test_a_video_that_is_built_again_keeps_what_is_not_measured_anew(root):
    before = told(root, "persons_xxh3")
    rows = ClipRow.from_arrow(read_manifest(root).filter(pc.equal(read_manifest(root)["video_id"], "b")))
    with claim_video(root, "german", "b"):
        commit_video(root, "german", "b", rows, keep_persons={"b_1"}, fingerprint="f")
    assert told(root, "persons_xxh3") == before | {"b_0": None}
    assert told(root, "stage_fingerprints")["b_0"]["persons"] is None
    assert told(root, "stage_fingerprints")["b_1"]["persons"] == "p"


def test_what_is_forgotten_leaves_no_trace_and_is_asked_for_again(root):
    tell(root)
    assert forget(root) == 5
    assert not (root / "persons").exists()
    for column in ("person_id", "persons_xxh3", "voice_faces", "repeat_of"):
        assert set(told(root, column).values()) == {None}
    done = told(root, "stage_fingerprints")["a_0"]
    assert (done["persons"], done["trim"]) == (None, "t")
    assert tell(root).persons == 0

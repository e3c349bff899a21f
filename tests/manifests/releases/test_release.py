"""Releases: frozen, hashed, citable, and split as an earlier one when asked."""

import json
import subprocess
from datetime import date

import pandas as pd
import pyarrow as pa
import pytest

from multitalk.manifests.paths import DatasetError, UnsafeNameError, motion_path
from multitalk.manifests.releases.release import (
    ReleaseSettings,
    create_release,
    damaged_files,
    read_release,
    sha256,
)
from multitalk.manifests.releases.verify import verify
from multitalk.manifests.remove import remove
from multitalk.manifests.splits import SplitSettings, read_lists
from multitalk.manifests.store import compact, read_manifest

POLICY = "name: ok\ndescription: every clip that is ok\nrules: []\n"
SETTINGS = ReleaseSettings(title='A "small" one: test', released_on=date(2026, 3, 4))


@pytest.fixture
def make(root, accept_ok):
    def make(name, **options):
        return create_release(root, name, policy=POLICY, add_verdicts=accept_ok, settings=SETTINGS, **options)

    return make


def test_a_release_holds_the_accepted_clips_and_its_checksums(root, make):
    release = make("v1")
    assert release.clips == 4
    clips = pd.read_parquet(release.folder / "manifest.parquet").set_index("clip_id")
    assert list(clips.index) == ["_de_0", "de2_0", "de2_1", "ja1_0"]
    assert set(clips.split) <= {"train", "val", "test"}
    assert clips.accepted.all()
    check = ["sha256sum", "--check", "--quiet", "SHA256SUMS", "motion.sha256"]
    subprocess.run(check, cwd=release.folder, check=True)
    assert release.sha256 == sha256(release.folder / "SHA256SUMS")
    assert read_manifest(root)["accepted"].null_count == 7, "the dataset's own verdicts stay"


def test_the_same_data_gives_the_same_release(make):
    assert make("v1").folder.joinpath("manifest.parquet").read_bytes() == (
        make("v2").folder.joinpath("manifest.parquet").read_bytes()
    )


def test_a_release_is_never_written_again(root, make):
    release = make("v1")
    with pytest.raises(DatasetError, match="never changed"):
        make("v1")
    with pytest.raises(UnsafeNameError):
        make("../v1")
    assert damaged_files(release.folder) == []
    (release.folder / "policy.yaml").write_text("name: other")
    assert [path.name for path in damaged_files(release.folder)] == ["policy.yaml"]
    with pytest.raises(DatasetError, match=r"damaged: policy\.yaml"):
        read_release(root, "v1")
    assert damaged_files(release.folder, "motion.sha256") == []
    motion_path(root, "german", "de2").write_bytes(b"other")
    assert [path.name for path in damaged_files(release.folder, "motion.sha256")] == ["de2.parquet"]


@pytest.mark.parametrize("cut", [0, 90, 97, -1, None], ids=["empty", "torn", "a line", "one less", "no text"])
def test_a_cut_list_of_checksums_is_damage(root, make, cut):
    sums = make("v1").folder / "SHA256SUMS"
    whole = sums.read_text()
    kept = "".join(whole.splitlines(keepends=True)[:-1]) if cut == -1 else whole[:cut]
    sums.write_bytes(b"\xff\xfe\0" if cut is None else kept.encode())
    assert damaged_files(sums.parent) == [sums]
    assert "SHA256SUMS" in {finding.path.name for finding in verify(root)}
    with pytest.raises(DatasetError, match="damaged: SHA256SUMS"):
        read_release(root, "v1")
    (sums.parent / "motion.sha256").write_bytes(b"\xff")
    assert damaged_files(sums.parent, "motion.sha256") == [sums.parent / "motion.sha256"]


def test_an_interrupted_release_leaves_nothing(root, make, monkeypatch):
    monkeypatch.setattr("multitalk.manifests.releases.release.croissant", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make("v1")
    assert list((root / "releases").iterdir()) == []


def test_a_later_release_keeps_the_sides_of_an_earlier_one(root, make, commit_video, accept_ok):
    for number in range(12):
        commit_video(root, "german", f"early{number}")
    early = read_release(root, make("v1").folder.name).to_pandas().set_index("clip_id").split
    for number in range(12):
        commit_video(root, "german", f"late{number}")
    commit_video(root, "thai", "th1")
    other = ReleaseSettings(split=SplitSettings(seed=5, test=0.3))
    options = {"policy": POLICY, "add_verdicts": accept_ok}
    create_release(root, "v2", **options, settings=other, like="v1")
    create_release(root, "v3", **options, settings=other)
    late, fresh = (read_release(root, name).to_pandas().set_index("clip_id").split for name in ("v2", "v3"))
    assert late[early.index].equals(early)
    assert late["th1_0"] in {"train", "val", "test"}
    assert not fresh[early.index].equals(early)
    with pytest.raises(DatasetError, match="no release 'v9'"):
        make("v4", like="v9")


def test_lists_of_the_reference_split_a_release(root, make, tmp_path):
    (tmp_path / "train.txt").write_text("German__de_0.wav\nGerman_de2_0.wav\n")
    (tmp_path / "test.txt").write_text("Japanese_ja1_0.wav\n")
    release = make("v1", split=lambda clips: read_lists(clips, tmp_path / "train.txt", tmp_path / "test.txt"))
    splits = pd.read_parquet(release.folder / "manifest.parquet").set_index("clip_id").split
    assert splits.to_dict() == {"_de_0": "train", "de2_0": "train", "ja1_0": "test"}
    with pytest.raises(DatasetError, match="split by lists"):
        make("v2", like="v1")


def test_removed_videos_are_in_no_new_release(root, make):
    (root / "takedown.txt").write_text("ja1\n")
    assert "ja1_0" not in read_release(root, make("v1").folder.name)["clip_id"].to_pylist()
    remove(root, ["_de", "de2"])
    with pytest.raises(DatasetError, match="accepts no clip"):
        make("v2")


def test_the_card_says_what_the_release_holds(make):
    text = (make("v1").folder / "README.md").read_text()
    header = text.split("---")[1]
    assert 'pretty_name: "A \\"small\\" one: test"' in header
    assert "| german | 3 | 0.00 | 2 | 0 | 0.4 s |" in text
    assert "4 clips, 0.0 hours, 3 source videos, 2 languages. Released on 2026-03-04" in text
    assert "No source video is in two splits." in text
    assert "persons are not told apart: source videos were divided" in text
    assert "non-commercial research only" in text
    assert "description: every clip that is ok" in text
    assert "| `fit_landmark_error` | float32 |" in text
    assert "- ffmpeg 7.1" in text


def test_croissant_metadata_pass_the_validator_and_load_the_rows(make):
    mlcroissant = pytest.importorskip("mlcroissant")
    folder = make("v1").folder
    dataset = mlcroissant.Dataset(jsonld=folder / "croissant.json")
    assert dataset.metadata.issues.errors == set()
    assert dataset.metadata.issues.warnings == set()
    ids = [record["clips/clip_id"] for record in dataset.records("clips")]
    assert ids == [b"_de_0", b"de2_0", b"de2_1", b"ja1_0"]
    metadata = json.loads((folder / "croissant.json").read_text())
    assert metadata["datePublished"] == "2026-03-04"


def with_person(persons):
    """Give the clips of each video a person."""

    def change(table):
        at = table.schema.get_field_index("person_id")
        column = pa.array([persons[video] for video in table["video_id"].to_pylist()], pa.string())
        return table.set_column(at, table.schema.field(at), column)

    return change


def test_a_release_divides_persons_and_says_so(root, make, tmp_path):
    compact(root, with_person({"_de": "_de_0", "de2": "_de_0", "ja1": "ja1_0"}))
    release = make("v1")
    rows = read_release(root, "v1").to_pandas()
    assert rows.groupby("person_id").split.nunique().max() == 1
    assert (release.persons.persons, release.persons.in_two_splits) == (2, 0)
    text = (release.folder / "README.md").read_text()
    assert "| german | 3 | 0.00 | 2 | 1 | 0.4 s |" in text
    assert "2 persons" in text
    assert "no person is in two splits" in text
    (tmp_path / "train.txt").write_text("German__de_0.wav\n")
    (tmp_path / "test.txt").write_text("German_de2_0.wav\n")
    parted = make("v2", split=lambda clips: read_lists(clips, tmp_path / "train.txt", tmp_path / "test.txt"))
    assert "1 PERSONS ARE IN TWO SPLITS" in str(parted.persons)

"""Exports, read back as the programs that they are for read them."""

import io
import json
import pickle
import tarfile
import wave

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multitalk.manifests import paths
from multitalk.manifests.layouts.export import (
    divided_clips,
    export_huggingface,
    export_multitalk,
    export_webdataset,
)
from multitalk.manifests.paths import DatasetError
from multitalk.manifests.splits import SplitSettings
from multitalk.manifests.store import compact

CLIPS = ["German__de_0", "German_de2_0", "German_de2_1", "Japanese_ja1_0"]


@pytest.fixture
def filtered(root, accept_ok):
    compact(root, accept_ok)
    for language, clip in (stem.split("_", 1) for stem in CLIPS):
        place = paths.audio_path(root, language.lower(), clip)
        place.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(place), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(clip.encode().ljust(12_800, b"\0"))
    return root


@pytest.fixture
def clips(filtered):
    return divided_clips(filtered, SplitSettings(test=0.3))


def decode(motion):
    """Stand in for a head model of four vertices: what matters here is which motion arrives."""
    return np.repeat(motion["jaw"][:, None], 4, axis=1)


def test_the_reference_layout(filtered, clips, tmp_path):
    out = tmp_path / "out"
    template = np.arange(12, dtype=np.float64).reshape(4, 3)
    assert export_multitalk(filtered, clips, out, decode=decode, template=template) == 4
    assert sorted(path.stem for path in (out / "npy").iterdir()) == CLIPS
    with np.load(out / "npy/German_de2_1.npz") as file:
        assert file["verts"].shape == (10, 4, 3)
        assert file["verts"].dtype == np.float32
        assert file["verts"][9, 0, 2] == pytest.approx(0.2)
    with wave.open(str(out / "wav/Japanese_ja1_0.wav")) as file:
        assert file.readframes(3) == b"ja1_0\0"
    with (out / "templates.pkl").open("rb") as file:
        templates = pickle.load(file, encoding="latin1")
    np.testing.assert_array_equal(templates["id"], template)
    assert templates["id"].dtype == np.float32
    names = [(out / f"{part}.txt").read_text().split() for part in ("train", "test")]
    assert sorted(names[0] + names[1]) == [f"{stem}.wav" for stem in CLIPS]


def test_webdataset_shards(filtered, clips, tmp_path):
    for name in ("a", "b"):
        assert export_webdataset(filtered, clips, tmp_path / name, sound=name == "a", clips_per_shard=2) == 4
    members = {}
    for shard in sorted((tmp_path / "a").glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                members[member.name] = (shard.name.split("-")[0], tar.extractfile(member).read())
    assert sorted(members) == sorted(
        f"{stem}.{kind}" for stem in CLIPS for kind in ("json", "motion.npz", "wav")
    )
    split, row = members["Japanese_ja1_0.json"]
    row = json.loads(row)
    assert row["split"] == split
    assert row["transcript"] == "こんにちは"
    assert row["tool_versions"] == {"av": "18", "ffmpeg": "7.1"}
    with np.load(io.BytesIO(members["Japanese_ja1_0.motion.npz"][1])) as motion:
        assert motion["jaw"].shape == (10, 3)
    with tarfile.open(next((tmp_path / "b").glob("*.tar"))) as tar:
        assert not [name for name in tar.getnames() if name.endswith(".wav")]


def test_hugging_face_layout(filtered, clips, tmp_path):
    datasets = pytest.importorskip("datasets")
    card = "---\nlicense: other\nconfigs:\n- config_name: x\n---\n# A card\n"
    assert (
        export_huggingface(filtered, clips, tmp_path / "out", card=card, sound=True, clips_per_shard=1) == 4
    )
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    rows = {
        row["clip_id"]: row
        for part in loaded.values()
        for row in part.cast_column("audio", datasets.Audio(decode=False))
    }
    assert sorted(rows) == sorted(stem.split("_", 1)[1] for stem in CLIPS)
    assert set(loaded) <= {"train", "validation", "test"}
    assert isinstance(loaded["train"].features["audio"], datasets.Audio)
    assert np.shape(rows["ja1_0"]["jaw"]) == (10, 3)
    assert rows["ja1_0"]["audio"]["bytes"][:4] == b"RIFF"
    text = (tmp_path / "out/README.md").read_text()
    assert text.startswith("---\nlicense: other\nconfigs:\n- config_name: default\n")
    assert text.endswith("---\n# A card\n")


def test_missing_motion_and_sound_are_named(filtered, clips, tmp_path):
    paths.audio_path(filtered, "japanese", "ja1_0").unlink()
    with pytest.raises(DatasetError, match=r"wav/japanese/ja1_0\.wav is missing"):
        export_webdataset(filtered, clips, tmp_path / "a", sound=True)
    assert export_webdataset(filtered, clips, tmp_path / "b") == 4
    paths.motion_path(filtered, "german", "de2").unlink()
    with pytest.raises(DatasetError, match=r"de2\.parquet is missing"):
        export_webdataset(filtered, clips, tmp_path / "c")
    assert not list((tmp_path / "c").glob(".*"))


def test_unfiltered_datasets_are_sent_to_the_filter(root):
    with pytest.raises(DatasetError, match="run `multitalk filter` first"):
        divided_clips(root)


@pytest.mark.parametrize("column", ["clip_id", "video_id", "language"])
def test_a_name_that_leads_elsewhere_is_written_nowhere(filtered, column, tmp_path):
    clips = divided_clips(filtered)
    values = ["../../../evil", *clips[column].to_pylist()[1:]]
    hostile = clips.set_column(
        clips.schema.get_field_index(column), clips.schema.field(column), pa.array(values)
    )
    with pytest.raises(DatasetError, match="can not be a file's name"):
        paths.check_rows(hostile, filtered)
    place = paths.part_path(filtered, "german")
    table = pq.read_table(place, partitioning=None)
    if column != "language":
        changed = ["../../../evil", *table[column].to_pylist()[1:]]
        index = table.schema.get_field_index(column)
        pq.write_table(table.set_column(index, table.schema.field(index), pa.array(changed)), place)
        with pytest.raises(DatasetError, match="verify"):
            divided_clips(filtered)
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("kind", [paths.audio_path, paths.motion_path])
def test_a_link_hands_on_no_file_of_the_user_s(filtered, clips, kind, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    place = kind(filtered, "german", "de2_0" if kind is paths.audio_path else "de2")
    place.unlink()
    place.symlink_to(secret)
    with pytest.raises(DatasetError, match="is a link"):
        export_webdataset(filtered, clips, tmp_path / "out", sound=True)


def test_a_folder_that_is_a_link_leads_out_of_no_dataset(filtered, clips, tmp_path):
    elsewhere = (filtered / "wav" / "german").rename(tmp_path / "elsewhere")
    (filtered / "wav" / "german").symlink_to(elsewhere)
    with pytest.raises(DatasetError, match="link out of the dataset"):
        export_webdataset(filtered, clips, tmp_path / "out", sound=True)

"""The files open unchanged, without this package, in every reader that researchers use."""

import duckdb
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from multitalk.manifests import paths
from multitalk.manifests.store import compact, compact_videos

CLIPS = ["_de_0", "_de_1", "de2_0", "de2_1", "de2_2", "ja1_0", "ja1_1"]
LANGUAGES = ["german"] * 5 + ["japanese"] * 2
FITTED = ["_de_0", "de2_0", "de2_1", "ja1_0"]


@pytest.fixture(params=["compacted", "several parts"])
def settled(request, root, commit_video, tmp_path):
    if request.param == "compacted":
        compact(root)
        return root
    growing = tmp_path / "it's a [growing] root"
    for language, video_id, clips in (("german", "de2", 3), ("german", "_de", 2), ("japanese", "ja1", 2)):
        commit_video(growing, language, video_id, clips)
        compact_videos(growing, language, [video_id])
    assert len(paths.parts(growing, "german")) == 2
    return growing


def check(clips, languages=LANGUAGES):
    clips = sorted(clips, key=lambda row: row["clip_id"])
    assert [row["clip_id"] for row in clips] == CLIPS
    assert [row.get("language") for row in clips] == languages
    assert list(clips[0]["yaw_deg"]) == [-10.0, 1.5, 12.0]
    assert clips[0]["bbox"]["left"] == 0.25
    assert clips[0]["tool_versions"][1]["value"] == "7.1"


def test_pandas(settled):
    clips = pd.read_parquet(settled / "manifest")
    check(clips.to_dict("records"))
    motion = pd.read_parquet(sorted(settled.glob("motion/*/*.parquet")))
    assert sorted(motion.clip_id) == FITTED
    assert motion.jaw[0][9][2] == pytest.approx(0.2)


def test_pyarrow(settled):
    check(pq.read_table(settled / "manifest").to_pylist())
    check(ds.dataset(settled / "manifest", partitioning="hive").to_table().to_pylist())
    # By default a dataset skips files that begin with _, and so do one in 64 YouTube ids.
    motion = ds.dataset(settled / "motion", partitioning="hive", ignore_prefixes=["."]).to_table()
    assert sorted(motion["clip_id"].to_pylist()) == FITTED
    assert set(motion["language"].to_pylist()) == {"german", "japanese"}


def test_dask(settled, tmp_path):
    dataframe = pytest.importorskip("dask.dataframe")
    plain = settled.rename(tmp_path / "plain")  # Dask takes brackets for a pattern
    clips = dataframe.read_parquet(plain / "manifest").compute(scheduler="synchronous")
    check(clips.to_dict("records"))


def test_duckdb(settled, monkeypatch):
    monkeypatch.chdir(settled)
    clips = duckdb.sql("FROM 'manifest/**/*.parquet'").to_arrow_table()
    check(clips.to_pylist())
    motion = duckdb.sql(
        "SELECT clip_id, language, jaw[10][3] FROM 'motion/**/*.parquet' ORDER BY ALL"
    ).fetchall()
    assert [row[0] for row in motion] == FITTED
    assert motion[3] == ("ja1_0", "japanese", pytest.approx(0.2))
    assert duckdb.sql("SELECT landmarks[1][3] FROM 'landmarks/**/*.parquet' LIMIT 1").fetchall() == [(2.0,)]


def test_polars(settled, monkeypatch):
    polars = pytest.importorskip("polars")
    monkeypatch.chdir(settled)
    check(polars.read_parquet("manifest").to_dicts())
    motion = polars.scan_parquet("motion", hive_partitioning=True).collect().sort("clip_id")
    assert motion["clip_id"].to_list() == FITTED
    assert motion["language"].to_list() == ["german"] * 3 + ["japanese"]
    assert motion["jaw"][0][9][2] == pytest.approx(0.2)


def test_hugging_face_datasets(settled, tmp_path):
    datasets = pytest.importorskip("datasets")
    plain = settled.rename(tmp_path / "plain")  # datasets takes brackets for a pattern
    for kind, count in (("manifest", 7), ("motion", 4), ("landmarks", 4)):
        rows = datasets.load_dataset(
            "parquet",
            data_files=[str(path) for path in plain.rglob(f"{kind}/*/*.parquet")],
            split="train",
            cache_dir=str(tmp_path / "cache"),
        )
        assert len(rows) == count
        if kind == "manifest":
            check(list(rows), [None] * 7)  # it does not look at folders

"""SQL over a dataset, what it must not reach, and how results are printed."""

import csv
import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multitalk.manifests import open_dataset, paths
from multitalk.manifests.formats import write_result
from multitalk.manifests.query import QueryError, query


def test_clips_motion_and_landmarks_can_be_asked_together(root):
    result = query(
        root,
        """
        SELECT language, clip_id, yaw_deg[2] AS yaw, tool_versions['ffmpeg'] AS ffmpeg, bbox.left AS x,
               list_max(list_transform(jaw, lambda frame: frame[1])) AS jaw, landmarks[1][3] AS z
        FROM clips JOIN motion USING (clip_id, language) JOIN landmarks USING (clip_id, language)
        ORDER BY ALL
        """,
    ).to_pylist()
    assert [row["clip_id"] for row in result] == ["_de_0", "de2_0", "de2_1", "ja1_0"]
    assert result[0] == {
        "language": "german",
        "clip_id": "_de_0",
        "yaw": 1.5,
        "ffmpeg": "7.1",
        "x": 0.25,
        "jaw": pytest.approx(0.2 * 27 / 29),
        "z": 2.0,
    }
    counts = query(root, "SELECT count(*) n, count(DISTINCT clip_id) d FROM clips").to_pylist()
    assert counts == [{"n": 7, "d": 7}]


def test_a_dataset_without_rows_has_its_columns(tmp_path):
    (tmp_path / "manifest").mkdir()
    names = query(tmp_path, "DESCRIBE clips").to_pydict()
    assert names["column_name"][:3] == ["clip_id", "video_id", "language"]
    assert dict(zip(names["column_name"], names["column_type"], strict=True))["rejected_by"] == "VARCHAR[]"
    for view in ("clips", "motion", "landmarks"):
        assert query(tmp_path, f"SELECT count(*) AS n FROM {view}").to_pylist() == [{"n": 0}]


def test_an_older_dataset_without_a_column_answers_null(root):
    part = paths.part_path(root, "japanese")
    table = pq.read_table(part, partitioning=None)
    pq.write_table(table.drop_columns(["snr_db"]), part)
    result = query(root, "SELECT language, snr_db, attempts FROM clips").to_pylist()
    assert len(result) == 7
    assert all(row["snr_db"] is None for row in result)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM '{outside}'",
        "SELECT * FROM read_csv('{outside}')",
        "SELECT * FROM read_text('{inside}/../{name}')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM RESULT",
        "SELECT * FROM sql",
        "SELECT * FROM read_parquet('http://127.0.0.1:9/x.parquet')",
        "COPY clips TO '{inside}/manifest/x.csv'",
        "EXPLAIN ANALYZE COPY clips TO '{inside}/manifest/x.csv'",
        "ATTACH '{inside}/manifest/x.db'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "LOAD httpfs",
        "CREATE TABLE x AS SELECT 1",
        "DROP VIEW clips",
        "EXPORT DATABASE '{inside}/manifest'",
        "PRAGMA database_list",
        "CALL duckdb_settings()",
        "SELECT 1; DROP VIEW clips",
        "SELECT",
        "",
    ],
)
@pytest.mark.parametrize("root", ["settled"], indirect=True)
def test_a_query_reaches_nothing_else(root, sql):
    outside = root.parent / "secret.csv"
    outside.write_text("a\n42\n")
    before = sorted(root.rglob("*"))
    quoted = {"outside": str(outside), "inside": str(root), "name": outside.name}
    with pytest.raises(QueryError):
        query(root, sql.format(**{key: value.replace("'", "''") for key, value in quoted.items()}))
    assert sorted(root.rglob("*")) == before


PART = "manifest/language=german/part-0.compacted.parquet"


@pytest.mark.parametrize(
    "sql",
    [
        "WITH x AS (COPY (SELECT 1) TO '{place}' (FORMAT parquet)) SELECT 1",
        "WITH x AS MATERIALIZED (COPY (SELECT 1) TO '{place}' (FORMAT parquet)) SELECT 1; -- x",
        "WITH x AS (COPY (SELECT 1) TO '{place}') SELECT 1 UNION ALL SELECT 2",
        "WITH x AS (WITH y AS (COPY (SELECT 1) TO '{place}') FROM y) FROM x",
        "SELECT 1 UNION ALL (WITH y AS (COPY (SELECT 1) TO '{place}') SELECT 2)",
        "SELECT (WITH y AS (COPY (SELECT 1) TO '{place}') SELECT 1)",
        "DESCRIBE WITH y AS (COPY (SELECT 1) TO '{place}') SELECT 2",
        "SELECT * FROM query('WITH x AS (COPY (SELECT 1) TO ''{place}'') SELECT 1')",
        "WITH x AS (INSERT INTO clips VALUES (1) RETURNING 1) FROM x",
        "WITH x AS (UPDATE clips SET clip_id = 1 RETURNING 1) FROM x",
        "WITH x AS (DELETE FROM clips RETURNING 1) FROM x",
        "WITH x AS (EXPORT DATABASE '{place}') SELECT 1",
    ],
)
def test_a_statement_within_a_select_writes_nothing(datasets, tmp_path, sql):
    root = shutil.copytree(datasets["settled"], tmp_path / "root")
    before = {place: place.read_bytes() for place in root.rglob("*") if place.is_file()}
    with pytest.raises(QueryError):
        query(root, sql.format(place=root / PART))
    assert {place: place.read_bytes() for place in root.rglob("*") if place.is_file()} == before


def test_whatever_reads_runs_and_errors_count_the_lines_of_the_query(datasets):
    root = datasets["settled"]
    assert query(root, "SELECT 1 AS one; -- x").to_pylist() == [{"one": 1}]
    assert query(root, "SHOW TABLES").to_pydict() == {"name": ["clips", "landmarks", "motion", "releases"]}
    assert query(root, "DESCRIBE SELECT 1 AS one")["column_name"].to_pylist() == ["one"]
    assert query(root, "SUMMARIZE SELECT 1 AS one")["null_percentage"].to_pylist() == [0.0]
    with pytest.raises(QueryError, match="LINE 2:  nothing"):
        query(root, "SELECT\n nothing\nFROM clips")


def test_columns_that_share_a_name_are_told_apart(datasets):
    names = query(datasets["settled"], "SELECT 1 AS a, 2 AS a, 3 AS a_1, 4 AS a").to_pylist()
    assert names == [{"a": 1, "a_1": 2, "a_1_1": 3, "a_2": 4}]
    result = query(datasets["settled"], "FROM clips JOIN motion ON clips.clip_id = motion.clip_id")
    header, *rows = csv.reader(io.StringIO(printed(result, "csv").decode()))
    assert "clip_id_1" in header
    assert {len(row) for row in rows} == {len(header)}
    assert len(json.loads(printed(result, "json"))[0]) == len(header)
    assert len(printed(result, "table").splitlines()) == 2 + len(rows)


def test_sums_and_decimals_are_numbers(datasets):
    sql = "SELECT sum(frame_count) AS n, 1.5 AS half, [0.25] AS list, 18446744073709551616 AS wide FROM clips"
    row = query(datasets["settled"], sql + " GROUP BY ALL HAVING n > 0")
    assert json.loads(printed(row, "json")) == [{"n": 40, "half": 1.5, "list": [0.25], "wide": 2.0**64}]


def test_folders_above_the_root_and_files_of_macos_change_no_row(datasets, tmp_path):
    root = shutil.copytree(datasets["settled"], tmp_path / "language=z" / "clip_id=7" / "root")
    (root / "motion" / "language=german" / "._de2.parquet").write_bytes(b"\0\5\x16\7")
    rows = query(root, "SELECT clip_id, language FROM motion ORDER BY ALL").to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("_de_0", "german"),
        ("de2_0", "german"),
        ("de2_1", "german"),
        ("ja1_0", "japanese"),
    ]


def test_a_query_of_clips_lists_no_motion(datasets, monkeypatch):
    monkeypatch.setattr("multitalk.manifests.query._per_clip", lambda *_: 1 / 0)
    assert query(datasets["settled"], "SELECT motion_path FROM clips").num_rows == 7


def test_python_gives_tables_and_arrays(root):
    dataset = open_dataset(str(root))
    clips = dataset.clips().set_index("clip_id")
    assert list(clips.index) == ["_de_0", "_de_1", "de2_0", "de2_1", "de2_2", "ja1_0", "ja1_1"]
    assert clips.loc["_de_0", "language"] == "german"
    assert clips.loc["_de_0", "frame_count"] == 10
    assert clips.loc["_de_1", "frame_count"] is pd.NA
    assert len(clips[clips.accepted]) == 0
    assert dataset.query("SELECT sum(duration_sec) AS s FROM clips").s[0] == pytest.approx(1.6)
    motion = dataset.motion("de2_1")
    assert motion["jaw"].shape == (10, 3)
    assert motion["jaw"].dtype == np.float32
    assert motion["valid"].tolist() == [False] + [True] * 9
    assert np.isnan(motion["residual"][0])
    assert dataset.landmarks("ja1_0")["landmarks"].shape == (10, 478, 3)
    with pytest.raises(KeyError, match="'ja1_1' has no motion"):
        dataset.motion("ja1_1")
    with pytest.raises(KeyError, match="no clip 'nope'"):
        dataset.motion("nope")


def test_a_missing_dataset_says_so(tmp_path):
    with pytest.raises(paths.DatasetError, match="no dataset at"):
        open_dataset(tmp_path)
    with pytest.raises(paths.DatasetError, match="no dataset at"):
        query(tmp_path, "SELECT 1")


RESULT = pa.table(
    {
        "clip": ["a", "日本", "x\x1b[31m", None],
        "hours": pa.array([0.1, None, float("nan"), 1234.5], pa.float32()),
        "n": [1, 22, 333, 4],
        "yaw": pa.array([[0.1, 2], None, [], [3]], pa.list_(pa.float32())),
    }
)


def printed(result, form):
    out = io.BytesIO()
    write_result(result, out, form)
    return out.getvalue()


def test_the_table_is_aligned_on_a_terminal():
    assert printed(RESULT, "table").decode().splitlines() == [
        "clip     hours    n  yaw",
        "------  ------  ---  ----------",
        "a          0.1    1  [0.1, 2.0]",
        "日本             22",
        "x [31m     nan  333  []",
        "        1234.5    4  [3.0]",
    ]
    long = printed(pa.table({"n": range(1003), "t": ["x" * 100] * 1003}), "table").decode()
    assert long.splitlines()[-1].startswith("... and 3 more rows")
    assert "x" * 59 + "…" in long


def test_long_lists_and_texts_cost_no_more_than_what_is_shown(monkeypatch):
    monkeypatch.setattr("multitalk.manifests.formats.json.dumps", lambda value, **_: str(len(value)))
    result = pa.table({"points": pa.array([[[0.5] * 1434] * 500, None, []]), "text": ["日" * 200_000] * 3})
    assert printed(result, "table").decode().splitlines()[2:] == [
        "60      " + "日" * 29 + "…",
        "        " + "日" * 29 + "…",
        "0       " + "日" * 29 + "…",
    ]


def test_a_type_that_parquet_lacks_is_told_of(datasets):
    result = query(datasets["settled"], "SELECT INTERVAL 1 DAY AS i")
    assert printed(result, "csv").startswith(b"i\n")
    with pytest.raises(QueryError, match="can not be Parquet"):
        printed(result, "parquet")


def test_csv_json_and_parquet_keep_every_value():
    assert printed(RESULT, "csv").decode().splitlines()[:2] == ["clip,hours,n,yaw", 'a,0.1,1,"[0.1, 2.0]"']
    rows = json.loads(printed(RESULT, "json"))
    assert rows[0] == {"clip": "a", "hours": 0.1, "n": 1, "yaw": [0.1, 2.0]}
    assert rows[2] == {"clip": "x\x1b[31m", "hours": None, "n": 333, "yaw": []}
    assert json.loads(printed(RESULT.slice(0, 0), "json")) == []
    assert pq.read_table(io.BytesIO(printed(RESULT, "parquet"))).to_pandas().equals(RESULT.to_pandas())


def test_importing_the_query_drags_nothing_heavy_in():
    modules = "multitalk.manifests.query, multitalk.manifests.formats"
    code = f"import sys, {modules}; print({{'pandas', 'duckdb'}} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"

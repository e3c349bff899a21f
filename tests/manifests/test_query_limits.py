"""Queries that would never end, or take all memory, are stopped and told of."""

import subprocess
import sys
import time

import pytest

from multitalk.manifests import open_dataset
from multitalk.manifests.query import QueryError, query
from multitalk.manifests.query_limits import QueryLimits

pytestmark = pytest.mark.parametrize("root", ["settled"], indirect=True)

ENDLESS = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(100000000) b"
CONSTANT = "SELECT range(1000000000)"  # DuckDB computes it before it looks at any limit


def test_a_query_without_end_is_stopped(root):
    begun = time.monotonic()
    with pytest.raises(QueryError, match=r"stopped after 1 s.*--time-limit"):
        query(root, ENDLESS, QueryLimits(seconds=1))
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM range(1000000000000)",
        "SELECT repeat('x', 100000) FROM range(100000000)",
        "SELECT list(range) FROM range(10000000000)",
        "SELECT a.range, b.range FROM range(1000000) a, range(1000000) b ORDER BY a.range * b.range",
    ],
)
def test_a_result_or_work_without_measure_is_stopped(root, sql):
    with pytest.raises(QueryError, match=r"more than 0\.2 GiB.*--memory-limit"):
        query(root, sql, QueryLimits(seconds=60, memory_gib=0.2))


def test_limits_that_are_none_are_refused(root):
    for wrong in ({"seconds": 0}, {"memory_gib": -1}, {"seconds": float("nan")}):
        with pytest.raises(ValueError, match="above 0"):
            QueryLimits(**wrong)


def test_a_query_within_its_limits_gives_all_its_rows(root):
    assert query(root, "SELECT * FROM range(1000000)", QueryLimits(memory_gib=0.2)).num_rows == 1_000_000


def run(root, *options):
    command = [sys.executable, "-m", "multitalk.flows.commands.main", "query", "--root", str(root), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("sql", [CONSTANT, ENDLESS, "SELECT repeat('x', 1000000000) || 'y'"])
def test_the_command_ends_whatever_is_asked(root, sql):
    done = run(root, sql, "--time-limit", "3", "--memory-limit", "0.3")
    assert done.returncode in (1, 2)
    assert "the query was stopped" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("form", ["table", "csv", "json", "parquet"])
def test_every_type_that_there_is_is_shown_or_told_of(root, form):
    done = run(root, "SELECT * FROM test_all_types()", "--format", form)
    assert done.returncode == 2
    assert "VARCHAR" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_type_that_there_is_is_no_trace_in_a_notebook(root):
    with pytest.raises(QueryError, match="VARCHAR"):
        open_dataset(root).query("SELECT * FROM test_all_types()")

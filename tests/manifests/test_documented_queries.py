"""Every query that the documentation shows runs as it stands there."""

import re
from pathlib import Path

import pytest

from multitalk.manifests.query import query
from multitalk.manifests.releases.release import ReleaseSettings, create_release
from multitalk.manifests.store import compact

REPOSITORY = Path(__file__).parents[2]
QUERIES = [
    sql
    for page in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))
    for sql in re.findall(r"```sql\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
]


def test_there_are_a_dozen():
    assert len(QUERIES) >= 12


@pytest.mark.parametrize("sql", QUERIES, ids=lambda sql: sql.split("\n")[0][:50])
@pytest.mark.parametrize("root", ["settled"], indirect=True)
def test_it_runs(root, accept_ok, sql):
    compact(root, accept_ok)
    create_release(root, "v1", policy="p", add_verdicts=accept_ok, settings=ReleaseSettings())
    result = query(root, sql)
    assert result.num_columns >= 2
    if "releases" in sql and "HAVING" not in sql:
        assert sum(result["clips"].to_pylist()) == 4
    if "QrDZ" in sql:
        assert query(root, sql.replace("QrDZjUeiUwc_0", "de2_0")).num_rows == 10

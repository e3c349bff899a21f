"""Commands over a built dataset: ``query`` and ``filter``."""

import argparse
import sys
from collections import Counter
from dataclasses import asdict
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multitalk.filters.verdicts import Waterfall


def add_commands(commands: Any) -> None:
    """Add the commands of this module to the parser's."""
    query = commands.add_parser(
        "query",
        help="ask the dataset in SQL",
        description="Run one SELECT over the tables clips, motion and landmarks.",
    )
    query.add_argument(
        "sql", metavar="SQL", help="for instance: SELECT language, count(*) FROM clips GROUP BY 1"
    )
    query.add_argument("--format", choices=("table", "csv", "json", "parquet"), default="table")
    _add_root(query)
    query.set_defaults(run=_query)

    judge = commands.add_parser(
        "filter",
        help="apply a policy: accept or reject each clip",
        description="Apply a policy to all clips, without touching a video, and print what each rule takes away.",
    )
    _add_root(judge)
    judge.add_argument(
        "--policy",
        metavar="NAME|FILE",
        help="a shipped policy, or a YAML file; default: the dataset's own, or `default`",
    )
    judge.add_argument("--dry-run", action="store_true", help="print, but leave the manifest as it is")
    judge.add_argument(
        "--explain", metavar="CLIP_ID", help="what each rule finds on one clip; changes nothing"
    )
    judge.add_argument("--compare", metavar="NAME|FILE", help="what another policy changes; changes nothing")
    judge.add_argument("--by-language", action="store_true", help="the same for each language")
    judge.set_defaults(run=_filter)


def _add_root(command: argparse.ArgumentParser) -> None:
    command.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder of the dataset")


def _query(options: argparse.Namespace) -> int:
    from multitalk.manifests.formats import write_result
    from multitalk.manifests.query import query

    write_result(query(options.root, options.sql), sys.stdout.buffer, options.format)
    sys.stdout.flush()
    return 0


def spare_pandas() -> None:
    """Keep pyarrow from importing pandas, half of a short command's time, when it is first given a list.

    It only wants to know whether the list is one of pandas' objects. What needs pandas later still finds it.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa

    refusal = _WithoutPandas()
    sys.meta_path.insert(0, refusal)
    try:
        pa.array([])
    finally:
        sys.meta_path.remove(refusal)


class _WithoutPandas(MetaPathFinder):
    def find_spec(self, fullname: str, *_: Any) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname)


def _filter(options: argparse.Namespace) -> int:
    spare_pandas()
    from multitalk.filters.policy import load_policy
    from multitalk.filters.verdicts import evaluate, metric_columns, waterfall, waterfall_by_language
    from multitalk.flows.datasets.dataset_policy import judge, policy_of
    from multitalk.manifests.schema import MANIFEST
    from multitalk.manifests.store import read_manifest

    source = options.policy or policy_of(options.root)
    policy = load_policy(source, MANIFEST)
    if options.explain:
        return _explain(options, policy)
    columns = [*metric_columns(policy), "clip_id"]
    if options.compare:
        return _compare(options, policy)
    clips = read_manifest(options.root, columns)
    verdicts = evaluate(policy, clips)
    if not options.dry_run:
        judge(options.root, source)
    _print_waterfall(waterfall(verdicts), f"{policy.name}: all languages")
    if options.by_language:
        for language, counts in waterfall_by_language(verdicts, clips).items():
            _print_waterfall(counts, f"{policy.name}: {language}")
    if options.dry_run:
        print("dry run: the manifest was not changed")
    return 0


def _print_waterfall(counts: "Waterfall", title: str) -> None:
    from multitalk.flows.looking.tables import print_table

    share = f"{counts.accepted / counts.clips:.1%}" if counts.clips else "0%"
    rows = [asdict(row) for row in counts.rows if row.all] or [
        {"rule": "none", "first": 0, "alone": 0, "all": 0}
    ]
    print_table(rows, title=f"{title}: {counts.accepted} of {counts.clips} clips accepted ({share})")


def _explain(options: argparse.Namespace, policy: Any) -> int:
    import pyarrow.compute as pc

    from multitalk.filters.verdicts import explain
    from multitalk.flows.looking.tables import print_table
    from multitalk.manifests.paths import DatasetError
    from multitalk.manifests.store import read_manifest

    clips = read_manifest(options.root)
    clip = clips.filter(pc.equal(clips["clip_id"], options.explain))
    if clip.num_rows == 0:
        raise DatasetError(f"no clip {options.explain!r} in {options.root}")
    rows = [
        {"rule": o.rule, "": "passes" if o.holds else "FAILS", "found": o.what, "why the rule": o.reason}
        for o in explain(policy, clip.slice(0, 1))
    ]
    accepted = all(row[""] == "passes" for row in rows)
    print_table(rows, title=f"{options.explain}: {'accepted' if accepted else 'rejected'} by {policy.name}")
    return 0


def _compare(options: argparse.Namespace, policy: Any) -> int:
    from multitalk.filters.policy import load_policy
    from multitalk.filters.verdicts import compare, evaluate, metric_columns
    from multitalk.flows.looking.tables import print_table
    from multitalk.manifests.schema import MANIFEST
    from multitalk.manifests.store import read_manifest

    other = load_policy(options.compare, MANIFEST)
    columns = sorted({*metric_columns(policy), *metric_columns(other), "clip_id"})
    clips = read_manifest(options.root, columns)
    first, second = evaluate(policy, clips), evaluate(other, clips)
    outcome = compare(first, second)
    print(f"both accept {outcome.both} clips, neither accepts {outcome.neither}")
    for gained, verdicts, name in (
        (outcome.lost, second, f"accepted by {policy.name}, rejected by {other.name}"),
        (outcome.gained, first, f"rejected by {policy.name}, accepted by {other.name}"),
    ):
        ids = clips.filter(gained)["clip_id"].to_pylist()
        reasons = verdicts.rejected_by().filter(gained).to_pylist()
        counts = Counter(rule for broken in reasons for rule in broken).most_common()
        print_table([{"rule": r, "clips": n} for r, n in counts], title=f"{name}: {len(ids)} clips")
        rows = [{"clip": c, "rejected by": ", ".join(r)} for c, r in zip(ids[:20], reasons[:20], strict=True)]
        print_table(rows, title="the first 20 of them" if len(ids) > 20 else "which are")
    return 0

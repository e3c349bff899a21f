"""Commands over a built dataset: ``query`` and ``filter``."""

import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from multitalk.flows.commands.words import AsJson, Root

if TYPE_CHECKING:
    from multitalk.filters.verdicts import Waterfall

_POLICY = "NAME|FILE"


def persons(
    *,
    root: Root,
    forget: Annotated[
        bool,
        Parameter(
            help="Delete what describes faces and voices, and what was told from it",
            negative=(),
            show_default=False,
        ),
    ] = False,
    json: AsJson = False,
) -> int:
    """Tell the persons of all clips apart, or forget them."""
    import json as json_text

    from multitalk.flows.looking.tables import print_table
    from multitalk.flows.persons import telling

    if forget:
        count = telling.forget(root)
        print(
            json_text.dumps({"forgotten": count})
            if json
            else f"{count} clips: faces and voices are forgotten"
        )
        return 0
    told = telling.tell(root)
    if json:
        print(json_text.dumps(asdict(told), indent=2))
        return 0
    counts = {
        "persons": told.persons,
        "of them in several source videos": told.several_videos,
        "clips whose person is told": told.clips,
        "clips whose voice is heard with another face, too": told.other_voices,
        "clips that another source video has as well": told.repeats,
    }
    print_table([{"found": what, "count": count} for what, count in counts.items()])
    return 0


def query(
    sql: Annotated[str, Parameter(help="For instance: SELECT language, count(*) FROM clips GROUP BY 1")],
    /,
    *,
    root: Root,
    format: Annotated[
        Literal["table", "csv", "json", "parquet"], Parameter(help="How the result is written to stdout")
    ] = "table",
    time_limit: Annotated[
        float | None, Parameter(metavar="SECONDS", help="Stop the query after so long; none: 300")
    ] = None,
    memory_limit: Annotated[
        float | None,
        Parameter(
            metavar="GIB",
            help="Stop it when it or its result takes more; none: half of the machine's memory, at most 8",
        ),
    ] = None,
) -> int:
    """Run a query and write its result."""
    from multitalk.manifests import query as queries
    from multitalk.manifests.formats import write_result
    from multitalk.manifests.query_limits import QueryLimits, confined_process

    given = {"seconds": time_limit, "memory_gib": memory_limit}
    limits = QueryLimits(**{name: value for name, value in given.items() if value is not None})
    with confined_process(limits):
        write_result(queries.query(root, sql, limits), sys.stdout.buffer, format)
    sys.stdout.flush()
    return 0


def filter_clips(
    *,
    root: Root,
    policy: Annotated[
        str | None,
        Parameter(
            metavar=_POLICY,
            help="A shipped policy, or a YAML file; none: the dataset's own, or `default`",
        ),
    ] = None,
    dry_run: Annotated[
        bool, Parameter(help="Print, but leave the manifest as it is", negative=(), show_default=False)
    ] = False,
    explain: Annotated[
        str | None, Parameter(metavar="CLIP_ID", help="What each rule finds on one clip; changes nothing")
    ] = None,
    compare: Annotated[
        str | None, Parameter(metavar=_POLICY, help="What another policy changes; changes nothing")
    ] = None,
    by_language: Annotated[
        bool, Parameter(help="The same for each language", negative=(), show_default=False)
    ] = False,
) -> int:
    """Apply a policy to all clips, or only show what it would do."""
    from multitalk.ground.arrow import spare_pandas

    spare_pandas()
    from multitalk.filters.policy import load_policy
    from multitalk.filters.verdicts import evaluate_policy, metric_columns, waterfall, waterfall_by_language
    from multitalk.flows.building.dataset_policy import apply_policy, policy_of
    from multitalk.manifests.schema import MANIFEST
    from multitalk.manifests.store import read_manifest

    source = policy or policy_of(root)
    rules = load_policy(source, MANIFEST)
    if explain:
        return _explain(root, explain, rules)
    if compare:
        return _compare(root, compare, rules)
    clips = read_manifest(root, [*metric_columns(rules), "clip_id"])
    verdicts = evaluate_policy(rules, clips)
    if not dry_run:
        apply_policy(root, source)
    _print_waterfall(waterfall(verdicts), f"{rules.name}: all languages")
    if by_language:
        for language, counts in waterfall_by_language(verdicts, clips).items():
            _print_waterfall(counts, f"{rules.name}: {language}")
    if dry_run:
        print("dry run: the manifest was not changed")
    return 0


def _print_waterfall(counts: "Waterfall", title: str) -> None:
    from multitalk.flows.looking.tables import print_table

    share = f"{counts.accepted / counts.clips:.1%}" if counts.clips else "0%"
    rows = [asdict(row) for row in counts.rows if row.all] or [
        {"rule": "none", "first": 0, "alone": 0, "all": 0}
    ]
    print_table(rows, title=f"{title}: {counts.accepted} of {counts.clips} clips accepted ({share})")


def _explain(root: Path, clip_id: str, policy: Any) -> int:
    import pyarrow.compute as pc

    from multitalk.filters.verdicts import explain_clip
    from multitalk.flows.looking.tables import print_table
    from multitalk.manifests.paths import DatasetError
    from multitalk.manifests.store import read_manifest

    clips = read_manifest(root)
    clip = clips.filter(pc.equal(clips["clip_id"], clip_id))
    if clip.num_rows == 0:
        raise DatasetError(f"no clip {clip_id!r} in {root}")
    rows = [
        {"rule": o.rule, "": "passes" if o.holds else "FAILS", "found": o.what, "why the rule": o.reason}
        for o in explain_clip(policy, clip.slice(0, 1))
    ]
    accepted = all(row[""] == "passes" for row in rows)
    print_table(rows, title=f"{clip_id}: {'accepted' if accepted else 'rejected'} by {policy.name}")
    return 0


def _compare(root: Path, other_source: str, policy: Any) -> int:
    from multitalk.filters.policy import load_policy
    from multitalk.filters.verdicts import compare_verdicts, evaluate_policy, metric_columns
    from multitalk.flows.looking.tables import print_table
    from multitalk.manifests.schema import MANIFEST
    from multitalk.manifests.store import read_manifest

    other = load_policy(other_source, MANIFEST)
    columns = sorted({*metric_columns(policy), *metric_columns(other), "clip_id"})
    clips = read_manifest(root, columns)
    first, second = evaluate_policy(policy, clips), evaluate_policy(other, clips)
    outcome = compare_verdicts(first, second)
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

"""Applying a policy to the manifest: verdicts, the waterfall, explanations, and what another policy changes.

Everything here takes Arrow tables of manifest rows and looks at no other file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from multitalk.filters.policy import PERCENTILES, STATUS_RULE, ConditionSettings, PolicySettings, Threshold

BoolArray = npt.NDArray[np.bool_]

_COMPARE = {
    ">=": pc.greater_equal,
    ">": pc.greater,
    "<=": pc.less_equal,
    "<": pc.less,
    "==": pc.equal,
    "!=": pc.not_equal,
}


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What a policy makes of N clips."""

    rules: tuple[str, ...]
    """Names of its R rules in order, the first of them `status`."""
    broken: BoolArray
    """(R, N) True where the clip fails the rule. A failed clip breaks `status` alone."""

    @property
    def accepted(self) -> BoolArray:
        """(N,) True where no rule is broken."""
        return np.asarray(~self.broken.any(axis=0))

    def rejected_by(self) -> pa.Array:
        """List of the broken rules of each clip, in the policy's order."""
        clips, rules = np.nonzero(self.broken.T)
        ends = np.searchsorted(clips, np.arange(self.broken.shape[1] + 1))
        names = pa.array(self.rules, pa.string()).take(pa.array(rules))
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), names)


@dataclass(frozen=True, slots=True)
class WaterfallRow:
    """How many clips a rule rejects."""

    rule: str
    first: int
    """Clips that pass all rules before it, and not it: what it takes away in this order."""
    alone: int
    """Clips that it alone rejects: what dropping the rule would give back."""
    all: int
    """Clips that it rejects, whatever the others do."""


@dataclass(frozen=True, slots=True)
class Waterfall:
    """A policy's effect on a set of clips."""

    clips: int
    accepted: int
    rows: tuple[WaterfallRow, ...]


def metric_columns(policy: PolicySettings) -> list[str]:
    """Columns of the manifest that a policy looks at."""

    def visit(condition: ConditionSettings) -> Iterator[str]:
        if condition.metric is not None:
            yield condition.metric.partition(".")[0]
        for inner in condition.group:
            yield from visit(inner)

    return sorted({"status", "language", *(name for rule in policy.rules for name in visit(rule))})


def evaluate_policy(policy: PolicySettings, clips: pa.Table) -> Verdicts:
    """Judge N clips.

    Parameters
    ----------
    clips
        Manifest rows with at least `metric_columns(policy)`.
    """
    failed = _numpy(pc.not_equal(clips["status"], "ok"))
    broken = [failed] + [~_numpy(_holds(rule, clips)) & ~failed for rule in policy.rules]
    return Verdicts((STATUS_RULE, *(rule.name for rule in policy.rules)), np.stack(broken))


def apply(policy: PolicySettings, clips: pa.Table) -> pa.Table:
    """Manifest rows with `accepted` and `rejected_by` filled in."""
    verdicts = evaluate_policy(policy, clips)
    for name, column in (("accepted", pa.array(verdicts.accepted)), ("rejected_by", verdicts.rejected_by())):
        index = clips.schema.get_field_index(name)
        clips = clips.set_column(
            index, clips.schema.field(index), column.cast(clips.schema.field(index).type)
        )
    return clips


def waterfall(verdicts: Verdicts) -> Waterfall:
    """Count what each rule takes away."""
    broken = verdicts.broken
    count = broken.sum(axis=0)
    first = np.where(count > 0, broken.argmax(axis=0), -1)
    rows = [
        WaterfallRow(
            rule, int((first == r).sum()), int((broken[r] & (count == 1)).sum()), int(broken[r].sum())
        )
        for r, rule in enumerate(verdicts.rules)
    ]
    return Waterfall(broken.shape[1], int((count == 0).sum()), tuple(rows))


def waterfall_by_language(verdicts: Verdicts, clips: pa.Table) -> dict[str, Waterfall]:
    """Count the same for each language of the clips that were judged."""
    languages = np.asarray(clips["language"].cast(pa.string()).to_numpy(zero_copy_only=False))
    return {
        language: waterfall(Verdicts(verdicts.rules, verdicts.broken[:, languages == language]))
        for language in sorted(set(languages.tolist()))
    }


def explained_rows(policy: PolicySettings, counts: Waterfall) -> list[dict[str, str | int]]:
    """Rows of a waterfall with each rule's reason, as the report page shows them."""
    reasons = {rule.name: rule.reason for rule in policy.rules}
    return [{**asdict(row), "reason": reasons.get(row.rule, "")} for row in counts.rows]


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """One rule on one clip."""

    rule: str
    holds: bool
    what: str
    """The metric's value and what it was asked to be."""
    reason: str
    """Why the policy has the rule."""


def explain_clip(policy: PolicySettings, clip: pa.Table) -> list[RuleOutcome]:
    """Say what each rule finds on one clip, a table of one manifest row; of a failed clip, why it failed."""
    row = clip.to_pylist()[0]
    status = f"status = {row['status']}"
    if row["status"] != "ok":
        status += f" ({row.get('error_code')}): {row.get('error_message') or ''}"
    outcomes = [
        RuleOutcome(STATUS_RULE, row["status"] == "ok", status, "A failed clip has nothing to judge.")
    ]
    for rule in policy.rules if row["status"] == "ok" else ():
        holds = bool(_numpy(_holds(rule, clip))[0])
        outcomes.append(RuleOutcome(rule.name, holds, _describe(rule, clip), rule.reason))
    return outcomes


@dataclass(frozen=True, slots=True)
class PolicyComparison:
    """What becomes of N clips under a second policy."""

    both: int
    neither: int
    lost: BoolArray
    """(N,) accepted by the first policy alone."""
    gained: BoolArray
    """(N,) accepted by the second policy alone."""


def compare_verdicts(first: Verdicts, second: Verdicts) -> PolicyComparison:
    """Compare two policies' verdicts on the same clips."""
    a, b = first.accepted, second.accepted
    return PolicyComparison(int((a & b).sum()), int((~a & ~b).sum()), a & ~b, b & ~a)


def _holds(condition: ConditionSettings, clips: pa.Table) -> pa.ChunkedArray:
    """Whether each clip satisfies a condition; never null."""
    if condition.metric is None:
        combine = pc.or_ if condition.any else pc.and_
        return reduce(combine, [_holds(inner, clips) for inner in condition.group])
    values = _values(condition, clips)
    holds = _compare(condition, values, condition.threshold)
    for language, threshold in condition.languages.items():
        here = pc.equal(clips["language"].cast(pa.string()), language)
        holds = pc.if_else(here, _compare(condition, values, threshold), holds)
    return pc.fill_null(holds, condition.missing == "accept")


def _values(condition: ConditionSettings, clips: pa.Table) -> pa.ChunkedArray:
    name, _, percentile = str(condition.metric).partition(".")
    values = clips[name]
    if percentile:
        values = pc.list_element(values, PERCENTILES[percentile])
    if pa.types.is_integer(values.type):
        values = values.cast(pa.float64())
    elif pa.types.is_dictionary(values.type):
        values = values.cast(pa.string())
    return pc.abs(values) if condition.absolute else values


def _compare(
    condition: ConditionSettings, values: pa.ChunkedArray, threshold: Threshold | None
) -> pa.ChunkedArray:
    if isinstance(threshold, list):
        found = pc.is_in(values, pa.array(threshold, pa.string()))
        found = pc.invert(found) if condition.comparison == "not in" else found
        return pc.if_else(pc.is_valid(values), found, None)
    # In the metric's own precision, so that a stored 0.95 is at least 0.95.
    return _COMPARE[str(condition.comparison)](values, pa.scalar(threshold, values.type))


def _describe(condition: ConditionSettings, clip: pa.Table) -> str:
    if condition.metric is None:
        parts = [_describe(inner, clip) for inner in condition.group]
        return f" {'or' if condition.any else 'and'} ".join(f"({part})" for part in parts)
    value = _values(condition, clip)[0].as_py()
    language = str(clip["language"][0])
    threshold = condition.languages.get(language, condition.threshold)
    name = f"|{condition.metric}|" if condition.absolute else condition.metric
    if value is None:
        return f"{name} was not measured, which the rule {condition.missing}s"
    shown = f"{value:.4g}" if isinstance(value, float) else repr(value)
    asked = f"{threshold:g}" if isinstance(threshold, float) else threshold
    return f"{name} = {shown}, asked {condition.comparison} {asked}"


def _numpy(values: pa.ChunkedArray) -> BoolArray:
    return np.asarray(values.to_numpy(), dtype=np.bool_)

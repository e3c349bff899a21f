"""Policies: named rules over the manifest's metrics, kept in a YAML file.

A policy says what an accepted clip satisfies::

    name: careful
    description: One face that looks into the camera.
    rules:
      - name: frontal
        metric: yaw_deg.p50        # a percentile of a metric that has three: p5, p50, p95
        absolute: true             # compare its absolute value
        comparison: "<="
        threshold: 45
        languages: {thai: 50}      # other thresholds for some languages
        missing: accept            # when the metric could not be measured; reject if not said
        reason: Beyond 45 degrees the far half of the mouth is hidden.
      - name: synchronous
        any:                       # or `all`; groups may hold groups
          - {metric: av_correlation, comparison: ">=", threshold: 0.25}
          - {metric: speaking_score, comparison: ">=", threshold: 1}
        reason: ...

A file is checked as a whole when it is loaded; each complaint names its line. `multitalk.filters.verdicts` applies it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from multitalk.ground.nearest import did_you_mean
from multitalk.ground.untrusted.safe_yaml import YamlFileError, parse_yaml, read_yaml_text

if TYPE_CHECKING:
    import pyarrow as pa

Operator = Literal[">=", ">", "<=", "<", "==", "!=", "in", "not in"]
Threshold = bool | float | str | list[str]

STATUS_RULE = "status"
"""The rule that every policy has: a clip that failed is rejected by it, and by no other."""

PERCENTILES = {"p5": 0, "p50": 1, "p95": 2}
"""Place of each percentile in a metric's list."""


class PolicyError(ValueError):
    """A policy can not be used; the message has a line for each complaint, with file and line."""


class ConditionSettings(BaseModel):
    """What one metric must satisfy, or a group of such conditions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: str | None = Field(
        default=None, description="Column of the manifest, with `.p5`, `.p50` or `.p95` if a list."
    )
    comparison: Operator | None = Field(
        default=None, description="How metric and threshold relate in an accepted clip."
    )
    threshold: Threshold | None = Field(default=None, description="What the metric is compared with.")
    languages: dict[str, Threshold] = Field(
        default_factory=dict, description="Thresholds of single languages."
    )
    absolute: bool = Field(default=False, description="Compare the metric's absolute value.")
    missing: Literal["reject", "accept"] = Field(
        default="reject", description="Verdict where the metric is null."
    )
    any: list[ConditionSettings] | None = Field(
        default=None, description="Conditions of which one must hold.", min_length=1
    )
    all: list[ConditionSettings] | None = Field(
        default=None, description="Conditions that must all hold.", min_length=1
    )

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        given = [name for name in ("metric", "any", "all") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("needs exactly one of metric, any, all")
        if self.metric is not None and (self.comparison is None or self.threshold is None):
            raise ValueError("a metric needs a comparison and a threshold")
        if self.metric is None and self.model_fields_set - {"name", "reason", "any", "all"}:
            raise ValueError("in a group, comparison and threshold belong to its conditions")
        return self

    @property
    def group(self) -> list[ConditionSettings]:
        """Conditions of a group; empty for a single metric."""
        return self.any or self.all or []


class RuleSettings(ConditionSettings):
    """A condition with the name that `rejected_by` lists, and why it is there."""

    name: str = Field(description="Name of the rule in `rejected_by`.", pattern=r"^[a-z][a-z0-9_]*$")
    reason: str = Field(description="Why the rule is there, and where its numbers are from.", min_length=1)


class PolicySettings(BaseModel):
    """A policy: a clip is accepted when it satisfies every rule."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Name of the policy.", min_length=1)
    description: str = Field(description="What the policy is for.", min_length=1)
    rules: list[RuleSettings] = Field(description="Rules, in the order in which a waterfall applies them.")

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [STATUS_RULE, *(rule.name for rule in self.rules)]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise ValueError(f"two rules are called {name!r}")
        return self


def shipped_policies() -> list[str]:
    """Names of the policies that come with the package."""
    folder = resources.files("multitalk.filters") / "policies"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_policy(source: str | Path, schema: pa.Schema) -> PolicySettings:
    """Load and check a policy.

    Parameters
    ----------
    source
        Name of a shipped policy, or path of a YAML file.
    schema
        Columns that the rules may name, with their types: the manifest's.

    Raises
    ------
    PolicyError
        When there is no such policy, or anything in it is wrong.
    """
    where, text = _text(source)
    try:
        document = parse_yaml(text)
        root, content = document.root, document.content
        _refuse_repeated_keys(root)
    except YamlFileError as error:
        raise PolicyError(f"{where}{', ' if error.line else ': '}{error}") from error
    try:
        policy = PolicySettings.model_validate(content)
    except ValidationError as error:
        complaints = [(item["loc"], item["msg"].removeprefix("Value error, ")) for item in error.errors()]
    else:
        complaints = list(_misfits(policy, schema))
        if not complaints:
            return policy
    lines = dict.fromkeys(f"{where}, line {_line(root, loc)}: {_key(loc)}{what}" for loc, what in complaints)
    raise PolicyError("\n".join(lines))


def policy_text(source: str | Path) -> str:
    """Return the YAML of a policy, shipped or not, as a release keeps it.

    Raises
    ------
    PolicyError
        When there is no such policy.
    """
    return _text(source)[1]


def _text(source: str | Path) -> tuple[str, str]:
    if str(source) in shipped_policies():
        name = f"{source}.yaml"
        return name, (resources.files("multitalk.filters") / "policies" / name).read_text("utf-8")
    try:
        return str(source), read_yaml_text(Path(source))
    except (OSError, UnicodeDecodeError, YamlFileError) as error:
        shipped = shipped_policies()
        raise PolicyError(
            f"no policy {str(source)!r} ({error}): name a YAML file, or one of {', '.join(shipped)}"
            + did_you_mean(str(source), shipped)
        ) from error


def _refuse_repeated_keys(node: yaml.Node | None) -> None:
    """YAML lets a later key silently replace an earlier one."""
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        for index, (key, value) in enumerate(node.value):
            if key.value in keys[:index]:
                raise YamlFileError(f"{key.value!r} is given twice", key.start_mark.line + 1)
            _refuse_repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(item)


Location = tuple[int | str, ...]


def _misfits(policy: PolicySettings, schema: pa.Schema) -> Iterator[tuple[Location, str]]:
    """Complaints of a well-formed policy against the columns that there are."""

    def visit(conditions: Sequence[ConditionSettings], loc: Location) -> Iterator[tuple[Location, str]]:
        for index, condition in enumerate(conditions):
            here = (*loc, index)
            if condition.metric is not None:
                problem = _misfit(condition, schema)
                if problem:
                    yield (*here, "metric"), problem
            yield from visit(condition.group, (*here, "any" if condition.any else "all"))

    yield from visit(policy.rules, ("rules",))


def _misfit(condition: ConditionSettings, schema: pa.Schema) -> str | None:
    import difflib

    import pyarrow as pa

    column, dot, percentile = str(condition.metric).partition(".")
    if column not in schema.names:
        close = difflib.get_close_matches(column, schema.names, 1)
        return f"no metric {column!r} in the manifest" + (f"; {close[0]!r}?" if close else "")
    kind = schema.field(column).type
    listed = pa.types.is_list(kind) and pa.types.is_floating(kind.value_type)
    if listed and percentile not in PERCENTILES:
        return f"{column!r} needs .p5, .p50 or .p95"
    kind = kind.value_type if listed or pa.types.is_dictionary(kind) else kind
    if (dot and not listed) or pa.types.is_nested(kind) or pa.types.is_temporal(kind):
        return f"{condition.metric!r} is not a number or text"
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if condition.absolute and not numeric:
        return f"{column!r} has no absolute value"
    for threshold in (condition.threshold, *condition.languages.values()):
        if condition.comparison in {"in", "not in"}:
            fits = isinstance(threshold, list) and not numeric and not pa.types.is_boolean(kind)
        elif numeric:
            fits = isinstance(threshold, float) and not isinstance(threshold, bool)
        elif pa.types.is_boolean(kind):
            fits = isinstance(threshold, bool) and condition.comparison in {"==", "!="}
        else:
            fits = isinstance(threshold, str) and condition.comparison in {"==", "!="}
        if not fits:
            return f"{column!r} ({kind}) can not be compared as {condition.comparison} {threshold!r}"
    return None


def _line(node: yaml.Node | None, loc: Location) -> int:
    """Line of the innermost node on the way to `loc`."""
    line = node.start_mark.line + 1 if node else 1
    for step in loc:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == step]
            if not found:
                break
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _key(loc: Location) -> str:
    """Return the key that a complaint is about, as a prefix, if it is about one."""
    keys = {*PolicySettings.model_fields, *RuleSettings.model_fields} - {"metric"}
    found = [str(step) for step in loc if step in keys]
    return f"{found[-1]}: " if found and loc[-1] != "metric" and not isinstance(loc[-1], int) else ""

"""What a build did and what the dataset holds after it: printed by the command and put into Prefect's artifact."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from multitalk.manifests.query import query

_LANGUAGES = """
    SELECT language,
           count(DISTINCT video_id) AS videos,
           count(*) AS clips,
           count(*) FILTER (status = 'ok') AS ok,
           count(*) FILTER (accepted) AS accepted,
           coalesce(sum(duration_sec) FILTER (status = 'ok'), 0) / 60 AS ok_minutes,
           median(fit_landmark_error) * 100 AS fit_error_percent
    FROM clips GROUP BY language ORDER BY language
"""
_FAILURES = """
    SELECT error_code AS reason, count(*) AS clips, min(clip_id) AS example,
           arg_min(error_message, clip_id) AS message
    FROM clips WHERE status = 'failed' GROUP BY error_code ORDER BY clips DESC, reason
"""
_EARLIER = """
    SELECT last_try_error_code AS reason, count(*) AS clips, min(clip_id) AS example,
           arg_min(last_try_error_message, clip_id) AS message
    FROM clips WHERE last_try_at IS NOT NULL GROUP BY last_try_error_code ORDER BY clips DESC, reason
"""
_REJECTIONS = """
    SELECT rule AS reason, count(*) AS clips, min(clip_id) AS example
    FROM (SELECT clip_id, unnest(rejected_by) AS rule FROM clips WHERE status = 'ok')
    GROUP BY rule ORDER BY clips DESC, reason
"""


@dataclass(frozen=True, slots=True)
class LanguageCounts:
    """One language's line of the summary."""

    language: str
    videos: int
    clips: int
    ok: int
    accepted: int
    ok_minutes: float
    fit_error_percent: float | None
    """Median landmark error as a percentage of the inter-ocular distance."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Clips that failed, or were rejected, for the same reason."""

    reason: str
    clips: int
    example: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class BuildSummary:
    """What a build did, and what the dataset holds after it."""

    root: str
    built_videos: int
    skipped_videos: int
    seconds: float
    languages: tuple[LanguageCounts, ...]
    failures: tuple[Reason, ...]
    rejections: tuple[Reason, ...]
    earlier: tuple[Reason, ...] = ()
    """Clips that keep the outcome of an earlier configuration, by what the last try failed with."""
    notes: tuple[str, ...] = ()
    """What the user should know of the run as a whole."""

    def language_rows(self) -> list[dict[str, Any]]:
        """Lines of the table by language, the last one with the totals."""
        rows = [asdict(counts) for counts in self.languages]
        total: dict[str, Any] = {"language": "all", "fit_error_percent": None}
        for name in ("videos", "clips", "ok", "accepted", "ok_minutes"):
            total[name] = sum(row[name] for row in rows)
        for row in (*rows, total):
            row["ok_minutes"] = round(row["ok_minutes"], 2)
            if row["fit_error_percent"] is not None:
                row["fit_error_percent"] = round(row["fit_error_percent"], 2)
        return [*rows, {name: total[name] for name in rows[0]}] if rows else []


def summarise(
    root: Path, *, built: int, skipped: int, seconds: float, notes: tuple[str, ...] = ()
) -> BuildSummary:
    """Read the manifest below `root` and sum it up."""

    def rows(sql: str) -> list[dict[str, Any]]:
        # Not by the dataset's DataFrames: importing pandas takes a third of a build that has nothing to do.
        found: list[dict[str, Any]] = query(root, sql).to_pylist()
        return found

    return BuildSummary(
        root=str(root),
        built_videos=built,
        skipped_videos=skipped,
        seconds=seconds,
        languages=tuple(LanguageCounts(**row) for row in rows(_LANGUAGES)),
        failures=tuple(Reason(**row) for row in rows(_FAILURES)),
        rejections=tuple(Reason(**row) for row in rows(_REJECTIONS)),
        earlier=tuple(Reason(**row) for row in rows(_EARLIER)),
        notes=notes,
    )

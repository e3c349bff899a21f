"""What the report page shows, asked of the dataset in SQL: its size does not matter."""

# ruff: noqa: S608  (every piece of SQL here is a constant of this module)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multitalk.manifests.query import query

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReportMetric:
    """A distribution to draw."""

    title: str
    sql: str
    """Expression over `clips`."""
    low: float
    high: float
    """Ends of the axis; values beyond are counted in the outermost bars."""
    unit: str
    note: str


METRICS = (
    ReportMetric("Clip length", "duration_sec", 0, 16, " s", "MultiTalk: median 3.6 s, mean 4.8 s"),
    ReportMetric("Face size", "face_size_px", 0, 240, " px", "between the outer eye corners, of 512 px"),
    ReportMetric("Enlargement of the source", "source_scale", 0, 4, "x", "above 1 the picture was enlarged"),
    ReportMetric("Head turned (yaw)", "yaw_deg[2]", -60, 60, "°", "median over the clip; 0 faces the camera"),
    ReportMetric("Head nodded (pitch)", "pitch_deg[2]", -40, 40, "°", "median over the clip; up is positive"),
    ReportMetric("Head tilted (roll)", "roll_deg[2]", -40, 40, "°", "median over the clip"),
    ReportMetric("Sharpness", "sharpness", 0, 1, "", "of the face; falls with blur and enlarging"),
    ReportMetric("Mouth opening", "mouth_open_range", 0, 0.6, "", "of the distance between the eyes"),
    ReportMetric("Speech", "100 * speech_ratio", 0, 100, "%", "share of the sound that is speech"),
    ReportMetric("Signal to noise", "snr_db", -20, 60, " dB", "speech against the rest of the sound"),
    ReportMetric(
        "Spoken as annotated", "100 * annotated_language_probability", 0, 100, "%", "Whisper's probability"
    ),
    ReportMetric("Words", "100 * transcript_cer", 0, 120, "%", "character errors, heard against annotated"),
    ReportMetric(
        "Lip sync", "av_correlation", -0.4, 0.8, "", "correlation of the mouth with what the sound predicts"
    ),
    ReportMetric("Face speaks", "speaking_score", -6, 6, "", "active-speaker score; above 0 it does"),
    ReportMetric("Fit error", "100 * fit_landmark_error", 0, 4, "%", "of the distance between the eyes"),
)
BARS = 24


@dataclass(frozen=True, slots=True)
class Distribution:
    """Counts of clips that are ok in `BARS` equal steps of a metric."""

    metric: ReportMetric
    accepted: list[int]
    others: list[int]
    """Rejected clips, or all while no policy has spoken."""
    median: float | None
    missing: int


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything on the page but pictures and the policy's waterfall."""

    totals: Row
    languages: list[Row]
    distributions: list[Distribution]
    failures: list[Row]
    earlier: list[Row]
    """Clips that keep the outcome of an earlier configuration, by what was tried in vain."""
    persons: list[Row]
    """Those of whom there is most; empty where persons are not told."""
    gallery: list[Row]
    tools: list[Row]


def collect(root: Path, gallery_size: int, *, by_person: bool = False) -> ReportData:
    """Ask a dataset for all that the page shows.

    Parameters
    ----------
    gallery_size
        Most clips in the gallery.
    by_person
        Show one clip of each person there, of whom there is most first.
    """
    return ReportData(
        totals=_rows(root, f"SELECT {_COUNTS}, count(DISTINCT language) AS languages FROM clips")[0],
        languages=_rows(
            root, f"SELECT language, {_COUNTS} FROM clips GROUP BY language ORDER BY hours DESC, language"
        ),
        distributions=_distributions(root),
        failures=_rows(root, _FAILURES),
        earlier=_rows(root, _EARLIER),
        persons=_rows(root, _PERSONS),
        gallery=_rows(root, (_GALLERY_OF_PERSONS if by_person else _GALLERY).format(limit=int(gallery_size))),
        tools=_rows(root, _TOOLS),
    )


_COUNTS = """
    count(*) AS clips,
    count(DISTINCT video_id) AS videos,
    count(*) FILTER (status = 'ok') AS ok,
    count(*) FILTER (accepted) AS accepted,
    count(accepted) AS judged,
    coalesce(sum(duration_sec) FILTER (status = 'ok'), 0) / 3600 AS hours,
    coalesce(sum(duration_sec) FILTER (accepted), 0) / 3600 AS accepted_hours
"""
_FAILURES = """
    SELECT error_code, stage, count(*) AS clips, count(DISTINCT video_id) AS videos,
           min_by(clip_id, clip_id) AS example, min_by(error_message, clip_id) AS message
    FROM clips WHERE status = 'failed' GROUP BY ALL ORDER BY clips DESC, error_code
"""
_EARLIER = """
    SELECT last_try_error_code AS error_code, last_try_stage AS stage, count(*) AS clips,
           count(DISTINCT video_id) AS videos, min(last_try_at)::DATE::VARCHAR AS since,
           min_by(clip_id, clip_id) AS example, min_by(last_try_error_message, clip_id) AS message
    FROM clips WHERE last_try_at IS NOT NULL GROUP BY ALL ORDER BY clips DESC, error_code
"""
# Some of each language and verdict before more of any, and always the same ones.
_GALLERY = """
    SELECT clip_id, video_id, language, transcript, recognised_transcript, accepted, rejected_by, clip_path,
           frame_count, duration_sec, yaw_deg, annotated_language_probability, av_correlation, speaking_score,
           fit_landmark_error, face_size_px, source_scale
    FROM (SELECT *, row_number() OVER (PARTITION BY language, accepted, rejected_by[1] ORDER BY md5(clip_id)) AS turn
          FROM clips WHERE status = 'ok')
    ORDER BY turn, language, clip_id LIMIT {limit}
"""
_GALLERY_OF_PERSONS = """
    SELECT clip_id, video_id, language, transcript, recognised_transcript, accepted, rejected_by, clip_path,
           frame_count, duration_sec, yaw_deg, annotated_language_probability, av_correlation, speaking_score,
           fit_landmark_error, face_size_px, source_scale
    FROM (SELECT *, row_number() OVER (PARTITION BY person_id ORDER BY accepted DESC NULLS LAST, clip_id) AS turn,
                 sum(duration_sec) OVER (PARTITION BY person_id) AS seconds
          FROM clips WHERE status = 'ok' AND person_id IS NOT NULL)
    WHERE turn = 1 ORDER BY seconds DESC, person_id LIMIT {limit}
"""
_PERSONS = """
    SELECT person_id, count(*) AS clips, count(DISTINCT video_id) AS videos,
           array_to_string(list_sort(list_distinct(list(language))), ', ') AS languages,
           sum(duration_sec) / 60 AS minutes, coalesce(sum(duration_sec) FILTER (accepted), 0) / 60 AS accepted_minutes,
           count(*) OVER () AS persons
    FROM clips WHERE status = 'ok' AND person_id IS NOT NULL GROUP BY person_id
    ORDER BY minutes DESC, person_id LIMIT 20
"""
_TOOLS = """
    SELECT head_model, count(*) AS clips, min(created_at)::DATE AS first, max(created_at)::DATE AS last,
           array_to_string([tool.key || ' ' || tool.value FOR tool IN map_entries(tool_versions)], ', ') AS tools
    FROM clips WHERE status = 'ok' GROUP BY head_model, tools ORDER BY clips DESC LIMIT 10
"""


def _distributions(root: Path) -> list[Distribution]:
    """Count all metrics in two passes over the clips, not two for each."""
    bars = " UNION ALL ".join(_bars(index, metric) for index, metric in enumerate(METRICS))
    counts = {(index, verdict): [0] * BARS for index in range(len(METRICS)) for verdict in (True, False)}
    for row in _rows(root, f"SELECT metric, bar, accepted, count(*) AS n FROM ({bars}) GROUP BY ALL"):
        counts[row["metric"], row["accepted"]][row["bar"]] = row["n"]
    medians = ", ".join(
        f"median({metric.sql}) AS median{index}, count(*) - count({metric.sql}) AS missing{index}"
        for index, metric in enumerate(METRICS)
    )
    about = _rows(root, f"SELECT {medians} FROM clips WHERE status = 'ok'")[0]
    return [
        Distribution(
            metric,
            counts[index, True],
            counts[index, False],
            about[f"median{index}"],
            about[f"missing{index}"],
        )
        for index, metric in enumerate(METRICS)
    ]


def _bars(index: int, metric: ReportMetric) -> str:
    step = (metric.high - metric.low) / BARS
    bar = f"least(greatest(floor(({metric.sql} - {metric.low}) / {step}), 0), {BARS - 1})::INTEGER"
    return (
        f"SELECT {index} AS metric, {bar} AS bar, coalesce(accepted, false) AS accepted "
        f"FROM clips WHERE status = 'ok' AND {metric.sql} IS NOT NULL"
    )


def _rows(root: Path, sql: str) -> list[Row]:
    rows: list[Row] = query(root, sql).to_pylist()
    return rows


def reasons(rows: Sequence[Row]) -> list[str]:
    """Rules that reject clips of a gallery, most common first."""
    counts: dict[str, int] = {}
    for row in rows:
        for rule in row["rejected_by"] or []:
            counts[rule] = counts.get(rule, 0) + 1
    return sorted(counts, key=lambda rule: (-counts[rule], rule))

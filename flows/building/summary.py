"""What a build did and what the dataset holds after it: printed by the command and put into Prefect's artifact."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from multitalk.manifests.store import read_manifest

_COLUMNS = (
    *("clip_id", "video_id", "language", "status", "error_code", "error_message"),
    *("duration_sec", "fit_landmark_error", "accepted", "rejected_by"),
    *("last_try_at", "last_try_error_code", "last_try_error_message"),
)


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

    def rounded(self) -> LanguageCounts:
        """Return what is shown of it."""
        error = self.fit_error_percent
        return replace(
            self,
            ok_minutes=round(self.ok_minutes, 2),
            fit_error_percent=None if error is None else round(error, 2),
        )


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
    elsewhere_videos: int = 0
    """Source videos that another build was at."""

    def language_rows(self) -> list[dict[str, str | float | None]]:
        """Lines of the table by language, the last one with the totals."""
        return [asdict(counts.rounded()) for counts in (*self.languages, *self._total())]

    def _total(self) -> Iterator[LanguageCounts]:
        if self.languages:
            names = ("videos", "clips", "ok", "accepted", "ok_minutes")
            sums = {name: sum(getattr(counts, name) for counts in self.languages) for name in names}
            yield LanguageCounts("all", **sums, fit_error_percent=None)


def summarise(
    root: Path,
    *,
    built: int,
    skipped: int,
    seconds: float,
    notes: tuple[str, ...] = (),
    elsewhere: int = 0,
) -> BuildSummary:
    """Read the manifest below `root` and sum it up.

    In columns of Arrow, not by SQL: DuckDB and pandas would take most of the time of a build with nothing to do.
    """
    clips = read_manifest(root, list(_COLUMNS))
    return BuildSummary(
        root=str(root),
        built_videos=built,
        skipped_videos=skipped,
        seconds=seconds,
        languages=tuple(_by_language(clips)),
        failures=_reasons(clips.filter(pc.equal(clips["status"], "failed")), "error"),
        rejections=_rejections(clips.filter(pc.equal(clips["status"], "ok"))),
        earlier=_reasons(clips.filter(pc.is_valid(clips["last_try_at"])), "last_try_error"),
        notes=notes,
        elsewhere_videos=elsewhere,
    )


def _by_language(clips: pa.Table) -> Iterator[LanguageCounts]:
    for language in sorted(clips["language"].unique().to_pylist()):
        own = clips.filter(pc.equal(clips["language"], language))
        ok = own.filter(pc.equal(own["status"], "ok"))
        errors = ok["fit_landmark_error"].drop_null().to_numpy()
        yield LanguageCounts(
            language=language,
            videos=len(own["video_id"].unique()),
            clips=len(own),
            ok=len(ok),
            accepted=pc.sum(own["accepted"]).as_py() or 0,
            ok_minutes=(pc.sum(ok["duration_sec"]).as_py() or 0.0) / 60,
            fit_error_percent=float(np.median(errors)) * 100 if len(errors) else None,
        )


def _reasons(failed: pa.Table, kind: str) -> tuple[Reason, ...]:
    """Count clips by the code of a kind of error, each with the message of its first clip."""
    code, message = f"{kind}_code", f"{kind}_message"
    first = failed.sort_by("clip_id").group_by(code, use_threads=False)
    found = first.aggregate([("clip_id", "count"), ("clip_id", "first"), (message, "first")])
    return _most_first(
        Reason(row[code] or "", row["clip_id_count"], row["clip_id_first"], row[f"{message}_first"] or "")
        for row in found.to_pylist()
    )


def _rejections(clips: pa.Table) -> tuple[Reason, ...]:
    rules = pc.list_flatten(clips["rejected_by"])
    of = clips["clip_id"].take(pc.list_parent_indices(clips["rejected_by"]))
    found = (
        pa.table({"rule": rules, "clip": of}).group_by("rule").aggregate([("clip", "count"), ("clip", "min")])
    )
    return _most_first(Reason(row["rule"], row["clip_count"], row["clip_min"]) for row in found.to_pylist())


def _most_first(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    return tuple(sorted(reasons, key=lambda reason: (-reason.clips, reason.reason)))

"""What stands of a clip: whether its row needs nothing, which stages it needs, and what stays after a failed try.

A row stands that is what is wanted, or says that it can not be had; `multitalk.flows.building.pending` asks the same of
all clips at once. A failure never takes the place of a better outcome: then the earlier row stays as it was, and says
what was tried, when, and why it failed (`last_try_...`).
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from multitalk.extract.annotations import Annotation, InvalidAnnotation
from multitalk.extract.errors import ErrorCode, Stage
from multitalk.flows.building.plan import AnnotatedVideo
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.building.stages import STAGES, configuration_fingerprint, downstream
from multitalk.ground.outcome import digest
from multitalk.manifests.clip_row import ClipRow


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a build wants of every clip: made of its settings once, and asked for each clip."""

    fingerprints: Mapping[Stage, str]
    """Of each stage that is to be done."""
    configuration: str
    """Of all of them together."""
    retry: frozenset[str]
    """Error codes of failures that are tried again."""
    redo: frozenset[Stage]
    """Stages that are done again whatever they left, with those that read them."""

    @classmethod
    def by(cls, settings: BuildSettings, fingerprints: Mapping[Stage, str]) -> Self:
        """Take of a build's settings what decides whether a clip's outcome stands."""
        redo = frozenset(downstream(set(settings.redo)))
        return cls(
            fingerprints,
            configuration_fingerprint(fingerprints),
            frozenset(str(code) for code in settings.retry),
            redo,
        )


def is_settled(row: ClipRow, annotation: Annotation, video: AnnotatedVideo, wanted: Wanted) -> bool:
    """Whether a clip needs nothing.

    Its outcome stands (`stands`), and its row has the annotated transcript, or says what was tried with it.
    """
    if not stands(row, annotation, video, wanted):
        return False
    return is_kept_or_removed(row) or row.transcript == annotation.transcript


def is_kept_or_removed(row: ClipRow) -> bool:
    """Whether a row is not of what is annotated now: a tombstone, or one that keeps an outcome after a vain try."""
    return row.error_code == str(ErrorCode.REMOVED) or row.last_try_fingerprint is not None


def stands(row: ClipRow, annotation: Annotation, video: AnnotatedVideo, wanted: Wanted) -> bool:
    """Whether a clip's outcome, as far as it does not depend on the transcript, is what is wanted.

    It is ok and carries every wanted fingerprint; or it failed at a stage whose fingerprint it carries, for a
    reason that is not tried again; or it keeps an earlier outcome after a try of just this, which failed so.
    What failed is not touched by `redo` of stages that come after, or beside.
    """
    if row.error_code == str(ErrorCode.REMOVED):  # nothing is left of it that could be compared
        return row.error_code not in wanted.retry
    if row.last_try_fingerprint is not None:
        # Of a row that is as it is wanted after all, a build clears what was tried meanwhile.
        fresh = row.last_try_fingerprint == try_fingerprint(annotation, video, wanted)
        again = row.last_try_error_code in wanted.retry or row.last_try_stage in wanted.redo
        return fresh and not again
    if not same_interval(annotation, row):
        return False
    carried = row.stage_fingerprints or {}
    if row.status == "ok":
        done = all(carried.get(str(stage)) == known for stage, known in wanted.fingerprints.items())
        return done and not wanted.redo
    # Where the user points at another source, what could not be had from the old one may be there.
    moved = row.stage == str(Stage.SOURCE) and row.source_url not in (None, video.source_url)
    if row.error_code in wanted.retry or row.stage in wanted.redo or moved:
        return False
    return row.config_fingerprint == wanted.configuration or any(
        row.stage == str(stage) and carried.get(str(stage)) == known
        for stage, known in wanted.fingerprints.items()
    )


def stages_to_do(
    annotation: Annotation, before: ClipRow | None, video: AnnotatedVideo, wanted: Wanted, *, is_cut: bool
) -> set[Stage]:
    """Stages whose wanted fingerprint a clip's row does not carry, and those whose input is not there.

    Parameters
    ----------
    before
        The row that is there; None where the clip is new.
    is_cut
        Whether the clip's picture and sound lie in their places.
    """
    everything = set(wanted.fingerprints)
    if before is None:
        return everything
    # With another transcript, what reads it is done where there is something to read.
    same_text = before.status == "failed" or before.transcript == annotation.transcript
    if same_text and stands(before, annotation, video, wanted):
        return set()
    if not same_interval(annotation, before):
        return everything
    carried = before.stage_fingerprints or {}
    todo = {stage for stage, known in wanted.fingerprints.items() if carried.get(str(stage)) != known}
    if before.status == "failed":  # it carries what it failed with
        todo |= {stage for stage in everything if str(stage) == before.stage}
    if before.transcript != annotation.transcript:
        todo.add(Stage.TRANSCRIPT)
    todo = downstream(todo | wanted.redo) & everything
    return everything if todo and Stage.TRIM not in todo and not is_cut else todo


def new_row(
    annotation: Annotation, video: AnnotatedVideo, before: ClipRow | None, todo: set[Stage]
) -> ClipRow:
    """Return a clip's row with the columns of the stages that hold, and nothing of those still to do."""
    row = ClipRow(annotation.clip_id, video.file_id, video.language)
    if before is not None:
        row = copy(before)
        row.stage_fingerprints = dict(before.stage_fingerprints or {})
        stale = downstream(todo)  # of a stage that is not wanted any more, but read what changes, too
        for stage in stale:
            for column in STAGES[stage].columns:
                setattr(row, column, None)
            row.stage_fingerprints.pop(str(stage), None)
    row.start_sec, row.end_sec = annotation.start_sec, annotation.end_sec
    row.start_frame = annotation.start_frame
    row.bbox, row.transcript = annotation.bbox.as_dict(), annotation.transcript
    if todo or before is None:
        row.status, row.created_at = "ok", None
        row.error_code = row.error_message = row.stage = None
        row.accepted = row.rejected_by = None
    row.last_try_at = row.last_try_stage = row.last_try_error_code = None
    row.last_try_error_message = row.last_try_fingerprint = None
    return row


def same_interval(annotation: Annotation, row: ClipRow) -> bool:
    """Whether a row is of the very interval and box that is annotated now."""
    annotated = (annotation.start_sec, annotation.end_sec, annotation.bbox.as_dict())
    return annotated == (row.start_sec, row.end_sec, row.bbox)


def try_fingerprint(annotation: Annotation, video: AnnotatedVideo, wanted: Wanted) -> str:
    """Return what a try was made of, for the manifest's column `last_try_fingerprint`."""
    box = annotation.bbox
    return digest(
        [
            wanted.configuration,
            video.source_url,
            *(annotation.start_sec, annotation.end_sec, box.top, box.bottom, box.left, box.right),
            annotation.transcript,
        ]
    )


def is_worse(new: ClipRow, before: ClipRow) -> bool:
    """Whether a failed try got less far than what is there."""
    return new.status == "failed" and _reached(new) < _reached(before)


def _reached(row: ClipRow) -> int:
    """How many stages a row has behind it; all of them where the clip is ok."""
    if row.status == "ok":
        return len(STAGES)
    order = [str(stage) for stage in STAGES]
    return order.index(row.stage) if row.stage in order else -1


def with_vain_try(before: ClipRow, tried: ClipRow, fingerprint: str) -> ClipRow:
    """Return the earlier row, with what was tried in vain."""
    row = copy(before)
    row.attempts = before.attempts + 1
    row.last_try_at = datetime.now(UTC)
    row.last_try_stage, row.last_try_error_code = tried.stage, tried.error_code
    row.last_try_error_message, row.last_try_fingerprint = tried.error_message, fingerprint
    return row


def invalid_row(bad: InvalidAnnotation, video: AnnotatedVideo, before: ClipRow | None, whole: str) -> ClipRow:
    """Return the row of an annotation that can not be used; the earlier row where that is better."""
    if before is not None and bad.message in (before.error_message, before.last_try_error_message):
        return before  # told already
    row = ClipRow(bad.clip_id, video.file_id, video.language)
    row.status, row.error_code = "failed", str(ErrorCode.INVALID_ANNOTATION)
    row.error_message, row.stage = bad.message, str(Stage.ANNOTATION)
    row.config_fingerprint = whole
    row.attempts = 1 + (before.attempts if before else 0)
    return with_vain_try(before, row, whole) if before is not None and is_worse(row, before) else row

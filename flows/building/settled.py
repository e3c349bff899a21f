"""What stands of a clip: whether its row needs nothing, and what stays after a try that failed.

A row stands that is what is wanted, or says that it can not be had; `multitalk.flows.building.pending` asks the same of
all clips at once. A failure never takes the place of a better outcome: then the earlier row stays as it was, and says
what was tried, when, and why it failed (`last_try_...`).
"""

from collections.abc import Mapping
from copy import copy
from datetime import UTC, datetime

from multitalk.extract.annotations import Annotation, InvalidAnnotation
from multitalk.extract.errors import ErrorCode, Stage
from multitalk.flows.building.plan import AnnotatedVideo
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.building.stages import STAGES, configuration_fingerprint, downstream
from multitalk.ground.outcome import digest
from multitalk.manifests.clip_row import ClipRow


def is_settled(
    row: ClipRow,
    annotation: Annotation,
    video: AnnotatedVideo,
    wanted: Mapping[Stage, str],
    settings: BuildSettings,
) -> bool:
    """Whether a clip needs nothing.

    Its outcome stands (`stands`), and its row has the annotated transcript, or says what was tried with it.
    """
    if not stands(row, annotation, video, wanted, settings):
        return False
    tells = row.error_code == str(ErrorCode.REMOVED) or row.last_try_fingerprint is not None
    return tells or row.transcript == annotation.transcript


def stands(
    row: ClipRow,
    annotation: Annotation,
    video: AnnotatedVideo,
    wanted: Mapping[Stage, str],
    settings: BuildSettings,
) -> bool:
    """Whether a clip's outcome, as far as it does not depend on the transcript, is what is wanted.

    It is ok and carries every wanted fingerprint; or it failed at a stage whose fingerprint it carries, for a
    reason that is not tried again; or it keeps an earlier outcome after a try of just this, which failed so.
    What failed is not touched by `redo` of stages that come after, or beside.
    """
    again, redo = set(map(str, settings.retry)), set(map(str, downstream(set(settings.redo))))
    if row.error_code == str(ErrorCode.REMOVED):  # nothing is left of it that could be compared
        return row.error_code not in again
    if row.last_try_fingerprint is not None:
        # Of a row that is as it is wanted after all, a build clears what was tried meanwhile.
        fresh = row.last_try_fingerprint == try_fingerprint(annotation, video, wanted)
        return fresh and row.last_try_error_code not in again and row.last_try_stage not in redo
    if not same_interval(annotation, row):
        return False
    carried = row.stage_fingerprints or {}
    if row.status == "ok":
        done = all(carried.get(str(stage)) == fingerprint for stage, fingerprint in wanted.items())
        return done and not redo
    # Where the user points at another source, what could not be had from the old one may be there.
    moved = row.stage == str(Stage.SOURCE) and row.source_url not in (None, video.source_url)
    if row.error_code in again or row.stage in redo or moved:
        return False
    return row.config_fingerprint == configuration_fingerprint(wanted) or any(
        row.stage == str(stage) and carried.get(str(stage)) == wanted[stage] for stage in wanted
    )


def same_interval(annotation: Annotation, row: ClipRow) -> bool:
    """Whether a row is of the very interval and box that is annotated now."""
    annotated = (annotation.start_sec, annotation.end_sec, annotation.bbox.as_dict())
    return annotated == (row.start_sec, row.end_sec, row.bbox)


def try_fingerprint(annotation: Annotation, video: AnnotatedVideo, wanted: Mapping[Stage, str]) -> str:
    """Return what a try was made of, for the manifest's column `last_try_fingerprint`."""
    box = annotation.bbox
    return digest(
        [
            configuration_fingerprint(wanted),
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

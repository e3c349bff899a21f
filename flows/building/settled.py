"""Whether a clip's row is what is wanted, or says that it can not be had: then the clip has nothing to do.

`multitalk.flows.building.pending` asks the same of all clips at once.
"""

from collections.abc import Mapping

from multitalk.extract.annotations import Annotation
from multitalk.extract.errors import ErrorCode, Stage
from multitalk.flows.building.plan import AnnotatedVideo
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.building.stages import configuration_fingerprint, downstream
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

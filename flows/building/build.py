"""A build from end to end, in plain Python: prepare, run the batches, finish.

`multitalk build` and the public API call `build`. The Prefect flow (`flows.build_dataset`) calls `prepare` and
`finish`, and hands out the batches in between by its task runner.
"""

import gc
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from multitalk.assets.fetch import find, require
from multitalk.filters.policy import load_policy
from multitalk.flows.building.batch import WORKER, events_path, run_batch
from multitalk.flows.building.dataset_policy import apply_policy, policy_of
from multitalk.flows.building.pending import adopt_older_rows, pending_videos
from multitalk.flows.building.plan import BatchName, annotated_videos, batches, write_batches
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.building.stages import stage_fingerprints, tells_persons_apart
from multitalk.flows.building.summary import BuildSummary, summarise
from multitalk.flows.persons.telling import tell
from multitalk.flows.running.event_counter import EventCounter, RunProgress
from multitalk.flows.running.pool import make_run_folder, run_batches
from multitalk.flows.running.progress import ShownProgress
from multitalk.ground.files import sweep_temporary
from multitalk.ground.settings import SettingsError
from multitalk.manifests.schema import MANIFEST
from multitalk.manifests.store import claims, compact, drop_doubles, finish_commits

_log = logging.getLogger(__name__)

_ELSEWHERE = (
    "{} source videos were at work in another build at this root, and left to it. "
    "Run again when that has ended."
)


@dataclass(frozen=True, slots=True)
class PreparedBuild:
    """What a build has to do, as names: the batches themselves lie in the run's folder."""

    settings: BuildSettings
    policy: str | Path
    run_folder: Path | None
    """None where there is nothing to do."""
    batches: tuple[BatchName, ...]
    videos: int
    """Source videos of the annotations."""
    notes: tuple[str, ...]
    """What the user should know of the run as a whole."""
    started: float
    """`time.monotonic` at the beginning."""

    @property
    def pending(self) -> int:
        """Source videos that have something to do."""
        return sum(batch.videos for batch in self.batches)


def build(settings: BuildSettings, *, worker: str = WORKER) -> BuildSummary:
    """Build a dataset of talking-head clips out of annotations, with worker processes on this machine.

    Every source video goes through its stages and ends as rows of the manifest. Call it again to continue, to retry
    what may have been transient, after changed settings, or with more annotations: what is done is not done again.

    Parameters
    ----------
    settings
        What to build.
    worker
        Module that worker processes run.

    Raises
    ------
    SettingsError, AnnotationFileError, PolicyError, AssetError, HeadModelError, DatasetError
        What the user has to mend; told before any work.
    KeyboardInterrupt
        Ctrl-C, after the workers have stopped; the next call goes on.
    """
    prepared = prepare(settings)
    if prepared.run_folder is not None:
        _run(prepared, prepared.run_folder, worker)
    return finish(prepared)


def prepare(settings: BuildSettings) -> PreparedBuild:
    """Check everything that can be checked at once, plan, and write the batches into the run's folder.

    Raises
    ------
    SettingsError, AnnotationFileError, PolicyError, AssetError, HeadModelError, DatasetError
        As `build`.
    """
    with _without_collector():
        return _prepare(settings)


def _prepare(settings: BuildSettings) -> PreparedBuild:
    started = time.monotonic()
    policy = settings.policy or policy_of(settings.root)
    load_policy(policy, MANIFEST)  # an unusable one is told of before hours of work
    videos = annotated_videos(settings)
    _make_root(settings.root)
    finish_commits(settings.root)
    sweep_temporary(settings.root)
    wanted = stage_fingerprints(settings)
    if adopted := adopt_older_rows(settings.root, wanted):
        _log.info("%d rows of an earlier version were taken over", adopted)
    pending = pending_videos(videos, wanted, settings)
    if not pending:
        return PreparedBuild(settings, policy, None, (), len(videos), _missing_measures(settings), started)
    _check_models(settings)
    if others := claims(settings.root):
        _log.warning(
            "Another build is at work at %s (%s): the source videos that it is at are left to it.",
            settings.root,
            ", ".join(map(str, others[:3])),
        )
    run_folder = make_run_folder(settings.root)
    names = write_batches(batches(pending, settings), wanted, run_folder)
    return PreparedBuild(
        settings, policy, run_folder, names, len(videos), _missing_measures(settings), started
    )


def finish(prepared: PreparedBuild) -> BuildSummary:
    """Tell the persons, apply the policy and sum up."""
    root, elsewhere = prepared.settings.root, 0
    if prepared.run_folder is not None:
        compact(root)
        drop_doubles(root)
        tell(root)
        elsewhere = counter(prepared.batches, prepared.run_folder).count().counts["elsewhere"]
    apply_policy(root, prepared.policy)
    return summarise(
        root,
        built=prepared.pending - elsewhere,
        skipped=prepared.videos - prepared.pending,
        seconds=time.monotonic() - prepared.started,
        notes=prepared.notes + ((_ELSEWHERE.format(elsewhere),) if elsewhere else ()),
        elsewhere=elsewhere,
    )


def counter(batches: Sequence[BatchName], run_folder: Path) -> EventCounter:
    """Return what counts how far a run is."""
    return EventCounter(events_path(run_folder, batch.name) for batch in batches)


def progress_text(batches: Sequence[BatchName], progress: RunProgress) -> str:
    """Say how far a run is."""
    videos, clips = (sum(getattr(batch, what) for batch in batches) for what in ("videos", "clips"))
    counts = progress.counts
    text = f"{progress.items}/{videos} videos, {counts['ok'] + counts['failed']}/{clips} clips"
    more = {"kept": counts["kept"], "left to another build": counts["elsewhere"]}
    return f"{text}, {counts['failed']} failed" + "".join(f", {n} {what}" for what, n in more.items() if n)


def _run(prepared: PreparedBuild, run_folder: Path, worker: str) -> None:
    settings, events = prepared.settings, counter(prepared.batches, run_folder)
    with ShownProgress() as shown:

        def show() -> None:
            progress = events.count()
            shown.update("build", progress.done, prepared.pending, progress_text(prepared.batches, progress))

        def run(batch: BatchName) -> None:
            run_batch(batch, settings, run_folder, worker)

        run_batches(prepared.batches, run, at_once=settings.workers, run_folder=run_folder, show=show)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keep Python from looking for circles among hundreds of thousands of annotations, which have none.

    It would take a third of the time of planning.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _make_root(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"root: {root} can not be made: {error.strerror or error}") from error


def _missing_measures(settings: BuildSettings) -> tuple[str, ...]:
    """Tell once, not for every clip, what can not be measured on this machine."""
    notes = []
    if settings.speaking_score and find("lr_asd") is None:
        notes.append(
            "Clips get no speaking_score: LR-ASD's weights are not here (multitalk assets fetch lr_asd)."
        )
    if settings.screen_text and find("text_detector") is None:
        notes.append("Clips get no text_near_face: `multitalk assets list` says how to get text_detector.")
    if settings.persons and not tells_persons_apart():
        notes.append(
            "Persons are not told apart: `multitalk assets list` says how to get voice_encoder and face_descriptor."
        )
    return tuple(notes)


def _check_models(settings: BuildSettings) -> None:
    """Raise for a model file that is missing or unusable, before every clip fails for it."""
    from multitalk.flows.building.fitting import Fitter
    from multitalk.flows.modelling.detectors import face_detector

    for name in ("face_landmarker", "silero_vad", "whisper_base"):
        require(name)
    face_detector(settings.landmarks)
    Fitter(settings).check()

"""The `build-dataset` flow: from annotations to a dataset with a manifest.

The flow plans, hands out batches, watches, and sums up. What happens to a source video is in
:mod:`flows.video`; nothing that a rerun depends on is kept by Prefect.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from assets.fetch import find, require
from filters.policy import load_policy
from flows.artifact import build_markdown
from flows.config import BuildSettings, ConfigError
from flows.detectors import face_detector
from flows.fitting import Fitter
from flows.judging import judge, policy_of
from flows.plan import Batch, make_plan
from flows.running.events import EventCounter
from flows.running.progress import ShownProgress
from flows.stopping import stopping_in_order, turns
from flows.summary import BuildSummary, summarise
from flows.supervise import BatchResult, run_batch
from manifests.files import sweep_temporary
from manifests.schema import MANIFEST


@flow(name="build-dataset", validate_parameters=True)
def build_dataset(settings: BuildSettings) -> BuildSummary:
    """Build a dataset of talking-head clips out of annotations.

    Every source video goes through download, trim, landmarks, fit and metrics, and ends as rows of the
    manifest. Run it again to continue, to retry what may have been transient, or to add annotations.
    """
    logger = get_run_logger()
    started = time.monotonic()
    policy = settings.policy or policy_of(settings.root)
    load_policy(policy, MANIFEST)  # an unusable one is told of before hours of work
    notes = _missing_measures(settings)
    plan = make_plan(settings)
    _check_models(settings)
    settings.root.mkdir(parents=True, exist_ok=True)
    sweep_temporary(settings.root)
    skipped = len(plan.videos) - plan.pending_videos
    if plan.batches:
        logger.info(f"{plan.pending_videos} source videos to build, {skipped} done before")
        run_folder = _run_folder(settings.root)
        build = process_batches.with_options(task_runner=_task_runner(settings))
        build(plan.batches, settings, run_folder)
    else:
        logger.info(f"Nothing to do: all {skipped} source videos are done with this configuration")
    judge(settings.root, policy)
    seconds = time.monotonic() - started
    summary = summarise(
        settings.root, built=plan.pending_videos, skipped=skipped, seconds=seconds, notes=notes
    )
    create_table_artifact(
        key="build-languages", table=summary.language_rows(), description="Clips by language"
    )
    create_markdown_artifact(key="build-summary", markdown=build_markdown(summary), description="Summary")
    return summary


@flow(name="process-batches")
def process_batches(batches: Sequence[Batch], settings: BuildSettings, run_folder: Path) -> None:
    """Build all batches on the task runner that the settings name, watching their progress."""
    videos = sum(len(batch.videos) for batch in batches)
    clips = sum(video.clip_count for batch in batches for video in batch.videos)
    artifact = cast(
        UUID, create_progress_artifact(0.0, key="build-progress", description=f"{videos} source videos")
    )
    futures: list[PrefectFuture[BatchResult]] = []
    with stopping_in_order(run_folder, futures):
        for batch in batches:  # the first ones are at work while the others are still handed out
            named = process_batch.with_options(task_run_name=batch.name)
            futures.append(named.submit(batch, settings, run_folder))
        with ShownProgress() as shown_progress:
            shown = 0
            events = EventCounter(run_folder, batches)
            for _ in turns(run_folder, futures):
                counts = events.count()
                text = f"{counts.videos}/{videos} videos, {counts.ok + counts.failed}/{clips} clips"
                # Videos have one clip or hundreds: clips tell better how much work is left.
                shown_progress.update(
                    "build", counts.ok + counts.failed, clips, f"{text}, {counts.failed} failed"
                )
                if counts.videos != shown:
                    shown = counts.videos
                    update_progress_artifact(artifact, 100.0 * shown / videos)
    for future in futures:
        future.result()


@task(cache_policy=NO_CACHE, persist_result=False, retries=1, retry_delay_seconds=5)
def process_batch(batch: Batch, settings: BuildSettings, run_folder: Path) -> BatchResult:
    """Build one batch of source videos of one language in a worker process."""
    return run_batch(batch, settings, run_folder)


def _missing_measures(settings: BuildSettings) -> tuple[str, ...]:
    """Tell once, not for every clip, what can not be measured on this machine."""
    if not settings.speaking_score or find("lr_asd") is not None:
        return ()
    return ("Clips get no speaking_score: LR-ASD's weights are not here (multitalk assets fetch lr_asd).",)


def _check_models(settings: BuildSettings) -> None:
    """Raise for a model file that is missing or unusable, before every clip fails for it."""
    for name in ("face_landmarker", "silero_vad", "whisper_base"):
        require(name)
    face_detector(settings.landmarks)
    Fitter(settings).check()


def _run_folder(root: Path) -> Path:
    """Make a folder for the events and logs of a run; it stays, for whoever asks later what went wrong."""
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:6]}"
    folder = root / ".runs" / name
    folder.mkdir(parents=True)
    return folder


def _task_runner(settings: BuildSettings) -> TaskRunner[Any]:
    """Return the task runner that the settings name.

    Raises
    ------
    ConfigError
        If the extra that brings it is not installed.
    """
    address, workers = settings.task_runner_address, settings.workers
    runner: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=workers)
    try:
        if settings.task_runner == "dask":
            from prefect_dask.task_runners import DaskTaskRunner

            cluster = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
            runner = DaskTaskRunner(address=address) if address else DaskTaskRunner(cluster_kwargs=cluster)
        if settings.task_runner == "ray":
            from prefect_ray.task_runners import RayTaskRunner

            runner = RayTaskRunner(address=address, init_kwargs={} if address else {"num_cpus": workers})
    except ImportError as error:
        extra = settings.task_runner
        raise ConfigError(
            f"task_runner: {extra} needs the extra of its name: pip install multitalk[{extra}]"
        ) from error
    return runner

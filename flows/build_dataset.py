"""The `build-dataset` flow: the build of `flows.building`, with deployments, retries, Prefect's UI, Dask and Ray.

The flow plans and sums up by the same functions as `multitalk build`; its task runner hands out the batches, by name.
Nothing that a rerun depends on is kept by Prefect.
"""

from pathlib import Path
from typing import cast
from uuid import UUID

from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture

from multitalk.flows.artifact import build_markdown
from multitalk.flows.building.batch import WORKER, BatchResult, run_batch
from multitalk.flows.building.build import counter, finish, prepare, progress_text
from multitalk.flows.building.plan import BatchName, read_batches
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.building.summary import BuildSummary
from multitalk.flows.task_runners import stopping_in_order, task_runner, turns
from multitalk.flows.worker_bounds import check_parameters


@flow(name="build-dataset", validate_parameters=True)
def build_dataset(settings: BuildSettings) -> BuildSummary:
    """Build a dataset of talking-head clips out of annotations.

    Every source video goes through download, trim, landmarks, fit and metrics, and ends as rows of the
    manifest. Run it again to continue, to retry what may have been transient, or to add annotations.
    """
    check_parameters(settings)
    logger = get_run_logger()
    prepared = prepare(settings)
    done_before = prepared.videos - prepared.pending
    if prepared.run_folder is None:
        logger.info(f"Nothing to do: all {done_before} source videos are done with this configuration")
    else:
        logger.info(f"{prepared.pending} source videos to build, {done_before} done before")
        runner = task_runner(settings.task_runner, settings.task_runner_address, settings.workers)
        process_batches.with_options(task_runner=runner)(prepared.run_folder, settings)
    summary = finish(prepared)
    create_table_artifact(
        key="build-languages", table=summary.language_rows(), description="Clips by language"
    )
    create_markdown_artifact(key="build-summary", markdown=build_markdown(summary), description="Summary")
    return summary


@flow(name="process-batches", validate_parameters=False)
def process_batches(run_folder: Path, settings: BuildSettings) -> None:
    """Build all batches of a run on the task runner that the settings name, watching their progress."""
    batches = read_batches(run_folder)
    videos = sum(batch.videos for batch in batches)
    artifact = cast(
        UUID, create_progress_artifact(0.0, key="build-progress", description=f"{videos} source videos")
    )
    logger, events = get_run_logger(), counter(batches, run_folder)
    futures: list[PrefectFuture[BatchResult]] = []
    with stopping_in_order(run_folder, futures):
        for batch in batches:  # the first ones are at work while the others are still handed out
            named = process_batch.with_options(task_run_name=batch.name)
            futures.append(named.submit(batch, settings, run_folder, WORKER))
        shown = -1
        for _ in turns(run_folder, futures):
            progress = events.count()
            percent = int(100 * progress.done / videos)
            if percent != shown:  # not every second: each is a record in the server's database
                shown = percent
                update_progress_artifact(artifact, float(percent))
                logger.info(progress_text(batches, progress))
    for future in futures:
        future.result()


@task(cache_policy=NO_CACHE, persist_result=False, retries=1, retry_delay_seconds=5)
def process_batch(batch: BatchName, settings: BuildSettings, run_folder: Path, worker: str) -> BatchResult:
    """Build one batch of source videos of one language in a worker process."""
    return run_batch(batch, settings, run_folder, worker)

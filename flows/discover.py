"""The `discover-clips` flow: the discovery of `flows.discovering`, with deployments and Prefect's UI."""

from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture

from multitalk.flows.discovering.batch import RawBatch, discover_batch, read_batches
from multitalk.flows.discovering.discover import DiscoverSummary, counter, finish, prepare, progress_text
from multitalk.flows.discovering.settings import DiscoverSettings
from multitalk.flows.task_runners import stopping_in_order, task_runner, turns
from multitalk.flows.worker_bounds import check_parameters


@flow(name="discover-clips", validate_parameters=True)
def discover_clips(settings: DiscoverSettings) -> DiscoverSummary:
    """Look for talking-head clips in raw videos and write them as annotations.

    Run it again to continue: videos that were looked at with the same settings are not looked at again.
    """
    check_parameters(settings)
    prepared = prepare(settings)
    if prepared.run_folder is not None:
        runner = task_runner("local", None, settings.workers)
        look_at_batches.with_options(task_runner=runner)(prepared.run_folder, settings)
    return finish(prepared)


@flow(name="look-at-batches", validate_parameters=False)
def look_at_batches(run_folder: Path, settings: DiscoverSettings) -> None:
    """Look at all batches of a run, as many at a time as there are workers."""
    batches, logger = read_batches(run_folder), get_run_logger()
    futures: list[PrefectFuture[None]] = []
    events, shown = counter(batches, run_folder), ""
    with stopping_in_order(run_folder, futures):
        for batch in batches:
            named = look_at_videos.with_options(task_run_name=batch.name)
            futures.append(named.submit(batch, settings, run_folder))
        for _ in turns(run_folder, futures):
            text = progress_text(batches, events.count())
            if text != shown:
                shown = text
                logger.info(text)
    for future in futures:
        future.result()


@task(cache_policy=NO_CACHE, persist_result=False)
def look_at_videos(batch: RawBatch, settings: DiscoverSettings, run_folder: Path) -> None:
    """Look for clips in a batch of videos in a worker process."""
    discover_batch(batch, settings, run_folder)

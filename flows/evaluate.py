"""The flow `evaluate`: predicted motion and lips of a release, the tables as an artifact and for the report."""

from collections.abc import Callable

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from multitalk.flows.evaluating.release import evaluate_release
from multitalk.flows.evaluating.settings import EvaluateReleaseSettings
from multitalk.flows.evaluating.written_tables import tables_text
from multitalk.flows.worker_bounds import check_parameters

_LOGGED_CLIPS = 50


@flow(name="evaluate", validate_parameters=True)
def evaluate(settings: EvaluateReleaseSettings) -> str:
    """Measure motion and read lips on a release; gives the tables as Markdown. Run it again to go on."""
    check_parameters(settings)
    logger = get_run_logger()

    def progress_of(step: str) -> Callable[[int, int], None]:
        def progress(done: int, of: int) -> None:
            if done % _LOGGED_CLIPS == 0:
                logger.info(f"{step}: {done} of {of}")

        return progress

    markdown = tables_text(evaluate_release(settings, progress_of), "markdown")
    description = f"Release {settings.release}, split {settings.split}"
    create_markdown_artifact(key="evaluate", markdown=markdown, description=description)
    return markdown

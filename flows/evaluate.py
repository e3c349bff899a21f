"""The flow `evaluate`: predicted motion against the truth, its tables as an artifact."""

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from flows.model_config import EvaluateSettings
from flows.motion_evaluation import evaluate as measure
from flows.written_tables import tables_text


@flow(name="evaluate", validate_parameters=True)
def evaluate(settings: EvaluateSettings) -> str:
    """Measure predictions on a release or a folder of true vertices; gives the tables as Markdown."""
    logger = get_run_logger()
    markdown = tables_text(measure(settings), "markdown")
    logger.info(f"measured {', '.join(settings.predictions) or 'baselines'}")
    create_markdown_artifact(key="evaluate-motion", markdown=markdown, description="Motion metrics")
    return markdown

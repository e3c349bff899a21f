"""The flows `train-motion-prior` and `train-talker`: a run that was cut off goes on when it is run again."""

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact

from multitalk.flows.modelling.settings import TrainSettings
from multitalk.flows.modelling.trained_models import Kind, train
from multitalk.flows.worker_bounds import check_parameters

_LOGGED_STEPS = 50


@flow(name="train-motion-prior", validate_parameters=True)
def train_motion_prior(settings: TrainSettings) -> dict[str, float]:
    """Train a motion prior on a dataset, into `out`/prior; gives the last figures by name."""
    return _train("prior", settings)


@flow(name="train-talker", validate_parameters=True)
def train_talker(settings: TrainSettings) -> dict[str, float]:
    """Train a talker over the prior of the same experiment, into `out`/talker; gives the last figures by name."""
    return _train("talker", settings)


def _train(kind: Kind, settings: TrainSettings) -> dict[str, float]:
    check_parameters(settings)
    logger = get_run_logger()

    def show_progress(what: str, done: int, of: int) -> None:
        if done % _LOGGED_STEPS == 0 or done == of:
            logger.info(f"{what}: {done} of {of}")

    trained = train(kind, settings, show_progress)
    logger.info(f"best model: {trained.best}")
    if trained.note:
        logger.warning(trained.note)
    rows = [{"figure": name, "value": value} for name, value in sorted(trained.figures.items())]
    create_table_artifact(key=f"train-{kind}", table=rows, description=str(settings.out))
    return trained.figures

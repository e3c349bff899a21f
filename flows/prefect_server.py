"""Prefect as a command runs it: quiet, and with the server that the user's settings name, if they name one."""

import logging
import os


class PrefectServerError(Exception):
    """The server that the settings name does not answer."""


def require_prefect_server() -> None:
    """Return if no server is named, or the one that is answers.

    Raises
    ------
    PrefectServerError
        It does not; the message names it and says what to do.
    """
    from prefect.client.orchestration import get_client
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url
    if url is None:  # Prefect starts a server of its own in the process
        return
    with get_client(sync_client=True) as client:
        fault = client.api_healthcheck()
    if fault is not None:
        raise PrefectServerError(
            f"no Prefect server answers at {url} ({fault}): start one (prefect server start), or run without "
            "one: unset PREFECT_API_URL (prefect config unset PREFECT_API_URL where it is in your profile)"
        )


def set_up_prefect() -> None:
    """Make Prefect quiet where the user has not said how it should be, and look for the server if one is named.

    To be called before Prefect's import.

    Raises
    ------
    PrefectServerError
        The server does not answer.
    """
    # What goes wrong is raised, too, and then said once by `multitalk` itself.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_INTERNAL_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    # On a slow machine these say at the end that they are still at work; their loggers are not Prefect's.
    for service in ("EventsWorker", "APILogWorker"):
        logging.getLogger(service).setLevel(logging.CRITICAL)
    require_prefect_server()

"""The Prefect server that a flow run reports to, where the user's settings name one."""


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

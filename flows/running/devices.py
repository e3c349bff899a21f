"""Devices that torch computes on."""

from multitalk.ground.settings import SettingsError


def check_device(device: str) -> None:
    """Raise SettingsError for a device that can not be used on this machine."""
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(
            f"--device {device} can not be used here: {str(error).splitlines()[0]}"
        ) from error

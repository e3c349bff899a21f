"""One rule for where torch computes: where it is told to, and on CUDA where it is there and nothing was told."""

AUTO = "auto"


def chosen_device(device: str | None = AUTO) -> str:
    """Return the torch device that a setting means; `auto` and None: CUDA where there is one, else the CPU."""
    if device is not None and device != AUTO:
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"

"""Settings of the regressors, light to import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from multitalk.ground.outcome import OUTCOME, RUNTIME


class RegressorSettings(BaseModel):
    """A learned regressor beside, or instead of, the fit to landmarks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[Literal["deca", "smirk", "spectre"], OUTCOME] = Field(description="Which network.")
    use: Annotated[Literal["initial", "only"], OUTCOME] = Field(
        "initial",
        description="initial: its coefficients are where the fit to landmarks starts; only: they are the motion.",
    )
    weights: Annotated[Path | None, OUTCOME] = Field(
        None, description="Its published checkpoint; none: the asset of the network's name."
    )
    batch: Annotated[int, RUNTIME] = Field(
        16, ge=1, description="Frames that go through the network at once."
    )
    device: Annotated[str | None, RUNTIME] = Field(
        None, description="Torch device; none: cuda where there is one, else cpu."
    )
    max_error: Annotated[float, OUTCOME] = Field(
        0.2,
        gt=0,
        description="With `only`: mean landmark error (share of inter-ocular distance) above which the "
        "network missed the face and the clip fails as diverged.",
    )

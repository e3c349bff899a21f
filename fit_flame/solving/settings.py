"""Settings of the fit, light to import."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from multitalk.ground.outcome import OUTCOME, RUNTIME


class RegionSigma(BaseModel):
    """Standard deviation of landmarks about the model, as a share of the inter-ocular distance."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lips: Annotated[float, OUTCOME] = Field(0.005, gt=0, description="Inner and outer lips.")
    eyes: Annotated[float, OUTCOME] = Field(0.006, gt=0, description="Eyelids.")
    brows: Annotated[float, OUTCOME] = Field(0.004, gt=0, description="Brows.")
    oval: Annotated[float, OUTCOME] = Field(
        0.008, gt=0, description="Outline of the face, which slides along the skin."
    )
    skin: Annotated[float, OUTCOME] = Field(0.006, gt=0, description="Everything else.")
    gap: Annotated[float, OUTCOME] = Field(
        0.003, gt=0, description="Lip gaps, mouth width and lid gaps: differences of landmarks."
    )

    depth: Annotated[float, OUTCOME] = Field(
        0.04, gt=0, description="Depth about the face's mean, of which detectors know little."
    )

    def of(self, region: str) -> float:
        """Return the standard deviation of a region."""
        value: float = getattr(self, region)
        return value


class FitSettings(BaseModel):
    """How motion is fitted to landmarks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sigma: RegionSigma = Field(
        default_factory=RegionSigma, description="Standard deviations of the landmarks."
    )
    outlier: Annotated[float, OUTCOME] = Field(
        4.0, gt=0, description="Standard deviations beyond which a landmark is an outlier."
    )
    shape: Annotated[bool, OUTCOME] = Field(
        True, description="Fit one identity per clip; else keep the mean face."
    )
    key_frames: Annotated[int, OUTCOME] = Field(
        12, ge=1, description="Frames from which identity and focal length are fitted."
    )
    field_of_view_deg: Annotated[tuple[float, float], OUTCOME] = Field(
        (20.0, 60.0), description="Limits of the camera's field of view over the image's side, degrees."
    )
    smooth_head: Annotated[float, OUTCOME] = Field(
        10.0, ge=0, description="Weight of the head's constant velocity against the landmarks' information."
    )
    smooth_face: Annotated[float, OUTCOME] = Field(
        4.0,
        ge=0,
        description="Weight of an unmoving face against the landmarks' information, while it rests.",
    )
    resting: Annotated[float, OUTCOME] = Field(
        0.004,
        gt=0,
        description="Motion of lips or lids per frame, as a share of the inter-ocular distance, "
        "from which the face counts as moving and smoothing lets go.",
    )
    steady: Annotated[float, OUTCOME] = Field(
        0.005,
        gt=0,
        description="Change of the head's velocity per frame, as a share of the inter-ocular distance, "
        "from which smoothing lets go.",
    )
    identity_iterations: Annotated[int, OUTCOME] = Field(6, ge=0, description="Iterations on the key frames.")
    frame_iterations: Annotated[int, OUTCOME] = Field(4, ge=1, description="Iterations of every frame alone.")
    chain_iterations: Annotated[int, OUTCOME] = Field(
        2, ge=0, description="Iterations of all frames together; 0: no temporal prior."
    )
    max_error: Annotated[float, OUTCOME] = Field(
        0.05,
        gt=0,
        description="Mean landmark error (share of inter-ocular distance) above which a fit diverged.",
    )
    device: Annotated[str, RUNTIME] = Field(
        "auto", description="Torch device, for instance cpu or cuda; auto: CUDA where there is one."
    )

    @field_validator("field_of_view_deg")
    @classmethod
    def _is_a_range(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if not 0 < limits[0] <= limits[1] < 180:
            raise ValueError(f"{limits} must be two angles between 0 and 180 degrees, the lower one first")
        return limits

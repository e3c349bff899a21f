"""Settings of the flow ``evaluate``: both evaluations of a release."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from multitalk.eval.settings import LipReadingSettings, MotionEvaluationSettings
from multitalk.flows.evaluating.lip_reading_settings import ReadLipsSettings
from multitalk.flows.modelling.settings import EvaluateSettings, Settings


class EvaluateReleaseSettings(Settings):
    """Which predictions are measured on which release."""

    root: Path = Field(description="folder of the dataset")
    release: str = Field(description="release whose clips are the truth")
    split: Literal["train", "val", "test"] = Field("test", description="part of the release")
    name: str | None = Field(None, description="what the evaluation is called; none: as the release")
    predictions: dict[str, Path] = Field(
        default_factory=dict, description="folder of .npy or .npz vertices by model"
    )
    baselines: bool = Field(True, description="add what knows nothing of the speech: still, mean, shuffled")
    head_model: str | None = Field(None, description="name or file, where the release does not tell")
    motion: MotionEvaluationSettings = Field(
        MotionEvaluationSettings(), description="metrics, regions, units and intervals"
    )
    lip_reading: LipReadingSettings | None = Field(
        LipReadingSettings(), description="protocol, noises and decoding; null: lips are not read"
    )
    languages: tuple[str, ...] = Field((), description="whose lips are read; none: all of the split")
    whisper: Path | None = Field(
        None, description="faster-whisper model that makes references; none: Whisper base"
    )

    @property
    def of_motion(self) -> EvaluateSettings:
        """What `evaluate motion` would be told."""
        return EvaluateSettings(
            predictions=self.predictions,
            root=self.root,
            release=self.release,
            split=self.split,
            head_model=self.head_model,
            baselines=self.baselines,
            measures=self.motion,
        )

    def of_lips(self, out: Path) -> ReadLipsSettings:
        """Return what `evaluate lip-reading` would be told, with readings written to `out`."""
        assert self.lip_reading is not None
        return ReadLipsSettings(
            languages=self.languages,
            models=self.predictions,
            root=self.root,
            release=self.release,
            split=self.split,
            whisper=self.whisper,
            head_model=self.head_model,
            metres_per_unit=self.motion.metres_per_unit,
            out=out,
            reading=self.lip_reading,
        )

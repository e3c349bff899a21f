"""Settings of ``evaluate lip-reading``; light to import, so that the command line can show them."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from multitalk.eval.settings import LipReadingSettings
from multitalk.flows.modelling.settings import Settings


class ReadLipsSettings(Settings):
    """Whose lips are read, in which clips, by which recogniser."""

    languages: tuple[str, ...] = Field((), description="as the manifest calls them; none: all of the release")
    models: dict[str, Path] = Field(
        default_factory=dict, description="folder of .npy or .npz vertices, or of .mp4 videos, by model"
    )
    root: Path | None = Field(None, description="folder of the dataset, with `release`")
    release: str | None = Field(None, description="release whose clips are read")
    split: Literal["train", "val", "test"] = Field("test", description="part of the release")
    clips: Path | None = Field(
        None, description="instead: folder of <clip>.wav, <clip>.mp4 (real video) and transcripts.json"
    )
    avlr: Path | None = Field(
        None, description="instead: MultiTalk's avlr/<language>, with checkpoints/ and inputs/"
    )
    weights: Path | None = Field(None, description="folder of the recogniser; none: asset av_hubert_<code>")
    whisper: Path | None = Field(
        None, description="faster-whisper model that makes references; none: Whisper base"
    )
    head_model: str | None = Field(
        None, description="of vertices: name or file; none: the release's, or canonical"
    )
    metres_per_unit: float = Field(1.0, gt=0, description="0.001 where vertices are in millimetres")
    out: Path = Field(description="folder for readings and tables; a run that was cut off goes on from it")
    reading: LipReadingSettings = Field(
        LipReadingSettings(), description="protocol, noises, decoding and intervals"
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.release, self.clips, self.avlr)) != 1:
            raise ValueError("give a release, a folder of clips, or a folder in MultiTalk's layout")
        if self.release is not None and self.root is None:
            raise ValueError("a release needs the dataset's root")
        if self.release is None and len(self.languages) != 1:
            raise ValueError("a folder of clips is of one language: name it")
        if self.weights is not None and len(self.languages) != 1:
            raise ValueError("a recogniser is of one language: name it")
        return self

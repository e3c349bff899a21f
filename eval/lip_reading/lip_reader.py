"""A speech recogniser that sees and hears: encoder, decoder and vocabulary of one language."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from multitalk.eval.lip_reading.filterbank import audio_input
from multitalk.eval.lip_reading.network.av_hubert import AvHubertEncoder
from multitalk.eval.lip_reading.network.av_hubert_weights import decoder_from_tensors, encoder_from_tensors
from multitalk.eval.lip_reading.network.beam_search import search
from multitalk.eval.lip_reading.network.speech_decoder import SpeechDecoder
from multitalk.eval.lip_reading.network.vocabulary import Vocabulary, VocabularyError
from multitalk.ground.untrusted.checkpoint_file import read_checkpoint

LICENCE = "AV-HuBERT licence and CC BY-NC 4.0: non-commercial research"
MUAVIC_LANGUAGES = {
    "arabic": "ar",
    "german": "de",
    "greek": "el",
    "english": "en",
    "spanish": "es",
    "french": "fr",
    "italian": "it",
    "portuguese": "pt",
    "russian": "ru",
}
"""The languages that MuAViC has a recogniser for, with their codes."""

_CHECKPOINTS = ("checkpoint_best.pt", "model.safetensors")
_SENTENCEPIECE = ("tokenizer.model", "sentencepiece.bpe.model")


class LipReaderMissingError(FileNotFoundError):
    """A file of the recogniser is not there; the message says which, where it comes from and its licence."""


@dataclass(frozen=True, slots=True)
class LipReader:
    """Reads speech off mouth pictures, sound, or both."""

    encoder: AvHubertEncoder
    decoder: SpeechDecoder
    vocabulary: Vocabulary
    name: str = ""
    version: str = ""
    """Changes when the checkpoint or the vocabulary does."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.encoder.parameters()).device

    def encode_video(self, mouths: npt.NDArray[np.float32]) -> Tensor:
        """Compute the video features of a clip: once, whatever the sounds that it is read with.

        Parameters
        ----------
        mouths
            (T, 88, 88) normalised grey, as `multitalk.eval.lip_reading.mouth.model_input` gives them.

        Returns
        -------
        Tensor
            (1, T, D).
        """
        video = torch.from_numpy(np.ascontiguousarray(mouths, dtype=np.float32))
        return self.encoder.video_features(video[None, None].to(self.device))

    def read(
        self,
        samples: npt.NDArray[np.int16] | None,
        video_features: Tensor | None,
        *,
        beam: int = 1,
        max_length: int = 200,
    ) -> str:
        """Recognise a clip.

        Parameters
        ----------
        samples
            (N,) 16-bit mono at 16 kHz; None to read from lips alone.
        video_features
            Result of `encode_video`; None to listen alone.
        beam
            Hypotheses kept; 1 is greedy decoding.
        max_length
            Most tokens.

        Raises
        ------
        ValueError
            Neither sound nor picture is given.
        """
        audio_features = None
        if samples is not None:
            features = audio_input(samples, video_features.shape[1] if video_features is not None else None)
            audio_features = self.encoder.audio_features(torch.from_numpy(features)[None].to(self.device))
        memory = self.encoder(audio_features, video_features)
        return self.vocabulary.text(search(self.decoder, memory, beam, max_length).tokens)


def load_lip_reader(folder: Path, device: str = "cpu") -> LipReader:
    """Load a recogniser from a folder with a checkpoint and a vocabulary.

    Parameters
    ----------
    folder
        Holds `checkpoint_best.pt` (MuAViC) or `model.safetensors` with `config.json` (its export on the
        Hugging Face hub), and `dict.<language>.txt` or `tokenizer.model`.
    device
        torch device to compute on.

    Raises
    ------
    LipReaderMissingError
        A file is not there.
    CheckpointError, WeightsError, VocabularyError
        One can not be used.
    """
    weights = _first(folder, _CHECKPOINTS)
    words = _vocabulary_file(folder)
    vocabulary = (
        Vocabulary.from_dictionary(words) if words.suffix == ".txt" else Vocabulary.from_sentencepiece(words)
    )
    checkpoint = read_checkpoint(weights)
    encoder = encoder_from_tensors(checkpoint.tensors, _encoder_heads(checkpoint.settings))
    decoder = decoder_from_tensors(
        checkpoint.tensors,
        checkpoint.number("decoder_attention_heads"),
        # transformers' name for it; MuAViC's own models do not scale
        scale_embedding=checkpoint.settings.get("scale_embedding") is True,
    )
    if len(vocabulary.pieces) != decoder.shape.vocabulary:
        raise VocabularyError(
            f"{folder}: the vocabulary has {len(vocabulary.pieces)} pieces, the checkpoint "
            f"{decoder.shape.vocabulary}: they belong to different models"
        )
    version = f"{_state(weights)}, {_state(words)}"
    return LipReader(encoder.to(device), decoder.to(device), vocabulary, folder.name, version)


def _state(path: Path) -> str:
    changed = path.stat()
    return f"{path.name} {changed.st_size} {changed.st_mtime_ns}"


def _encoder_heads(settings: dict[str, object]) -> int | None:
    # Only the export writes the encoder's heads at the top; fairseq's are those of the pre-trained model's
    # sizes.
    heads = settings.get("encoder_attention_heads", settings.get("num_attention_heads"))
    return heads if isinstance(heads, int) else None


def _vocabulary_file(folder: Path) -> Path:
    dictionaries = sorted(folder.glob("dict.*.txt"))
    return dictionaries[0] if len(dictionaries) == 1 else _first(folder, _SENTENCEPIECE)


def _first(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise LipReaderMissingError(
        f"{folder / names[0]} is missing. MuAViC publishes a recogniser for each of "
        f"{', '.join(MUAVIC_LANGUAGES)} at https://dl.fbaipublicfiles.com/muavic/models/<code>_avsr/ "
        f"({', '.join(('checkpoint_best.pt', 'dict.<code>.txt', 'tokenizer.model'))}); {LICENCE}. "
        "Fetch it with `multitalk assets fetch av_hubert_<code>`, or put its files there."
    )

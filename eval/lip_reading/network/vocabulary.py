"""Token ids to text, from a fairseq dictionary or a SentencePiece model; both number the pieces alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
"""Ids 0 to 3; MuAViC's SentencePiece models were trained with the same ids."""
WORD_START = "\u2581"
"""SentencePiece's mark for a space before a piece."""


class VocabularyError(ValueError):
    """A dictionary or a SentencePiece model can not be read."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Pieces by id."""

    pieces: tuple[str, ...]

    @classmethod
    def from_dictionary(cls, path: Path) -> Vocabulary:
        """Read fairseq's `dict.<lang>.txt`: a piece and its count a line, after the four special tokens.

        Raises
        ------
        VocabularyError
            A line is not a piece and a number, or the file can not be read.
        """
        pieces = list(SPECIAL)
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise VocabularyError(f"{path}: can not be read ({error})") from error
        for number, line in enumerate(lines, start=1):
            piece, _, count = line.removesuffix(" #fairseq:overwrite").rpartition(" ")
            if not piece or not count.isdigit():
                raise VocabularyError(f"{path}, line {number}: {line!r} is not a piece and its count")
            pieces.append(piece)
        return cls(tuple(pieces))

    @classmethod
    def from_sentencepiece(cls, path: Path) -> Vocabulary:
        """Read a SentencePiece model, `tokenizer.model`.

        Raises
        ------
        VocabularyError
            It is no such model, or its special tokens have other ids than the recogniser's.
        """
        try:
            import sentencepiece
        except ModuleNotFoundError as error:
            raise VocabularyError(f"{path}: reading it needs pip install 'multitalk[eval]'") from error
        try:
            model = sentencepiece.SentencePieceProcessor(model_file=str(path))
        except (OSError, RuntimeError) as error:
            raise VocabularyError(f"{path}: not a readable SentencePiece model ({error})") from error
        ids = (model.bos_id(), model.pad_id(), model.eos_id(), model.unk_id())
        if ids != (0, 1, 2, 3):
            raise VocabularyError(f"{path}: start, padding, end and unknown have ids {ids}, not (0, 1, 2, 3)")
        return cls(tuple(model.id_to_piece(k) for k in range(model.get_piece_size())))

    def text(self, ids: Iterable[int]) -> str:
        """Join pieces to text; special tokens are left out."""
        pieces = (self.pieces[k] for k in ids if k >= len(SPECIAL))
        return "".join(pieces).replace(WORD_START, " ").strip()

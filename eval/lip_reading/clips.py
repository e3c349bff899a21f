"""Clips to be read, what is said in them, and MultiTalk's folder layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multitalk.eval.lip_reading.lip_reading import Progress, SpokenClip, file_version
from multitalk.eval.vertex_files import sources_of
from multitalk.ground.files import atomic
from multitalk.manifests.media import MediaError, read_sound

TRANSCRIPTS = "transcripts.json"


class LayoutError(ValueError):
    """A folder or a list of clips is not what lip reading expects; the message names it."""


def folder_clips(folder: Path) -> list[SpokenClip]:
    """List the clips of a folder: `<clip>.wav`, and what is said in `transcripts.json`, text by clip.

    The reference is empty where the folder does not tell, for `recognised_references` to fill.

    Raises
    ------
    LayoutError
        There is no sound, or the transcripts are not such a file.
    """
    sounds = sorted(folder.glob("*.wav"))
    if not sounds:
        raise LayoutError(f"{folder}: holds no <clip>.wav")
    texts = _read_object(folder / TRANSCRIPTS, "text") if (folder / TRANSCRIPTS).is_file() else {}
    sources = sources_of(path.stem for path in sounds)
    return [SpokenClip(p.stem, sources[p.stem], p, str(texts.get(p.stem) or "")) for p in sounds]


@dataclass(frozen=True, slots=True)
class AvlrFolder:
    """What lies in MultiTalk's `avlr/<language>`."""

    checkpoint: Path
    """Folder of the recogniser, `checkpoints/<language>_avsr`."""
    models: Mapping[str, Path]
    """`inputs/<model>`: folders of videos or of vertex files by model."""
    sounds: Path
    """`inputs/wav`."""


def avlr_folder(folder: Path, language_code: str) -> AvlrFolder:
    """Find the parts of MultiTalk's layout.

    Raises
    ------
    LayoutError
        `inputs/wav` or every `inputs/<model>` is missing.
    """
    inputs = folder / "inputs"
    models = (
        {p.name: p for p in sorted(inputs.iterdir()) if p.is_dir() and p.name != "wav"}
        if inputs.is_dir()
        else {}
    )
    if not (inputs / "wav").is_dir() or not models:
        raise LayoutError(
            f"{folder}: needs inputs/wav and inputs/<model> with the videos or vertices of each model"
        )
    return AvlrFolder(folder / "checkpoints" / f"{language_code}_avsr", models, inputs / "wav")


def read_valid_clips(path: Path) -> frozenset[str]:
    """Read the clips that a list such as the paper's keeps: a JSON object of true or false by clip id.

    Raises
    ------
    LayoutError
        It is not such a file.
    """
    return frozenset(clip for clip, valid in _read_object(path, "true or false").items() if valid)


def recognised_references(
    sounds: Mapping[str, Path],
    language_code: str,
    whisper: Path,
    record: Path,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Make references as the paper does: what Whisper hears in the clean sound (beam 5, language given).

    Parameters
    ----------
    sounds
        Clean sound by clip id.
    language_code
        Whisper's code, e.g. `de`.
    whisper
        Folder of a faster-whisper model; the paper used large-v3.
    record
        JSON file that keeps what was heard; clips that are in it are heard again when their sound has changed.
    progress
        Called with clips heard and clips in all.

    Returns
    -------
    dict
        Text by clip id; clips whose sound can not be read are not in it.

    Raises
    ------
    MediaError
        There is no Whisper model in the folder.
    """
    recognised: dict[str, list[str]] = (
        json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    )
    missing = [
        clip_id for clip_id, sound in sounds.items() if not _is_recognised(recognised.get(clip_id), sound)
    ]
    if missing:
        from faster_whisper import WhisperModel

        if not Path(whisper, "model.bin").is_file():
            raise MediaError(f"{whisper}: holds no faster-whisper model (model.bin)")
        model = WhisperModel(str(whisper), device="cpu", compute_type="int8", local_files_only=True)
        for done, clip_id in enumerate(missing):
            if progress is not None:
                progress(done, len(missing))
            try:
                sound = read_sound(sounds[clip_id]).astype(np.float32) / 32768
            except MediaError:
                continue
            segments, _ = model.transcribe(sound, language=language_code, beam_size=5)
            text = " ".join(segment.text.strip() for segment in segments)
            recognised[clip_id] = [text, file_version(sounds[clip_id])]
            _write_json(record, recognised)  # each one took long
        if progress is not None:
            progress(len(missing), len(missing))
    return {clip_id: recognised[clip_id][0] for clip_id in sounds if clip_id in recognised}


def _is_recognised(entry: list[str] | None, sound: Path) -> bool:
    """Whether text and sound's state are kept, and the sound is still that one, or gone."""
    return isinstance(entry, list) and (not sound.is_file() or entry[1] == file_version(sound))


def _read_object(path: Path, values: str) -> dict[str, object]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")).items())
    except (OSError, ValueError, AttributeError) as error:
        raise LayoutError(f"{path}: not a JSON object of {values} by clip ({error})") from error


def _write_json(path: Path, content: Mapping[str, list[str]]) -> None:
    with atomic(path) as unfinished:
        unfinished.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")

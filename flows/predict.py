"""A talker's motion for the clips of a release, in a folder as `multitalk evaluate motion` takes it."""

from itertools import groupby
from pathlib import Path

import pyarrow.compute as pc

from flows.heads import only_model
from flows.models import audio_encoder
from manifests.paths import audio_path
from manifests.release import read_release


def predict_release(root: Path, release: str, split: str, prior: Path, talker: Path, folder: Path) -> int:
    """Speak the sound of each clip of a split, in the style of its language.

    Parameters
    ----------
    root
        Folder of the dataset.
    release, split
        Which clips.
    prior, talker
        Files of models that hear through Whisper base.
    folder
        Gets `<language>/<clip_id>.npz`.

    Returns
    -------
    int
        Clips written.

    Raises
    ------
    DatasetError, MotionError, TalkError, CheckpointError, UnknownLanguageError, AssetError
        The release or a model can not be used; the message says what to do.
    """
    from training.talk import TalkSettings, talk, write_spoken

    clips = read_release(root, release)
    clips = clips.filter(pc.equal(clips["split"], split)).select(["language", "clip_id", "head_model"])
    head_model, ears = only_model(clips["head_model"]), audio_encoder(None)
    rows = sorted((row["language"], row["clip_id"]) for row in clips.to_pylist())
    for language, own in groupby(rows, key=lambda row: row[0]):
        clip_ids = [clip_id for _, clip_id in own]
        sounds = [audio_path(root, language, clip_id) for clip_id in clip_ids]
        spoken = talk(sounds, prior, talker, head_model, TalkSettings(languages={language: 1.0}), ears)
        for clip_id, motion in zip(clip_ids, spoken, strict=True):
            write_spoken(motion, folder / language / f"{clip_id}.npz")
    return len(rows)

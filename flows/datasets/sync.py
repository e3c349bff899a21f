"""Learns what lips do to sound from a whole built dataset, and rescores its clips with it.

The predictor lies in the dataset's root, where later builds find it: their stage `sync` goes by it. Clips rescored here
carry the fingerprint of that, so that the next build has nothing to do.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from multitalk.assets.fetch import require
from multitalk.extract.errors import Stage
from multitalk.filters.speech import SpeechDetector, SpeechSettings
from multitalk.filters.sync.features import SyncClip, sync_clip
from multitalk.filters.sync.predictor import SyncStatistics, train_predictor, video_statistics
from multitalk.filters.sync.score import measure_sync
from multitalk.flows.building.stages import STAGES, stage_fingerprint, sync_settings
from multitalk.flows.modelling.sync_predictor import PREDICTOR, VERSION_KEY, predictor_version
from multitalk.ground.wav import read_wav
from multitalk.manifests import open_dataset
from multitalk.manifests.dataset import Dataset
from multitalk.manifests.paths import DatasetError, audio_path
from multitalk.manifests.store import compact

_MOST_VIDEOS = 3000  # learned from; more take memory (0.2 MB each) and teach nothing new


@dataclass(frozen=True, slots=True)
class SyncSummary:
    """What a training on a dataset did."""

    predictor: str
    learned_from: int
    """Source videos."""
    rescored_clips: int
    unscored_clips: int
    """Clips left as they were: without landmarks, sound, or two seconds of both."""


def train_and_rescore(root: Path, *, min_videos: int = 20) -> SyncSummary:
    """Learn a predictor from all source videos of a dataset, save it, and rescore the manifest's sync columns.

    Parameters
    ----------
    root
        Folder of the dataset.
    min_videos
        Fewest source videos to learn from: with fewer, what is known beforehand judges better.

    Raises
    ------
    DatasetError
        There is no dataset, or too few of its videos have landmarks and speech.
    """
    dataset = open_dataset(root)
    statistics = list(_statistics(dataset))
    if len(statistics) < min_videos:
        raise DatasetError(
            f"{root}: {len(statistics)} source videos have landmarks and speech to learn sync from; at least "
            f"{min_videos} are needed. Build more, with keep_landmarks, or lower --min-videos."
        )
    predictor = train_predictor(statistics)
    scores: dict[str, dict[str, Any]] = {}
    unscored = 0
    for clips in _videos(dataset):
        found = measure_sync(list(clips.values()), predictor)
        for clip_id, metric in zip(clips, found.clips, strict=True):
            if metric.av_correlation is None:
                unscored += 1
            else:
                scores[clip_id] = asdict(metric) | asdict(found.video)
    place = root / PREDICTOR
    predictor.save(place)
    version = predictor_version(place)
    compact(root, lambda rows: _rescored(rows, scores, version))
    return SyncSummary(str(place), len(statistics), len(scores), unscored)


def _statistics(dataset: Dataset) -> Iterator[SyncStatistics]:
    taken = 0
    for clips in _videos(dataset):
        statistics = video_statistics(list(clips.values())) if clips else None
        if statistics is not None:
            yield statistics
            taken += 1
        if taken >= _MOST_VIDEOS:
            return


def _videos(dataset: Dataset) -> Iterator[dict[str, SyncClip]]:
    """Yield each source video's clips, reduced to what sync needs; in an order that mixes languages."""
    rows = dataset.arrow(["clip_id", "language", "video_id", "audio_path", "status"]).to_pylist()
    videos: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["status"] == "ok" and row["audio_path"]:
            videos.setdefault((row["language"], row["video_id"]), []).append(row["clip_id"])
    detector = SpeechDetector(require("silero_vad"), SpeechSettings())
    for key in sorted(videos, key=lambda key: hashlib.sha256(key[1].encode()).digest()):
        clips = {}
        for clip_id in videos[key]:
            clip = _clip(dataset, key[0], clip_id, detector)
            if clip is not None:
                clips[clip_id] = clip
        yield clips


def _clip(dataset: Dataset, language: str, clip_id: str, detector: SpeechDetector) -> SyncClip | None:
    try:
        stored = dataset.landmarks(clip_id)
        # From checked ids, not from `audio_path`: a manifest may come from anyone.
        samples = read_wav(audio_path(dataset.root, language, clip_id))
    except (KeyError, FileNotFoundError):
        return None
    landmarks = stored["landmarks"].astype(np.float32)
    landmarks[~stored["valid"]] = np.nan
    return sync_clip(landmarks, samples, detector.intervals(samples))


def _rescored(rows: pa.Table, scores: dict[str, dict[str, Any]], version: str) -> pa.Table:
    """Manifest rows with the sync columns of the clips in `scores` replaced."""
    clip_ids = rows["clip_id"].to_pylist()
    names = (*STAGES[Stage.SYNC].columns, "tool_versions", "stage_fingerprints")
    columns: dict[str, list[Any]] = {name: rows[name].to_pylist() for name in names}
    for index, clip_id in enumerate(clip_ids):
        if clip_id in scores:
            for name, value in scores[clip_id].items():
                columns[name][index] = value
            others = [pair for pair in columns["tool_versions"][index] or () if pair["key"] != VERSION_KEY]
            columns["tool_versions"][index] = [*others, {"key": VERSION_KEY, "value": version}]
            columns["stage_fingerprints"][index] = _rescored_fingerprints(
                columns["stage_fingerprints"][index], version
            )
    for name, values in columns.items():
        at = rows.schema.get_field_index(name)
        field = rows.schema.field(at)
        rows = rows.set_column(at, field, pa.array(values, field.type))
    return rows


def _rescored_fingerprints(
    carried: dict[str, str | None] | None, version: str
) -> dict[str, str | None] | None:
    """Return a row's fingerprints after its sync was measured by a predictor."""
    if carried is None:  # of an earlier version of this program: the next build takes it over
        return None
    read = {stage: carried.get(str(stage)) for stage in STAGES}
    return {**carried, str(Stage.SYNC): stage_fingerprint(Stage.SYNC, sync_settings(version), read)}

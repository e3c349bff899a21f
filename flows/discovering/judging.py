"""Candidates through the build's stages, the cheap ones first: what is refused by then costs no more."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from multitalk.extract.errors import Stage, as_clip_error
from multitalk.filters.policy import load_policy
from multitalk.filters.verdicts import evaluate_policy, metric_columns
from multitalk.filters.word_times import TimedWord
from multitalk.flows.building.clip import ClipInWork, ClipStages, Landmarks
from multitalk.flows.building.stages import STAGES, stage_fingerprints
from multitalk.flows.discovering.settings import DiscoverSettings
from multitalk.manifests.clip_row import ClipRow
from multitalk.manifests.schema import MANIFEST

_ROUNDS: tuple[tuple[tuple[Stage, ...], Stage], ...] = (
    ((Stage.SPEECH, Stage.LANGUAGE, Stage.TRANSCRIPT), Stage.VIDEO_LANGUAGE),
    ((Stage.LANDMARKS, Stage.IMAGE), Stage.SYNC),
    ((Stage.TEXT, Stage.SPEAKING), Stage.FIT),
)
"""Stages of each clip, and the one of all together that follows."""


class Judge:
    """Takes the candidates of a video through the stages, as far as none of them refuses it."""

    def __init__(self, settings: DiscoverSettings) -> None:
        self._settings = settings
        self._stages = ClipStages(settings.build)
        self._policy = load_policy(settings.policy, MANIFEST)
        self._asked = set(metric_columns(self._policy))
        self._wanted = set(stage_fingerprints(settings.build)) & {
            stage for stages, pooled in _ROUNDS for stage in (*stages, pooled)
        }
        if not self._asked & set(STAGES[Stage.FIT].columns):
            self._wanted.discard(Stage.FIT)

    def objections(
        self, clips: Sequence[ClipInWork], progress: Callable[[float], None]
    ) -> list[tuple[str, ...]]:
        """Say of each candidate what speaks against it, nothing where it makes a clip; `progress` is told a share."""
        found: list[tuple[str, ...]] = [self._against(clip.row, set()) for clip in clips]
        done: set[Stage] = set()
        steps, taken = len(_ROUNDS) * len(clips), 0
        for stages, pooled in _ROUNDS:
            alive = [index for index, objections in enumerate(found) if not objections]
            taken += len(clips) - len(alive)
            for index in alive:
                self._measure(clips[index], stages)
                taken += 1
                progress(taken / steps)
            going_on = [clips[index] for index in alive if clips[index].row.status == "ok"]
            self._stages.tell_waiting_languages(going_on)
            if pooled in self._wanted and going_on:
                self._measure_together(going_on, pooled)
            done |= {*stages, pooled}
            for index in alive:
                found[index] = self._against(clips[index].row, done)
        return found

    def timed_words(self, clip: ClipInWork) -> list[TimedWord]:
        """When each word of a good clip is spoken."""
        return self._stages.timed_words(clip)

    def _measure(self, clip: ClipInWork, stages: Sequence[Stage]) -> None:
        for stage in stages:
            if clip.row.status == "failed":
                break
            if stage not in self._wanted or (
                stage is Stage.SPEAKING and not self._is_to_be_seen_speaking(clip.row)
            ):
                continue
            try:
                self._stages.do(stage, clip)
            except Exception as error:
                code = as_clip_error(error, clip.annotation.clip_id, stage).code
                clip.row.status, clip.row.error_code = "failed", str(code)
        clip.frames = clip.motion = clip.samples = None
        if clip.landmarks is not None and clip.tracked_anew:
            _put_aside(clip, clip.landmarks)

    def _measure_together(self, clips: Sequence[ClipInWork], stage: Stage) -> None:
        if stage is not Stage.FIT:
            self._stages.do_pooled(stage, clips)
            return
        try:
            failures = self._stages.fit(clips)
        except Exception as error:
            failures = [as_clip_error(error, clip.annotation.clip_id, stage) for clip in clips]
        for clip, failure in zip(clips, failures, strict=True):
            if failure is not None:
                clip.row.status, clip.row.error_code = "failed", str(failure.code)

    def _is_to_be_seen_speaking(self, row: ClipRow) -> bool:
        """Whether LR-ASD could tell more than lips that go with the sound have told."""
        if "speaking_score" in self._asked or row.av_correlation is None:
            return True
        return (row.av_confidence or 0.0) < self._settings.min_av_confidence

    def _against(self, row: ClipRow, done: set[Stage]) -> tuple[str, ...]:
        """Why a candidate is no good clip, by what is known of it: the policy's rules, and that the face speaks."""
        if row.status == "failed":
            return (str(row.error_code),)
        unknown = {column for stage in self._wanted - done for column in STAGES[stage].columns}
        rules = [
            rule
            for rule in self._policy.rules
            if not unknown & set(metric_columns(self._policy.model_copy(update={"rules": [rule]})))
        ]
        policy = self._policy.model_copy(update={"rules": rules})
        schema = pa.schema([MANIFEST.field(name) for name in metric_columns(policy)])
        values = {name: getattr(row, name) for name in schema.names}
        reasons = evaluate_policy(policy, pa.Table.from_pylist([values], schema)).rejected_by().to_pylist()[0]
        return (*reasons, *self._speech_objections(row, done))

    def _speech_objections(self, row: ClipRow, done: set[Stage]) -> Iterator[str]:
        settings = self._settings
        if Stage.TRANSCRIPT in done and not row.recognised_transcript:
            yield "no_words"
        if row.speaking_score is not None and row.speaking_score < settings.min_speaking_score:
            yield "speaking"
        sure = (row.av_confidence or 0.0) >= settings.min_av_confidence
        if sure and row.av_correlation is not None and row.av_correlation < settings.min_av_correlation:
            yield "sync"


def _put_aside(clip: ClipInWork, landmarks: Landmarks) -> None:
    """Keep a clip's landmarks in a file until they are asked for: those of hours do not fit in memory together."""
    place: Path = clip.picture.with_suffix(".landmarks.npz")
    arrays: dict[str, Any] = {"points": landmarks.points.astype(np.float16), "valid": landmarks.valid}
    if landmarks.confidence is not None:
        arrays["confidence"] = landmarks.confidence.astype(np.float16)
    np.savez(place, **arrays)

    def read() -> Landmarks:
        with np.load(place, allow_pickle=False) as stored:
            seen = stored["confidence"].astype(np.float32) if "confidence" in stored else None
            return Landmarks(stored["points"].astype(np.float32), stored["valid"], seen)

    clip.landmarks, clip.tracked_anew, clip.stored_landmarks = None, False, read

"""One source video: what its clips still need, their way through the stages, and commitment.

Every annotated clip ends as a row. A clip goes through the stages whose fingerprint is not in its row, from the
deepest artefact that is there: a changed fit reads stored landmarks, a changed metric the clip; only what comes
before a clip that is not there, or was cut otherwise, needs the source.

New files are made in a staging folder and take their places together with the rows. A failed try never replaces a
better outcome: then the earlier row stays, with its files, and says what was tried (`last_try_...`). Nothing in here
knows Prefect.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path

from multitalk.extract.annotations import Annotation
from multitalk.extract.downloading.download import DownloadedVideo
from multitalk.extract.downloading.fork_server import ForkServer
from multitalk.extract.errors import ClipError, ErrorCode, Stage, as_clip_error
from multitalk.extract.trim import TrimRequest, TrimResult, trim_clips
from multitalk.flows.building.clip import ClipInWork, ClipStages, Landmarks
from multitalk.flows.building.plan import AnnotatedVideo
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.building.settled import (
    Wanted,
    invalid_row,
    is_kept_or_removed,
    is_worse,
    new_row,
    stages_to_do,
    stands,
    try_fingerprint,
    with_vain_try,
)
from multitalk.flows.building.source import drop_source, fetch_source, source_path
from multitalk.flows.building.stages import POOLED_STAGES, STAGES
from multitalk.flows.building.stored_clips import StoredClips
from multitalk.flows.building.versions import StageVersions
from multitalk.flows.running.cpu_time import COMMIT, CpuTime
from multitalk.manifests import paths
from multitalk.manifests.clip_row import ClipRow
from multitalk.manifests.store import claim_video, commit_video, file_xxh3, staging_folder
from multitalk.manifests.takedown import read_takedown

_UP_TO_FIT = (Stage.LANDMARKS, Stage.IMAGE)
_AFTER_FIT = tuple(
    stage
    for stage in STAGES
    if stage not in (Stage.SOURCE, Stage.TRIM, *_UP_TO_FIT, Stage.FIT, *POOLED_STAGES)
)


@dataclass(slots=True)
class _Clip:
    """An annotated clip in work: the row that was there, the one that is being made, and what is still to do."""

    annotation: Annotation
    before: ClipRow | None
    row: ClipRow
    todo: set[Stage]
    rests: bool = False
    """The row is not of what is annotated now, and stays as it is."""
    work: ClipInWork | None = None

    def fail(self, error: Exception, stage: Stage) -> None:
        reason = as_clip_error(error, self.annotation.clip_id, stage)
        self.row.status = "failed"
        self.row.error_code, self.row.error_message = str(reason.code), reason.message
        self.row.stage = str(reason.stage)

    @property
    def failed(self) -> bool:
        return self.row.status == "failed"


@dataclass(slots=True)
class VideoInWork:
    """A source video that this process has claimed, with its source where that is needed and could be had."""

    video: AnnotatedVideo
    claim: ExitStack
    clips: list[_Clip] = field(default_factory=list)
    source: DownloadedVideo | ClipError | None = None
    """None where no clip needs the source."""
    elsewhere: bool = False
    """Another process works on the video."""


@dataclass(frozen=True, slots=True)
class VideoOutcome:
    """What became of a source video's annotated clips, and how far they are behind what was wanted."""

    ok: int
    failed: int
    kept: int = 0
    """Clips that keep an earlier outcome, since what was tried failed."""
    elsewhere: int = 0
    """1 where another process works on the video: the outcome is its own."""


@dataclass(slots=True)
class VideoBuilder:
    """Builds source videos; models are loaded when first needed and kept.

    Parameters
    ----------
    settings
        Of the build.
    wanted
        Fingerprint of each stage that is to be done.
    stored
        What the dataset holds of the videos.
    yt_dlp
        The process that downloads are forked from; None starts one for each.
    """

    settings: BuildSettings
    wanted: Mapping[Stage, str]
    stored: StoredClips
    yt_dlp: ForkServer | None = None
    cpu: CpuTime = field(default_factory=CpuTime)
    """What the stages have taken."""
    _wanted: Wanted = field(init=False)
    _stages: ClipStages = field(init=False)
    _versions: StageVersions = field(init=False)

    def __post_init__(self) -> None:
        self._wanted = Wanted.by(self.settings, self.wanted)
        self._stages = ClipStages(self.settings)
        self._versions = StageVersions(self.settings)

    def fetch(self, video: AnnotatedVideo) -> VideoInWork:
        """Claim a source video, see what its clips need, and fetch the source if they need it.

        May run in another thread than `build`, ahead of it.
        """
        work = VideoInWork(video, ExitStack())
        ours = work.claim.enter_context(claim_video(self.settings.root, video.language, video.file_id))
        if not ours:
            work.elsewhere = True
            return work
        before = self.stored.rows(video.language, video.file_id)
        work.clips = [self._clip(annotation, video, before) for annotation in video.annotations]
        self._refuse_removed(work)
        if any(Stage.TRIM in clip.todo for clip in work.clips):
            cut = [clip.annotation for clip in work.clips if Stage.TRIM in clip.todo]
            intervals = [(annotation.start_sec, annotation.end_sec) for annotation in cut]
            rows = [clip.before for clip in work.clips if clip.before is not None]
            wanted = self.wanted[Stage.SOURCE]
            with self.cpu.measured_thread(Stage.SOURCE):
                work.source = fetch_source(video, intervals, rows, wanted, self.settings, self.yt_dlp)
        return work

    def build(self, work: VideoInWork, progress: Callable[[], None]) -> VideoOutcome:
        """Take a fetched source video through its stages, commit it, and let go of it.

        Parameters
        ----------
        work
            From `fetch`.
        progress
            Called twice for every clip, so that whoever watches knows a slow video from a hung one.
        """
        with work.claim:
            if work.elsewhere:
                return VideoOutcome(0, 0, elsewhere=1)
            with self.cpu.measured(Stage.TRIM):
                self._trim(work)
            for clip in work.clips:
                self._do_stages(clip, _UP_TO_FIT)
                progress()
            self._fit(work.clips)
            for clip in work.clips:
                self._do_stages(clip, _AFTER_FIT)
                progress()
            self._do_pooled_stages(work.clips)
            if not self.settings.keep_raw and work.source is not None:
                # Before the video counts as done: nobody would come back for a file that a kill left here.
                source_path(work.video, self.settings).unlink(missing_ok=True)
            with self.cpu.measured(COMMIT):
                return self._commit(work)

    def _refuse_removed(self, work: VideoInWork) -> None:
        """Leave nothing to do for clips on the take-down list: nothing is fetched for what becomes tombstones."""
        listed = read_takedown(self.settings.root)
        for clip in work.clips:
            reason = listed.reason(work.video.file_id, clip.annotation.clip_id)
            if reason is not None:
                message = f"{clip.annotation.clip_id} is on the take-down list takedown.txt: {reason}"
                clip.todo = set()
                clip.fail(ClipError(ErrorCode.REMOVED, message, Stage.SOURCE), Stage.SOURCE)

    def give_up(self, video: AnnotatedVideo, error: ClipError) -> VideoOutcome:
        """Commit a source video under which worker processes died: rows that failed, or what was there before."""
        with ExitStack() as claim:
            if not claim.enter_context(claim_video(self.settings.root, video.language, video.file_id)):
                return VideoOutcome(0, 0, elsewhere=1)
            before = self.stored.rows(video.language, video.file_id)
            clips = [self._clip(annotation, video, before) for annotation in video.annotations]
            for clip in clips:
                if clip.todo:
                    clip.fail(error, error.stage)
            drop_source(video, self.settings)  # before the video counts as done: nobody comes back for it
            return self._commit(VideoInWork(video, claim, clips))

    # What a clip needs

    def _clip(self, annotation: Annotation, video: AnnotatedVideo, rows: Mapping[str, ClipRow]) -> _Clip:
        before = rows.get(annotation.clip_id)
        if (
            before is not None
            and is_kept_or_removed(before)
            and stands(before, annotation, video, self._wanted)
        ):
            return _Clip(annotation, before, copy(before), set(), rests=True)
        places = (paths.clip_path, paths.audio_path)
        is_cut = all(
            place(self.settings.root, video.language, annotation.clip_id).is_file() for place in places
        )
        todo = stages_to_do(annotation, before, video, self._wanted, is_cut=is_cut)
        return _Clip(annotation, before, new_row(annotation, video, before, todo), todo)

    # Source and clip

    def _trim(self, work: VideoInWork) -> None:
        """Cut the clips that need it into the staging folder; show the others where they are."""
        root, video = self.settings.root, work.video
        for clip in work.clips:
            if Stage.TRIM not in clip.todo and not clip.rests:
                name = clip.annotation.clip_id
                picture = paths.clip_path(root, video.language, name)
                clip.work = self._work(clip, picture, paths.audio_path(root, video.language, name))
        to_cut = [clip for clip in work.clips if Stage.TRIM in clip.todo]
        if isinstance(work.source, ClipError):
            for clip in to_cut:
                self._done(clip, Stage.SOURCE)
                clip.fail(work.source, Stage.SOURCE)
                clip.row.source_url = video.source_url
        elif work.source is not None:
            self._cut(work, work.source, to_cut)

    def _cut(self, work: VideoInWork, source: DownloadedVideo, clips: Sequence[_Clip]) -> None:
        video = work.video
        staging = staging_folder(self.settings.root, video.language, video.file_id)
        requests = [
            TrimRequest(
                clip.annotation,
                paths.clip_path(staging, video.language, clip.annotation.clip_id),
                paths.audio_path(staging, video.language, clip.annotation.clip_id),
            )
            for clip in clips
        ]
        results: Sequence[TrimResult | ClipError]
        try:
            results = trim_clips(source.path, source.video, requests, self.settings.trim)
        except Exception as error:
            results = [as_clip_error(error, video.file_id, Stage.TRIM)] * len(clips)
        for clip, result in zip(clips, results, strict=True):
            row = clip.row
            row.source_url = video.source_url
            row.source_width, row.source_height = source.video.width, source.video.height
            row.source_fps = source.video.fps
            row.source_audio_language = source.audio_language
            self._done(clip, Stage.SOURCE)
            self._done(clip, Stage.TRIM)
            if isinstance(result, ClipError):
                clip.fail(result, Stage.TRIM)
                continue
            row.clip_path = result.clip_path.relative_to(staging).as_posix()
            row.audio_path = result.audio_path.relative_to(staging).as_posix()
            row.frame_count, row.duration_sec = result.frame_count, result.duration_sec
            row.source_scale, row.clip_sha256 = result.source_scale, result.clip_sha256
            row.audio_xxh3 = file_xxh3(result.audio_path)
            clip.work = self._work(clip, result.clip_path, result.audio_path)

    def _work(self, clip: _Clip, picture: Path, sound: Path) -> ClipInWork:
        work = ClipInWork(clip.annotation, clip.row, picture, sound)
        work.wants_words = Stage.TRANSCRIPT in clip.todo
        if clip.before is not None and Stage.LANDMARKS not in clip.todo:
            row = clip.before

            def stored() -> Landmarks | None:
                found = self.stored.landmarks(row)
                return None if found is None else Landmarks(*found)

            work.stored_landmarks = stored
        return work

    # Stages

    def _do_stages(self, clip: _Clip, stages: Sequence[Stage]) -> None:
        if clip.work is None or clip.failed:
            return
        for stage in stages:
            if stage in clip.todo:
                self._done(clip, stage)
                try:
                    with self.cpu.measured(stage):
                        self._stages.do(stage, clip.work)
                except Exception as error:
                    clip.fail(error, stage)
                    return
        clip.work.frames = None

    def _fit(self, clips: Sequence[_Clip]) -> None:
        """Fit the clips of a source video, all of them where one is to be: they share a person's shape and camera.

        So a video whose clips were built one after the other ends as one that was built at once. A clip that has a
        fit is among them also if it failed at a later stage, one that could not be fitted only when it is tried again.
        """
        if not any(Stage.FIT in clip.todo and clip.work and not clip.failed for clip in clips):
            return
        together = [
            clip for clip in clips if clip.work and (not clip.failed or clip.row.motion_path is not None)
        ]
        for clip in together:
            clip.todo.add(Stage.FIT)
            self._done(clip, Stage.FIT)
        try:
            with self.cpu.measured(Stage.FIT):
                failures = self._stages.fit([clip.work for clip in together if clip.work])
        except Exception as error:
            failures = [as_clip_error(error, clip.annotation.clip_id, Stage.FIT) for clip in together]
        for clip, failure in zip(together, failures, strict=True):
            if failure is not None:
                clip.fail(failure, Stage.FIT)

    def _do_pooled_stages(self, clips: Sequence[_Clip]) -> None:
        """Do what concerns all clips of a source video together."""
        try:
            with self.cpu.measured(Stage.LANGUAGE):
                self._stages.tell_waiting_languages(_going_well(clips))
        except Exception as error:
            for clip in clips:
                if clip.work is not None and clip.work.language == "waits":
                    clip.fail(error, Stage.LANGUAGE)
        for stage in POOLED_STAGES:
            self._do_pooled(stage, [clip for clip in clips if clip.work is not None and not clip.failed])

    def _do_pooled(self, stage: Stage, clips: Sequence[_Clip]) -> None:
        """Do a pooled stage on all of a video's clips where one of them needs it: they are measured as one."""
        if not any(stage in clip.todo for clip in clips):
            return
        for clip in clips:
            clip.todo.add(stage)  # a failure must not take what is good of the others
            self._done(clip, stage)
        try:
            with self.cpu.measured(stage):
                self._stages.do_pooled(stage, _going_well(clips))
        except Exception as error:
            for clip in clips:
                clip.fail(error, stage)

    def _done(self, clip: _Clip, stage: Stage) -> None:
        """Note a stage, also one that is about to fail: with the same settings it would fail again."""
        clip.row.stage_fingerprints = {
            **(clip.row.stage_fingerprints or {}),
            str(stage): self.wanted[stage],
        }
        clip.row.tool_versions = self._versions.with_stage(clip.row.tool_versions or {}, stage)

    # Commitment

    def _commit(self, work: VideoInWork) -> VideoOutcome:
        root, video = self.settings.root, work.video
        whole = self._wanted.configuration
        rows: list[ClipRow] = []
        fitted: list[_Clip] = []
        tracked: list[_Clip] = []
        described: list[_Clip] = []
        kept = 0
        for clip in work.clips:
            if clip.todo and clip.before is not None and is_worse(clip.row, clip.before):
                rows.append(
                    with_vain_try(
                        clip.before, clip.row, try_fingerprint(clip.annotation, video, self._wanted)
                    )
                )
                self._discard(video, clip)
                kept += 1
                continue
            self._complete(clip, whole)
            rows.append(clip.row)
            # Also of a clip that failed at a later stage: it is tried again from there.
            if clip.work is not None and clip.work.motion is not None:
                fitted.append(clip)
            if clip.work is not None and clip.work.tracked_anew:
                tracked.append(clip)
            if clip.work is not None and clip.work.person is not None:
                described.append(clip)
        before = self.stored.rows(video.language, video.file_id)
        rows += [invalid_row(bad, video, before.get(bad.clip_id), whole) for bad in video.invalid]
        commit_video(
            root,
            video.language,
            video.file_id,
            rows,
            motion_rows=[clip.work.motion_row() for clip in fitted if clip.work],
            landmark_rows=[clip.work.landmarks_row() for clip in tracked if clip.work]
            if self.settings.keep_landmarks
            else [],
            person_rows=[clip.work.person_row() for clip in described if clip.work],
            keep_motion={row.clip_id for row in rows if row.motion_path},
            keep_landmarks={row.clip_id for row in rows if row.landmarks_xxh3},
            keep_persons={row.clip_id for row in rows if row.persons_xxh3},
            fingerprint=whole,
        )
        failed = sum(row.status == "failed" for row in rows)
        return VideoOutcome(len(rows) - failed, failed, kept)

    def _complete(self, clip: _Clip, whole: str) -> None:
        row = clip.row
        if clip.todo or clip.before is None:
            row.attempts = (clip.before.attempts if clip.before else 0) + 1
            row.config_fingerprint = whole

    def _discard(self, video: AnnotatedVideo, clip: _Clip) -> None:
        """Delete what a failed try has cut: the earlier clip stays in its place."""
        staging = staging_folder(self.settings.root, video.language, video.file_id)
        for place in (paths.clip_path, paths.audio_path):
            place(staging, video.language, clip.annotation.clip_id).unlink(missing_ok=True)


def _going_well(clips: Sequence[_Clip]) -> list[ClipInWork]:
    return [clip.work for clip in clips if clip.work is not None and not clip.failed]

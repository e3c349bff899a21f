"""What the dataset's Parquet files hold: every column once, with its type, meaning, unit and range.

Three kinds of files share these rules: the manifest (one row per annotated clip), motion and landmarks (one
row per fitted clip). Each file carries its full declared schema, because readers take the first file's
columns for everyone's and lose a later column without a word, and the schema's version in its metadata.
Floats are float32, except times and boxes, which keep the annotation's digits.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

from multitalk.ground.arkit_names import ARKIT

SCHEMA_VERSION = 3
"""Raised with every change that `multitalk.manifests.migrations` must know of."""

VERSION_KEY = b"multitalk.schema_version"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a file, as its schema and docs/columns.md show it."""

    name: str
    type: pa.DataType
    meaning: str
    unit: str = ""
    """Unit of the numbers; empty for text and counts of nothing in particular."""
    range: str = ""
    """Values it can take, as an interval or a set; empty where anything goes."""
    how: str = ""
    """How it is measured, where the meaning does not say."""
    nullable: bool = True
    optional: bool = False
    """Whether a motion row may lack it."""
    names: tuple[str, ...] = ()
    """Of a frame's numbers, where they are ARKit's weights."""
    metadata: dict[bytes, bytes] = field(init=False)

    def __post_init__(self) -> None:
        texts = {"meaning": self.meaning, "unit": self.unit, "range": self.range, "how": self.how}
        texts["arkit"] = ",".join(self.names)
        encoded = {key.encode(): text.encode() for key, text in texts.items() if text}
        object.__setattr__(self, "metadata", encoded)

    @property
    def arrow(self) -> pa.Field:
        """The Arrow field with its metadata."""
        return pa.field(self.name, self.type, nullable=self.nullable, metadata=self.metadata)


TEXT = pa.string()
F32, F64, I32 = pa.float32(), pa.float64(), pa.int32()
PERCENTILES = pa.list_(F32)
FRAMES = pa.list_(pa.list_(F32))
BOX = pa.struct([(side, F64) for side in ("top", "bottom", "left", "right")])
WORDS = pa.list_(pa.struct([("word", TEXT), ("start_sec", F32), ("end_sec", F32)]))
# Arrow's own layout of a map, without the label: HF datasets can not open a file with a map in it.
TEXT_MAP = pa.list_(pa.struct([("key", TEXT), ("value", TEXT)]))

STAGES = (
    "source",
    "trim",
    "landmarks",
    "image",
    "text",
    "fit",
    "speech",
    "language",
    "transcript",
    "video_language",
    "sync",
    "speaking",
    "persons",
)
"""The steps of a clip's way that have a fingerprint of their own, in their order."""
DEPENDENT_STAGES: dict[str, tuple[str, ...]] = {
    **{stage: STAGES[number + 1 :] for number, stage in enumerate(STAGES)},
    "landmarks": ("image", "text", "fit", "sync", "speaking", "persons"),
    "image": (),
    "text": (),
    "fit": (),
    "speech": ("language", "transcript", "video_language", "sync", "speaking", "persons"),
    "language": ("transcript", "video_language"),
    "transcript": (),
    "video_language": (),
    "sync": (),
    "speaking": (),
}
"""What is done again after a stage: all that may stand on what it leaves."""
FINGERPRINTS = pa.struct([(stage, TEXT) for stage in STAGES])
HEX_128 = "32 hex digits"

POSE = "5th, 50th, 95th percentile; 0 faces the camera"
IOD = "inter-ocular distances"

GROUPS: dict[str, tuple[Column, ...]] = {
    "Identity": (
        Column("clip_id", TEXT, "the annotation's key", nullable=False),
        Column("video_id", TEXT, "source video; names the fragment that holds the row", nullable=False),
        Column(
            "language",
            TEXT,
            "language of the annotation",
            how="of the folder `language=...`; the files in it do not repeat it",
            nullable=False,
        ),
        Column("source_url", TEXT, "where the source video was fetched"),
    ),
    "Annotation": (
        Column("start_sec", F64, "start of the interval in the source video", "s", ">= 0"),
        Column("end_sec", F64, "end of the interval in the source video", "s", "> start_sec"),
        Column("start_frame", I32, "start of the interval on the 25 fps grid", "frames", ">= 0"),
        Column("bbox", BOX, "annotated face box, as shares of the source frame", "", "0..1"),
        Column("transcript", TEXT, "annotated transcript"),
    ),
    "Outcome": (
        Column("status", TEXT, "what became of the clip", "", "ok, failed", nullable=False),
        Column("error_code", TEXT, "why it failed, from a closed set; null when ok"),
        Column("error_message", TEXT, "what happened, to which file or clip, what to do"),
        Column("stage", TEXT, "stage that failed; null when ok"),
        Column("attempts", I32, "times the source video was tried, in all runs", "", ">= 0"),
    ),
    "Media": (
        Column("clip_path", TEXT, "the clip's video, relative to the root"),
        Column("audio_path", TEXT, "the clip's sound, relative to the root"),
        Column("frame_count", I32, "frames of the clip; null before trimming", "frames", ">= 1"),
        Column("duration_sec", F64, "frame_count / 25", "s", "> 0"),
        Column("source_width", I32, "width of the source video as shown", "px", ">= 1"),
        Column("source_height", I32, "height of the source video as shown", "px", ">= 1"),
        Column("source_fps", F64, "frame rate of the source video", "1/s", "> 0"),
        Column("source_scale", F32, "512 / side of the crop; above 1 the picture was enlarged", "", "> 0"),
        Column("source_audio_language", TEXT, "language that the source declares for its audio track"),
        Column("clip_sha256", TEXT, "SHA-256 of the clip's video", "", "64 hex digits"),
        Column("audio_xxh3", TEXT, "checksum (XXH3) of the clip's sound", "", HEX_128, "bytes of the file"),
        Column(
            "landmarks_xxh3",
            TEXT,
            "checksum (XXH3) of the clip's landmarks; null where they were not kept",
            "",
            HEX_128,
            "numbers of its row, however they are stored",
        ),
        Column(
            "persons_xxh3",
            TEXT,
            "checksum (XXH3) of what describes the clip's face and voice; null where that is not kept",
            "",
            HEX_128,
            "numbers of its row, however they are stored",
        ),
    ),
    "Face metrics": (
        Column(
            "face_coverage",
            F32,
            "share of frames with the tracked face",
            "",
            "0..1",
            "frames in which it was seen",
        ),
        Column(
            "face_count_max",
            I32,
            "most faces that last",
            "faces",
            ">= 0",
            "by three frames and 2% of them at least, so that a mistake of the detector does not count",
        ),
        Column(
            "face_size_px",
            F32,
            "inter-ocular distance in the clip",
            "px",
            "0..512",
            "outer eye corners, median",
        ),
        Column(
            "yaw_deg", PERCENTILES, "head turned to its left (right in the picture)", "deg", "-180..180", POSE
        ),
        Column("pitch_deg", PERCENTILES, "head looks up", "deg", "-90..90", POSE),
        Column(
            "roll_deg",
            PERCENTILES,
            "head tilted to its right shoulder (counter-clockwise in the picture)",
            "deg",
            "-180..180",
            POSE,
        ),
        Column(
            "sharpness",
            F32,
            "sharpness of the face",
            "",
            "0..1",
            "falls with blur, also of enlarging; median",
        ),
        Column("brightness", F32, "brightness of the face", "", "0..1", "mean luma, median over frames"),
        Column(
            "landmark_jitter",
            F32,
            "landmark noise between frames",
            IOD,
            ">= 0",
            "root mean square second difference of points on bone, head motion taken out",
        ),
        Column(
            "mouth_open_range",
            F32,
            "how far the mouth opens",
            IOD,
            ">= 0",
            "gap of inner lips, 5th to 95th percentile",
        ),
        Column(
            "mouth_visibility",
            F32,
            "share of frames with the face in which nothing covers the mouth",
            "",
            "0..1",
        ),
        Column(
            "eye_visibility",
            F32,
            "share of frames with the face in which nothing covers the eyes, dark glasses for instance",
            "",
            "0..1",
        ),
        Column(
            "bbox_iou", F32, "overlap with the annotated box", "", "0..1", "intersection over union, median"
        ),
        Column("shot_changes", I32, "cuts inside the clip, jump cuts too", "", ">= 0"),
        Column(
            "text_near_face",
            F32,
            "share of the picture that is text around the lower face",
            "",
            "0..1",
            "PP-OCR's detector, median of three frames",
        ),
        Column(
            "frozen_ratio",
            F32,
            "share of frames in stretches through which nothing moves",
            "",
            "0..1",
            "landmarks that move by less than 0.001 inter-ocular distances for a fifth of a second or longer",
        ),
        Column("sharpness_p10", F32, "sharpness of the face, 10th percentile", "", "0..1"),
        Column("face_size_px_p10", F32, "inter-ocular distance, 10th percentile", "px", "0..512"),
        Column("unseen_run", I32, "longest stretch without the face", "frames", ">= 0"),
        Column("blurred_run", I32, "longest stretch with a sharpness below 0.35", "frames", ">= 0"),
        Column(
            "turned_run",
            I32,
            "longest stretch turned further than 45 degrees aside, or 35 up or down",
            "frames",
            ">= 0",
        ),
        Column("covered_run", I32, "longest stretch with something over the mouth", "frames", ">= 0"),
    ),
    "Speech metrics": (
        Column("speech_ratio", F32, "share of the sound that is speech", "", "0..1", "Silero VAD"),
        Column(
            "loudness_dbfs",
            F32,
            "RMS of the speech part, of all sound where there is none",
            "dBFS",
            "-96..0",
            "a full-scale sine has -3",
        ),
        Column("clipping_ratio", F32, "share of clipped samples", "", "0..1", "within 0.1% of full scale"),
        Column(
            "snr_db",
            F32,
            "signal-to-noise ratio",
            "dB",
            "-20..60",
            "power of speech against that of the rest",
        ),
        Column(
            "detected_language",
            TEXT,
            "most probable spoken language, by our name (`mandarin`)",
            "",
            "",
            "Whisper, speech part only",
        ),
        Column("detected_language_probability", F32, "its probability", "", "0..1", "Whisper"),
        Column(
            "annotated_language_probability",
            F32,
            "probability of the annotated language",
            "",
            "0..1",
            "Whisper",
        ),
        Column(
            "video_language",
            TEXT,
            "most probable language spoken in all clips of the source video together",
            "",
            "",
            "Whisper, up to 30 s of their speech",
        ),
        Column("video_language_probability", F32, "its probability", "", "0..1", "Whisper"),
        Column(
            "video_annotated_language_probability",
            F32,
            "probability of the annotated language in all clips of the source video together",
            "",
            "0..1",
            "Whisper",
        ),
        Column("recognised_transcript", TEXT, "what speech recognition heard", "", "", "Whisper"),
        Column(
            "transcript_cer",
            F32,
            "character error rate of the part of what was heard that the annotated transcript covers",
            "",
            "0..1",
            "after the normalisation of each script in multitalk.filters.transcript",
        ),
        Column(
            "transcript_coverage",
            F32,
            "share of what was heard that the annotated transcript covers",
            "",
            "0..1",
            "letters of the part that it matches best; null where nothing was heard",
        ),
        Column(
            "words",
            WORDS,
            "recognised words, each with its start and end",
            "s of the clip",
            "",
            "Whisper's attention to the sound, good to about 0.1 s; characters in scripts without spaces",
        ),
    ),
    "Sync metrics": (
        Column(
            "av_correlation",
            F32,
            "correlation of the mouth with its prediction from the spectrum",
            "",
            "-1..1",
            "at the best offset; mostly above 0.35 where sound and lips belong together, below 0.2 where not",
        ),
        Column(
            "av_offset_frames",
            I32,
            "best offset; positive where the sound comes after the lips",
            "frames",
            "-15..15",
            "drawn to the video's; without meaning where av_correlation is low",
        ),
        Column(
            "av_confidence",
            F32,
            "how far the correlation can be trusted",
            "",
            "0..1",
            "1 - exp(-s / 4), s seconds in which speech is heard and the mouth moves",
        ),
        Column(
            "video_av_correlation",
            F32,
            "the same correlation over all clips of the source video, at its best offset",
            "",
            "-1..1",
            "0.36 and more where sound and lips belong together, in 97% below 0.27 where not",
        ),
        Column("video_av_offset_frames", I32, "that offset", "frames", "-15..15"),
        Column(
            "video_speech_sec",
            F32,
            "what both stand on",
            "s",
            ">= 0",
            "speech heard while the mouth is tracked, in all clips of the source video",
        ),
        Column(
            "video_sync",
            TEXT,
            "whether sound and lips of the source video belong together",
            "",
            "yes, no, unknown",
            "no: too low, or at an offset outside -1..4 frames; unknown: less than 4 s of speech",
        ),
        Column(
            "speaking_score",
            F32,
            "logit difference, speaking less silent; above 0 the face speaks",
            "",
            "",
            "LR-ASD, mean of frames",
        ),
    ),
    # Told over all videos at once, of what lies in `persons/`; never by a stage.
    "Persons": (
        Column(
            "person_id",
            TEXT,
            "who is seen: the first clip, by video and clip, in which the person is; null where that is not told",
            how="faces, with a little help of voices, clustered over all videos",
        ),
        Column(
            "voice_faces",
            I32,
            "persons with whom the clip's voice is heard in its video; above 1 the voice is dubbed or a narrator's",
            "persons",
            ">= 1",
            "null below 3 s of speech; 2 also where the very sound is heard under another face elsewhere",
        ),
        Column(
            "repeat_of",
            TEXT,
            "clip of another source video with the same recording, less enlarged; null where there is none",
            "",
            "",
            "prints of the sound, of one person, for half of the clip at least",
        ),
    ),
    "Fit metrics": (
        Column("fit_landmark_error", F32, "mean landmark error of the fit", IOD, ">= 0"),
        Column("fit_landmark_error_lips", F32, "the same over the lips", IOD, ">= 0"),
        Column(
            "fit_jitter",
            F32,
            "how far the fitted face trembles",
            IOD,
            ">= 0",
            "standard deviation of white noise with the fitted landmarks' fourth differences, median over frames; "
            "motion hardly counts",
        ),
        Column("fit_landmark_error_p90", F32, "landmark error of the fit, 90th percentile", IOD, ">= 0"),
        Column("misfit_run", I32, "longest stretch with an error above 0.03", "frames", ">= 0"),
        Column("head_model", TEXT, "name and hash of the fitted head model"),
        Column("motion_path", TEXT, "Parquet file with the clip's motion, relative to the root"),
        Column(
            "motion_xxh3",
            TEXT,
            "checksum (XXH3) of the clip's motion",
            "",
            HEX_128,
            "numbers of its row, however they are stored",
        ),
    ),
    # What was last tried in vain on a clip whose row is of an earlier outcome; null where the row is what was
    # last tried.
    "History": (
        Column(
            "last_try_at",
            pa.timestamp("us", tz="UTC"),
            "when something was last tried in vain, after which the row stayed as it was; null where the row is"
            " what was last tried",
            "UTC",
        ),
        Column("last_try_stage", TEXT, "stage that failed then"),
        Column("last_try_error_code", TEXT, "why it failed then, from a closed set"),
        Column("last_try_error_message", TEXT, "what happened then, and what to do"),
        Column("last_try_fingerprint", TEXT, "hash of the configuration that was tried then"),
    ),
    "Provenance": (
        Column("config_fingerprint", TEXT, "hash of the configuration that made the row", nullable=False),
        Column(
            "stage_fingerprints",
            FINGERPRINTS,
            "hash of the configuration of each stage as it was done; null where it was not",
        ),
        Column("tool_versions", TEXT_MAP, "versions of the tools that made the row, by name"),
        Column("created_at", pa.timestamp("us", tz="UTC"), "when the row was made", "UTC"),
    ),
    "Policy": (
        Column("accepted", pa.bool_(), "verdict of the last policy; null before any"),
        Column("rejected_by", pa.list_(TEXT), "rules the clip fails; null before any policy"),
    ),
}
"""The manifest's columns by group, in the order in which they lie in the file."""

MOTION_COLUMNS = (
    Column("clip_id", TEXT, "the annotation's key", nullable=False),
    Column("head_model", TEXT, "name and hash of the head model that decodes the row", nullable=False),
    Column("fps", F32, "frame rate", "1/s", "25"),
    Column("shape", pa.list_(F32), "S identity coefficients", "standard deviations"),
    Column(
        "expression",
        FRAMES,
        "T x E expression coefficients; on `anny` ARKit's 52 weights in Apple's order, each 0..1",
        "standard deviations",
        names=ARKIT,
    ),
    Column("jaw", FRAMES, "T x 3 axis-angle of the jaw", "rad"),
    Column("eyes", FRAMES, "T x 6 axis-angle of left and right eyeball", "rad"),
    Column("rotation", FRAMES, "T x 3 axis-angle of the head", "rad"),
    Column("translation", FRAMES, "T x 3 position of the head before the camera", "m"),
    Column("camera", pa.list_(F32), "focal length, principal point x and y", "px"),
    Column("valid", pa.list_(pa.bool_()), "T: landmarks supported the frame"),
    Column("residual", pa.list_(F32), "T landmark errors, of inter-ocular distance; NaN where not valid"),
    Column(
        "correction",
        FRAMES,
        "T x C what expression weights cannot reach; null where the head model has no such directions",
        "standard deviations",
        optional=True,
    ),
    Column(
        "confidence",
        FRAMES,
        "T x 2: how sure it is that mouth and eyes are seen, not covered; null in files of earlier versions",
        "",
        "0..1",
        optional=True,
    ),
)

LANDMARK_COLUMNS = (
    Column("clip_id", TEXT, "the annotation's key", nullable=False),
    Column(
        "landmarks",
        pa.list_(pa.list_(pa.float16())),
        "T x 1434: MediaPipe's 478 points as x, y, z, x, y, z, ...; or T x 204: iBUG's 68; NaN where not valid",
        "px of the 512 px clip",
    ),
    Column("valid", pa.list_(pa.bool_()), "T: the face was tracked, or a short gap interpolated"),
    Column(
        "confidence",
        pa.list_(pa.list_(pa.float16())),
        "T x 2: how sure it is that mouth and eyes are seen, not covered; null in files of earlier versions",
        "",
        "0..1",
        optional=True,
    ),
)

PERSON_COLUMNS = (
    Column("clip_id", TEXT, "the annotation's key", nullable=False),
    Column(
        "face",
        pa.list_(F32),
        "128 numbers that describe the face; those of one person are less than about 0.5 apart",
        how="dlib's network, mean of three frames",
        optional=True,
    ),
    Column(
        "voice",
        pa.list_(F32),
        "256 numbers of length 1 that describe the voice; null below 0.8 s of speech",
        how="GE2E, mean over windows of 1.6 s",
        optional=True,
    ),
    Column("voice_sec", F32, "speech that was heard", "s", ">= 0"),
    Column(
        "sound_print",
        pa.list_(pa.uint32()),
        "T numbers of 32 bits, by which the same recording is found again",
        how="signs of differences of energy in 33 bands, between bands and frames",
    ),
)
"""What lies in `persons/`: it tells who people are, and is never exported."""

OPTIONAL = frozenset(
    column.name for column in (*MOTION_COLUMNS, *LANDMARK_COLUMNS, *PERSON_COLUMNS) if column.optional
)
"""Columns that a row of motion, landmarks or persons may lack."""


def _schema(columns: tuple[Column, ...]) -> pa.Schema:
    return pa.schema([column.arrow for column in columns], {VERSION_KEY: str(SCHEMA_VERSION).encode()})


MANIFEST_COLUMNS = tuple(column for columns in GROUPS.values() for column in columns)
MANIFEST = _schema(MANIFEST_COLUMNS)
# Readers make the hive folder `language=...` a column of their own, each of another type, and pyarrow.dataset and
# Dask refuse files that have a column of that name as well.
MANIFEST_FILE = _schema(tuple(column for column in MANIFEST_COLUMNS if column.name != "language"))
"""What lies in a manifest file: its folder has the language."""
MOTION = _schema(MOTION_COLUMNS)
LANDMARKS = _schema(LANDMARK_COLUMNS)
PERSONS = _schema(PERSON_COLUMNS)

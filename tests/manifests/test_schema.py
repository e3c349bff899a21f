"""The schema says of every column what it is, and has exactly the contract's columns."""

from dataclasses import fields

import pyarrow as pa

from multitalk.manifests.clip_row import ClipRow
from multitalk.manifests.columns import columns_markdown
from multitalk.manifests.schema import LANDMARKS, MANIFEST, MANIFEST_COLUMNS, MANIFEST_FILE, MOTION, STAGES

CONTRACT = """
clip_id video_id language source_url start_sec end_sec start_frame bbox transcript status error_code
error_message stage attempts clip_path audio_path frame_count duration_sec source_width source_height
source_fps source_scale source_audio_language clip_sha256 audio_xxh3 landmarks_xxh3 persons_xxh3 face_coverage
face_count_max face_size_px yaw_deg pitch_deg roll_deg sharpness brightness landmark_jitter mouth_open_range
mouth_visibility eye_visibility bbox_iou shot_changes text_near_face frozen_ratio sharpness_p10 face_size_px_p10
unseen_run blurred_run turned_run
covered_run speech_ratio loudness_dbfs clipping_ratio snr_db detected_language
detected_language_probability annotated_language_probability video_language video_language_probability
video_annotated_language_probability recognised_transcript transcript_cer transcript_coverage words
av_correlation av_offset_frames av_confidence video_av_correlation video_av_offset_frames video_speech_sec
video_sync speaking_score person_id voice_faces repeat_of fit_landmark_error fit_landmark_error_lips
fit_jitter fit_landmark_error_p90 misfit_run
head_model motion_path motion_xxh3 last_try_at last_try_stage last_try_error_code
last_try_error_message last_try_fingerprint config_fingerprint stage_fingerprints tool_versions created_at
accepted rejected_by
"""

MOTION_CONTRACT = (
    "clip_id head_model fps shape expression jaw eyes rotation translation camera valid residual correction"
    " confidence"
)


def test_the_columns_are_those_of_the_contract_in_its_order():
    assert MANIFEST.names == CONTRACT.split()
    assert MOTION.names == MOTION_CONTRACT.split()
    assert LANDMARKS.names[:2] == ["clip_id", "landmarks"]


def test_files_do_not_repeat_the_language_of_their_folder():
    assert MANIFEST_FILE.names == [name for name in MANIFEST.names if name != "language"]


def test_a_row_has_a_field_for_every_column_in_the_same_order():
    assert [field.name for field in fields(ClipRow)] == MANIFEST.names
    assert list(MANIFEST.field("stage_fingerprints").type.names) == list(STAGES)


def test_every_column_is_documented_and_every_metric_has_a_range_or_a_method():
    for field in (*MANIFEST, *MOTION, *LANDMARKS):
        assert field.metadata[b"meaning"]
    for column in MANIFEST_COLUMNS:
        if pa.types.is_floating(column.type):
            assert column.range or column.how, column.name


def test_the_documentation_has_a_line_for_every_column():
    text = columns_markdown()
    for name in {*MANIFEST.names, *MOTION.names, *LANDMARKS.names}:
        assert f"| `{name}` | " in text
    assert "| `yaw_deg` | list of float32 | head turned to its left (right in the picture) (5th, 50th" in text
    assert "| `tool_versions` | list of struct key, value |" in text

"""The demo's videos must look and sound real enough for the models that measure them."""

import json
from itertools import pairwise

import numpy as np
import pytest

from multitalk.assets.fetch import find
from multitalk.extract.annotations import read_annotations
from multitalk.extract.errors import ErrorCode
from multitalk.flows.demo.articulation import articulate
from multitalk.flows.demo.portrait import FACE_BOX, HEAD_CENTRE, SCALE, Look, Portrait, Pose
from multitalk.flows.demo.sentences import SCRIPTS
from multitalk.flows.demo.speech import SAMPLE_RATE, Sentence, synthesise
from multitalk.flows.demo.video_file import write_demo_video

pytest.importorskip("espeakng_loader", reason="the extra `demo` is not installed")
pytest.importorskip("skimage", reason="the extra `demo` is not installed")

LOOKS = [
    Look(),
    Look(mirrored=True, brightness=1.12, width=0.94),
    Look(brightness=0.8, warmth=1.12, width=1.06),
]
INNER_LIPS, EYE_CORNERS = [13, 14], [33, 263]


@pytest.fixture(scope="module")
def detect():
    """Return a function from an RGB image to the faces' points (478, 2) in pixels."""
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    model = find("face_landmarker")
    if model is None:
        pytest.skip("face_landmarker.task is not here: multitalk assets fetch face_landmarker")
    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(model)), num_faces=3, min_face_detection_confidence=0.5
    )
    with vision.FaceLandmarker.create_from_options(options) as landmarker:

        def faces(pixels):
            image = mediapipe.Image(
                image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(pixels, np.uint8)
            )
            found = landmarker.detect(image).face_landmarks
            size = np.array(pixels.shape[1::-1])
            return [np.array([[point.x, point.y] for point in face]) * size for face in found]

        yield faces


def lip_gap(points):
    """Distance of the inner lips as a share of the inter-ocular distance."""
    upper, lower = points[INNER_LIPS]
    right, left = points[EYE_CORNERS]
    return np.linalg.norm(upper - lower) / np.linalg.norm(right - left)


# The portrait


@pytest.mark.parametrize("look", LOOKS)
def test_lips_are_seen_to_part_as_far_as_they_are_told(detect, look):
    portrait = Portrait(look)
    openings = np.array([0, 0.5, 0.1, 0.9, 0.3, 0.7, 0.05, 1.0])
    gaps = []
    for opening, roll in zip(openings, np.linspace(-2, 2, len(openings)), strict=True):
        [face] = detect(portrait.frame(opening, 0.3 * opening, Pose((10, -5), roll, 1.02)))
        gaps.append(lip_gap(face))
    assert np.corrcoef(openings, gaps)[0, 1] > 0.97
    assert gaps[0] < 0.02
    assert max(gaps) > 0.15


def test_mouth_is_seen_to_narrow(detect):
    portrait = Portrait(Look())
    [broad], [narrow] = (detect(portrait.frame(0.4, narrowing, Pose())) for narrowing in (0.0, 1.0))
    width = [np.linalg.norm(face[61] - face[291]) for face in (broad, narrow)]
    assert width[1] < 0.93 * width[0]


def test_only_the_lower_face_moves_with_the_mouth():
    portrait = Portrait(Look())
    closed, wide = (portrait.frame(opening, 0.5, Pose()).astype(int) for opening in (0.0, 1.0))
    changed = np.abs(closed - wide).max(axis=2) > 0
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert rows[0] > 360 + (125 - HEAD_CENTRE[1]) * SCALE  # below the nose's bridge
    assert columns[0] > 640 - 48 * SCALE
    assert columns[-1] < 640 + 50 * SCALE


def test_no_seam_around_the_moving_part():
    """Across the moving region's border the picture is as smooth as the still picture is there."""
    portrait = Portrait(Look())
    still = portrait.frame(0.41, 0.0, Pose()).astype(int)  # about the picture itself
    moved = portrait.frame(1.0, 1.0, Pose()).astype(int)
    for column in (640 + round((edge - HEAD_CENTRE[0]) * SCALE) for edge in (178, 270)):
        window = np.s_[420:700, column - 3 : column + 4]
        steps = [np.abs(np.diff(frame[window], axis=1)).max(axis=2) for frame in (still, moved)]
        assert np.percentile(steps[1], 99) <= np.percentile(steps[0], 99) + 12


def test_face_lies_in_the_annotated_box(detect):
    [face] = detect(Portrait(Look()).frame(1.0, 0.0, Pose()))
    left, top, right, bottom = FACE_BOX
    assert face[:, 0].min() > 640 + (left - HEAD_CENTRE[0]) * SCALE
    assert face[:, 0].max() < 640 + (right - HEAD_CENTRE[0]) * SCALE
    assert face[:, 1].min() > 360 + (top - HEAD_CENTRE[1]) * SCALE
    assert face[:, 1].max() < 360 + (bottom - HEAD_CENTRE[1]) * SCALE


# Articulation


def test_mouth_follows_the_syllables():
    """Three bursts of a vowel-like tone: open in them, closed between them."""
    time = np.arange(SAMPLE_RATE * 3) / SAMPLE_RATE
    vowel = sum(np.sin(2 * np.pi * harmonic * 130 * time) / harmonic for harmonic in range(1, 12))
    speech = (vowel * ((time % 1) < 0.5) * 0.3).astype(np.float32)
    movement = articulate(speech, SAMPLE_RATE, 75, 25)
    phase = (np.arange(75) / 25) % 1
    assert movement.opening[(phase > 0.1) & (phase < 0.4)].min() > 0.3
    assert movement.opening[(phase > 0.6) & (phase < 0.9)].max() < 0.05
    for track in (movement.opening, movement.narrowing):
        assert track.min() >= 0
        assert track.max() <= 1


def test_open_vowels_open_wider():
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE

    def formant(hertz):
        tone = np.sin(2 * np.pi * hertz * time) + 0.2 * np.sin(2 * np.pi * 1_800 * time)
        return articulate((0.3 * tone).astype(np.float32), SAMPLE_RATE, 25, 25).opening[5:20].mean()

    assert formant(750) > 1.5 * formant(300)


def test_silence_keeps_the_mouth_closed():
    movement = articulate(np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE, 25, 25)
    assert not movement.opening.any()
    assert not movement.narrowing.any()


# Speech


def test_speech_is_the_same_every_time():
    sentences = [script.short for script in SCRIPTS.values()]
    first, second = synthesise(sentences), synthesise(sentences)
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one, other)
        assert 2 < len(one) / SAMPLE_RATE < 6
        assert 0.2 < np.abs(one).max() <= 1


def test_unknown_voice_is_reported():
    with pytest.raises(RuntimeError, match="no voice 'atlantean'"):
        synthesise([Sentence("atlantean", "?")])


# Video


def test_video_has_frames_rate_and_sound_and_is_the_same_every_time(tmp_path):
    import av

    portrait = Portrait(Look())
    frames = [portrait.frame(index / 12, 0, Pose()) for index in range(12)]
    tone = np.sin(np.arange(SAMPLE_RATE // 2) / 20).astype(np.float32) * 0.5
    for name in ("one", "two"):
        write_demo_video(tmp_path / f"{name}.mp4", frames, 25, tone)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()
    with av.open(str(tmp_path / "one.mp4")) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.width, video.height, video.average_rate) == (1280, 720, 25)
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video)]
        assert audio.rate == SAMPLE_RATE
    assert len(decoded) == 12
    assert np.abs(decoded[5].astype(int) - frames[5]).mean() < 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.mp4", "two.mp4"]


def test_video_without_sound_has_no_audio_stream(tmp_path):
    import av

    write_demo_video(tmp_path / "mute.mp4", [np.zeros((720, 1280, 3), np.uint8)] * 3, 25, None)
    with av.open(str(tmp_path / "mute.mp4")) as container:
        assert len(container.streams.audio) == 0


# All of it


def decoded(path, count=None):
    import av

    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(container.streams.video[0])):
            if index == count:
                return
            yield frame.to_ndarray(format="rgb24")


def crop(frame, box):
    height, width = frame.shape[:2]
    return frame[
        int(box.top * height) : int(box.bottom * height), int(box.left * width) : int(box.right * width)
    ]


@pytest.mark.slow
def test_annotations_are_multitalks_and_complete(demo_source):
    read = read_annotations(demo_source.annotations)
    assert [broken.clip_id for broken in read.invalid] == ["enSpeaker00_2"]
    ids = {annotation.clip_id for annotation in read.annotations} | {
        broken.clip_id for broken in read.invalid
    }
    assert ids == set(demo_source.good) | {fault.clip_id for fault in demo_source.faults}
    assert len(demo_source.good) == 10
    codes = {fault.error_code for fault in demo_source.faults}
    assert codes >= {
        ErrorCode.NO_FACE,
        ErrorCode.NO_AUDIO,
        ErrorCode.CORRUPT_MEDIA,
        ErrorCode.VIDEO_UNAVAILABLE,
    }
    for path in demo_source.annotations:
        for clip in json.loads(path.read_text(encoding="utf-8")).values():
            assert clip["language"] == path.stem


@pytest.mark.slow
def test_videos_show_what_they_should(demo_source, detect):
    read = read_annotations(demo_source.annotations)
    faces = {}
    for annotation in read.annotations:
        path = demo_source.videos / f"{annotation.video_id}.mp4"
        if path.exists() and annotation.video_id != "enTruncated":
            shown = [detect(crop(frame, annotation.bbox)) for frame in decoded(path, 8)]
            faces[annotation.clip_id] = {len(found) for found in shown}
    assert all(faces[clip_id] == {1} for clip_id in demo_source.good)
    assert faces["deTwoFaces0_0"] == {2}
    assert faces["enNoFace000_0"] == {0}
    assert not (demo_source.videos / "esGone40400.mp4").exists()


@pytest.mark.slow
@pytest.mark.parametrize("video_id", ["deSpeaker00", "enSpeaker00", "jaSpeaker00"])
def test_lips_move_with_the_sound_in_the_finished_video(demo_source, detect, video_id):
    import av

    path = demo_source.videos / f"{video_id}.mp4"
    with av.open(str(path)) as container:
        fps = float(container.streams.video[0].average_rate)
        blocks = [frame.to_ndarray()[0] for frame in container.decode(container.streams.audio[0])]
    gaps = np.array([lip_gap(detect(frame)[0]) for frame in decoded(path, 120)])
    movement = articulate(np.concatenate(blocks), SAMPLE_RATE, len(gaps), fps)
    assert np.corrcoef(gaps, movement.opening)[0, 1] > 0.8


@pytest.mark.slow
def test_whisper_recognises_each_language(demo_source):
    from faster_whisper import WhisperModel, decode_audio

    folder = find("whisper_base")
    if folder is None:
        pytest.skip("Whisper base is not here: multitalk assets fetch whisper_base")
    model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=2)
    codes = {"german": "de", "english": "en", "spanish": "es", "italian": "it", "japanese": "ja"}
    probability = {}
    for annotation in read_annotations(demo_source.annotations).annotations:
        if annotation.clip_id in {*demo_source.good, "deWrongLang_0"}:
            sound = decode_audio(str(demo_source.videos / f"{annotation.video_id}.mp4"))
            start = round(annotation.start_sec * 16_000)
            clip = sound[start : round(annotation.end_sec * 16_000)]
            heard = dict(model.detect_language(clip)[2])
            probability[annotation.clip_id] = heard[codes[annotation.language]]
    assert probability.pop("deWrongLang_0") < 0.2
    assert min(probability.values()) > 0.5, probability


@pytest.mark.slow
def test_speakers_differ_and_clips_do_not_overlap(demo_source):
    first = [
        next(decoded(demo_source.videos / f"{code}Speaker00.mp4")).astype(int)
        for code in ("de", "en", "es", "it")
    ]
    for one, other in pairwise(first):
        assert np.abs(one - other).mean() > 5
    read = read_annotations(demo_source.annotations).annotations
    for one, other in pairwise([clip for clip in read if clip.clip_id in demo_source.good]):
        if one.video_id == other.video_id:
            assert one.end_sec <= other.start_sec

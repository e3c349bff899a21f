"""Annotation files: every clip ends as an annotation, or as one line that says what is wrong with it."""

import copy
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitalk.extract.annotations import (
    MAX_TRANSCRIPT_CHARACTERS,
    AnnotationFileError,
    AnnotationSet,
    is_safe_name,
    read_annotations,
)
from multitalk.ground.units import FPS

SHARED = Path(__file__).parents[3] / "shared"

GOOD = {
    "youtube_id": "QrDZjUeiUwc",
    "duration": {"start_sec": 302.8, "end_sec": 305.8},
    "bbox": {"top": 0, "bottom": 0.8, "left": 0.25, "right": 0.7},
    "language": "English",
    "transcript": "so it goes",
}


def read_text(folder: Path, text: str) -> AnnotationSet:
    path = folder / "annotations.json"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    return read_annotations([path])


def changed(*keys: str, value: object) -> dict:
    entry = copy.deepcopy(GOOD)
    target = entry
    for key in keys[:-1]:
        target = target[key]
    target[keys[-1]] = value
    return entry


def test_good_clip_is_read_with_its_whole_frames(tmp_path):
    result = read_text(tmp_path, json.dumps({"QrDZjUeiUwc_0": GOOD}))
    (clip,) = result.annotations
    assert result.invalid == ()
    assert (clip.clip_id, clip.video_id, clip.language) == ("QrDZjUeiUwc_0", "QrDZjUeiUwc", "english")
    assert (clip.start_frame, clip.frame_count) == (7570, 75)
    assert clip.bbox.as_dict() == GOOD["bbox"]
    assert clip.transcript == "so it goes"


def test_time_off_the_grid_goes_to_the_nearest_frame_and_keeps_its_seconds(tmp_path):
    entry = changed("duration", value={"start_sec": 1.01, "end_sec": 2.03})
    (clip,) = read_text(tmp_path, json.dumps({"a_0": entry})).annotations
    assert (clip.start_sec, clip.end_sec) == (1.01, 2.03)
    assert (clip.start_frame, clip.frame_count) == (25, 26)


def test_a_missing_transcript_is_an_empty_one(tmp_path):
    entry = {key: value for key, value in GOOD.items() if key != "transcript"}
    (clip,) = read_text(tmp_path, json.dumps({"a_0": entry})).annotations
    assert clip.transcript == ""


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (None, "is null, not an object"),
        ([], "is a list"),
        (changed("youtube_id", value="../../etc/passwd"), "'youtube_id' is '../../etc/passwd'"),
        (changed("youtube_id", value="a" * 129), "'youtube_id'"),
        (changed("youtube_id", value="abc\n"), "'abc\\u000a'"),
        (changed("youtube_id", value=7), "a number, not a text"),
        (changed("language", value="en/../de"), "'language'"),
        (changed("language", value=""), "'language'"),
        (changed("duration", value=None), "'duration' is null"),
        (changed("duration", "start_sec", value=-0.04), "begins before the video"),
        (changed("duration", "start_sec", value=400), "not after its beginning"),
        (changed("duration", "end_sec", value=302.81), "holds no frame"),
        (changed("duration", "end_sec", value=float("nan")), "not a finite number"),
        (changed("duration", "end_sec", value=10**5000), "not a finite number"),
        (changed("duration", "end_sec", value=1e9), "refused"),
        (changed("duration", "end_sec", value=5000), "at most 600 s"),
        (changed("duration", "end_sec", value=True), "a boolean, not a number"),
        (changed("duration", "end_sec", value="305.8"), "a text, not a number"),
        (changed("bbox", "top", value=-0.01), "leaves the frame"),
        (changed("bbox", "right", value=1.01), "leaves the frame"),
        (changed("bbox", "left", value=0.9), "reversed or empty"),
        (changed("bbox", "bottom", value=0), "reversed or empty"),
        (changed("bbox", "bottom", value=float("inf")), "not a finite number"),
        (changed("transcript", value=3), "'transcript' is a number"),
        (changed("transcript", value="x" * 10_000_000), str(MAX_TRANSCRIPT_CHARACTERS)),
        (changed("transcript", value="half \ud800"), "surrogate"),
        *(
            ({k: v for k, v in GOOD.items() if k != key}, f"'{key}' is missing")
            for key in GOOD
            if key != "transcript"
        ),
    ],
)
def test_bad_clip_becomes_one_invalid_annotation(tmp_path, entry, reason):
    text = json.dumps({"bad_0": "PLACE", "good_0": GOOD}).replace('"PLACE"', dump(entry))
    result = read_text(tmp_path, text)
    assert [clip.clip_id for clip in result.annotations] == ["good_0"]
    (invalid,) = result.invalid
    assert invalid.clip_id == "bad_0"
    assert reason in invalid.message
    assert "\n" not in invalid.message
    assert len(invalid.message) < 400


def dump(entry: object) -> str:
    """As JSON, also with integers longer than Python prints."""
    if isinstance(entry, dict) and entry.get("duration") and entry["duration"]["end_sec"] == 10**5000:
        return json.dumps(changed("duration", "end_sec", value="HUGE")).replace('"HUGE"', "1" + "0" * 5000)
    return json.dumps(entry)


def test_invalid_annotation_keeps_what_is_safe_of_video_and_language(tmp_path):
    result = read_text(tmp_path, json.dumps({"bad_0": changed("bbox", value=None)}))
    assert (result.invalid[0].video_id, result.invalid[0].language) == ("QrDZjUeiUwc", "english")
    result = read_text(tmp_path, json.dumps({"bad_0": changed("youtube_id", value="a/b")}))
    assert (result.invalid[0].video_id, result.invalid[0].language) == (None, "english")


@pytest.mark.parametrize(
    "key", ["", "..", "a/b", "a'b", 'a"; rm -rf', "a b", "ä", "a\x00", "\ud800", "k" * 5000]
)
def test_unsafe_clip_id_is_invalid_and_shown_in_print(tmp_path, key):
    result = read_text(tmp_path, json.dumps({key: GOOD}))
    (invalid,) = result.invalid
    assert result.annotations == ()
    assert len(invalid.clip_id) < 120
    assert invalid.clip_id.isprintable()
    invalid.clip_id.encode()


def test_long_bad_ids_that_begin_alike_stay_apart(tmp_path):
    result = read_text(tmp_path, json.dumps({"/" * 200 + "1": GOOD, "/" * 200 + "2": GOOD}))
    assert len({clip.clip_id for clip in result.invalid}) == 2


def test_clip_annotated_twice_alike_counts_once(tmp_path):
    entry = json.dumps(GOOD)
    result = read_text(tmp_path, f'{{"a_0": {entry}, "a_0": {entry}}}')
    assert [clip.clip_id for clip in result.annotations] == ["a_0"]


@pytest.mark.parametrize("reverse", [False, True])
def test_clip_annotated_twice_differently_is_invalid_whatever_the_order(tmp_path, reverse):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    first.write_text(json.dumps({"a_0": GOOD, "b_0": GOOD}))
    second.write_text(json.dumps({"a_0": changed("transcript", value="other")}))
    result = read_annotations([second, first] if reverse else [first, second])
    assert [clip.clip_id for clip in result.annotations] == ["b_0"]
    (invalid,) = result.invalid
    assert invalid.clip_id == "a_0"
    assert "more than once" in invalid.message


def test_key_twice_within_a_clip_is_invalid(tmp_path):
    text = json.dumps({"a_0": GOOD}).replace(
        '"language": "English"', '"language": "English", "language": "german"'
    )
    (invalid,) = read_text(tmp_path, text).invalid
    assert "'language' twice" in invalid.message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[]", "found a list"),
        (b'"text"', "found a text"),
        (b"3", "found a number"),
        (b"null", "found null"),
        (b"", "not JSON"),
        (b'{"a_0": ', "not JSON"),
        (b"\xff\xfe\x00", "not"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_wrong_top_level_is_one_clear_error(tmp_path, content, reason):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(AnnotationFileError) as caught:
        read_annotations([path])
    message = str(caught.value)
    assert message.startswith(str(path))
    assert reason in message
    assert "\n" not in message


def test_missing_file_and_folder_are_clear_errors(tmp_path):
    with pytest.raises(AnnotationFileError, match="no such annotation file"):
        read_annotations([tmp_path / "none.json"])
    with pytest.raises(AnnotationFileError, match="can not be read"):
        read_annotations([tmp_path])


def test_what_has_no_end_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")  # opening it would wait for somebody who writes
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(5_000_000_000)  # holes take no space
    for name, reason in (("pipe", "no plain file"), ("zero", "no plain file"), ("huge", "too large")):
        with pytest.raises(AnnotationFileError, match=reason):
            read_annotations([tmp_path / f"{name}.json"])


def test_links_and_byte_order_marks_are_no_hindrance(tmp_path):
    (tmp_path / "real.json").write_bytes(b"\xef\xbb\xbf" + json.dumps({"a_0": GOOD}).encode())
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    assert [clip.clip_id for clip in read_annotations([tmp_path / "link.json"]).annotations] == ["a_0"]


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["..", "a/b", "it's", '"', "\x00", "\ud800", 1e308, -1, 0.5]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PLACES = [
    ("youtube_id",), ("duration",), ("duration", "start_sec"), ("duration", "end_sec"), ("bbox",),
    ("bbox", "top"), ("bbox", "bottom"), ("bbox", "left"), ("bbox", "right"), ("language",), ("transcript",),
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    entries=st.dictionaries(
        st.text(max_size=12) | st.sampled_from(["a_0", "../x", "q'"]),
        st.one_of(
            VALUES,
            st.builds(lambda place, value: changed(*place, value=value), st.sampled_from(PLACES), VALUES),
        ),
        max_size=5,
    )
)
def test_any_mutation_ends_as_exactly_one_clip_each(tmp_path_factory, entries):
    result = read_text(tmp_path_factory.mktemp("fuzz"), json.dumps(entries))
    assert len(result.annotations) + len(result.invalid) == len(entries)
    for clip in result.annotations:
        assert all(is_safe_name(name) for name in (clip.clip_id, clip.video_id, clip.language))
        assert clip.frame_count >= 1
        assert clip.start_frame >= 0
        assert abs(clip.start_frame / FPS - clip.start_sec) <= 0.5 / FPS + 1e-9
    for clip in result.invalid:
        assert "\n" not in clip.message
        (clip.message + clip.clip_id).encode()
        assert clip.video_id is None or is_safe_name(clip.video_id)
        assert clip.language is None or is_safe_name(clip.language)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="replace")))
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("fuzz") / "any.json"
    path.write_bytes(content)
    try:
        read_annotations([path])
    except AnnotationFileError as error:
        assert "\n" not in str(error)


@pytest.mark.skipif(
    not (SHARED / "annotations").exists(), reason="needs MultiTalk's annotation files: ../shared/annotations"
)
def test_multitalks_own_files_are_valid_and_on_the_grid():
    paths = sorted((SHARED / "annotations").glob("*.json"))
    result = read_annotations(paths)
    assert len(result.annotations) == 9048 + 5990 + 11082
    assert result.invalid == ()
    assert all(abs(clip.start_frame / FPS - clip.start_sec) < 1e-6 for clip in result.annotations)

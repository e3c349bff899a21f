import json

import pytest

from multitalk.extract.annotations import read_annotations
from multitalk.extract.errors import Stage
from multitalk.flows.building.plan import (
    AnnotatedVideo,
    BatchName,
    annotated_videos,
    annotation_files,
    batches,
    read_batch,
    read_batches,
    source_videos,
    write_batches,
)
from multitalk.flows.building.settings import BuildSettings, build_settings
from multitalk.ground.settings import SettingsError, read_settings


def annotation(video_id="vid", start=0.0, language="german", **changes):
    entry = {
        "youtube_id": video_id,
        "duration": {"start_sec": start, "end_sec": start + 2},
        "bbox": {"top": 0.1, "bottom": 0.9, "left": 0.1, "right": 0.9},
        "language": language,
        "transcript": "",
    }
    return {**entry, **changes}


@pytest.fixture
def videos_of(tmp_path):
    def make(clips, **settings):
        path = tmp_path / "annotations.json"
        path.write_text(json.dumps(clips))
        return source_videos(read_annotations([path]), BuildSettings(**settings))

    return make


def test_clips_are_grouped_by_source_video_and_ordered_by_time(videos_of):
    clips = {"b_1": annotation("b", 4), "a_0": annotation("a"), "b_0": annotation("b")}
    a, b = videos_of(clips)
    assert (a.file_id, b.file_id) == ("a", "b")
    assert [clip.clip_id for clip in b.annotations] == ["b_0", "b_1"]


def test_a_clip_whose_ids_are_no_file_names_still_belongs_to_a_video(videos_of):
    clips = {"x_0": annotation("../../etc/passwd", language="../up"), "ok_0": annotation("ok")}
    videos = videos_of(clips)
    assert sum(video.clip_count for video in videos) == 2
    bad = next(video for video in videos if video.invalid)
    assert bad.file_id.startswith("invalid-") and bad.language == "und"


def many(count, language="german"):
    return [AnnotatedVideo(f"v{i}", f"v{i}", language, "http://x/y", (), ()) for i in range(count)]


def test_every_video_is_in_one_batch_of_its_language():
    videos = many(300) + many(5, "greek")
    found = batches(videos, BuildSettings(workers=1, batch_size=64))
    assert sorted(v.file_id for b in found for v in b.videos) == sorted(v.file_id for v in videos)
    assert all({v.language for v in batch.videos} == {batch.language} for batch in found)
    assert len({batch.name for batch in found}) == len(found)


def test_a_growing_input_only_splits_batches():
    settings = BuildSettings(workers=1, batch_size=20)
    small = [frozenset(v.file_id for v in b.videos) for b in batches(many(200), settings)]
    large = [frozenset(v.file_id for v in b.videos) for b in batches(many(1000), settings)]
    old = {f"v{i}" for i in range(200)}
    assert all(any((batch & old) <= before for before in small) for batch in large)


def test_few_videos_are_spread_over_the_workers():
    assert len(batches(many(16), BuildSettings(workers=4, batch_size=64))) >= 4


def test_batches_travel_by_name_and_are_read_as_they_were_written(videos_of, tmp_path):
    videos = videos_of(
        {
            "a_0": annotation("a", transcript="Größe \u2028 \ud83d\ude00"),
            "b_0": annotation("b", language="greek"),
            "b_1": annotation("b", bbox={}, language="greek"),
        }
    )
    wanted = {Stage.SOURCE: "1" * 32, Stage.FIT: "2" * 32}
    names = write_batches(batches(videos, BuildSettings()), wanted, tmp_path)
    assert (
        names
        == read_batches(tmp_path)
        == (BatchName("german-0", "german", 1, 1), BatchName("greek-0", "greek", 1, 2))
    )
    contents = [read_batch(name.name, tmp_path) for name in names]
    assert [video for content in contents for video in content.videos] == videos
    assert all(content.wanted == wanted for content in contents)


def test_a_video_at_two_places_is_two_videos_and_said_so(videos_of):
    clips = {
        f"a_{n}": annotation("a", n, source_url=url)
        for n, url in enumerate(("http://x/1", None, "http://x/2"))
    }
    del clips["a_1"]["source_url"]
    (video,) = videos_of(clips)
    assert video.source_url == "http://x/1"
    assert [clip.clip_id for clip in video.annotations] == ["a_0", "a_1"]
    (bad,) = video.invalid
    assert bad.clip_id == "a_2"
    assert "http://x/1" in bad.message and "http://x/2" in bad.message and "different ids" in bad.message


def test_a_template_takes_only_the_checked_id(videos_of):
    """A source URL of the annotation is taken as it is; nothing in it stands for anything."""
    url = "http://x/{video_id}"
    named, plain = videos_of(
        {"a_0": annotation("a", source_url=url), "b_0": annotation("b")}, source_url="file:///{video_id}.mp4"
    )
    assert (named.source_url, plain.source_url) == (url, "file:///b.mp4")


def test_limit_and_languages(videos_of):
    clips = {
        f"{v}_0": annotation(v, language=lang)
        for lang in ("german", "greek")
        for v in (lang + "A", lang + "B")
    }
    assert [v.file_id for v in videos_of(clips, limit=1)] == ["germanA", "greekA"]
    assert [v.file_id for v in videos_of(clips, languages=["greek"])] == ["greekA", "greekB"]


def test_a_language_that_is_not_annotated_is_an_error(tmp_path):
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps({"a_0": annotation("a")}))
    with pytest.raises(SettingsError, match=r"klingon.*german"):
        annotated_videos(BuildSettings(annotations=[str(path)], root=tmp_path, languages=["klingon"]))


def test_a_pattern_that_fits_nothing_is_an_error():
    with pytest.raises(SettingsError, match="no file fits"):
        annotation_files(["nowhere/*.json"])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"workers": 0}, "workers"),
        ({"source_url": "http://x/y"}, "video_id"),
        ({"trim": {"crf": 99}}, "trim.crf"),
        ({"wrokers": 2}, "wrokers"),
    ],
)
def test_wrong_settings_name_the_field(values, words):
    with pytest.raises(SettingsError, match=words):
        build_settings(**values)


@pytest.mark.parametrize("text", ["[1, 2", "- a\n- b\n", "a: b: c"])
def test_an_unusable_configuration_file_is_one_clear_error(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"config\.yaml"):
        read_settings(path)

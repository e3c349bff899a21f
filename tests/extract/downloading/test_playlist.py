"""From an address to the videos behind it."""

import pytest

from multitalk.extract.downloading.playlist import ListedVideo, list_videos
from multitalk.extract.downloading.worker import _videos
from multitalk.flows.demo.local_server import serve_folder
from tests.extract.bad_server import ONCE

FEED = '<?xml version="1.0"?><rss version="2.0"><channel><title>talks</title>{}</channel></rss>'


def item(url):
    return f"<item><title>a talk</title><link>{url}</link></item>"


def test_a_long_list_comes_whole(tmp_path):
    """Longer than what a pipe holds before somebody reads it."""
    urls = [f"https://www.youtube.com/watch?v=abcdefg{number:04d}" for number in range(1200)]
    (tmp_path / "feed.xml").write_text(FEED.format("".join(map(item, urls))))
    with serve_folder(tmp_path) as base:
        found = list_videos(f"{base}/feed.xml", ONCE.model_copy(update={"timeout_sec": 40}))
    assert found == [ListedVideo(url.removeprefix("https://www.youtube.com/watch?v="), url) for url in urls]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://www.youtube.com/watch?list=x&v=a-b_c", "a-b_c"),
        ("https://example.org/talks/first.mp4?v=", "first"),
        ("https://example.org/talks/first.mp4", "first"),
    ],
)
def test_a_video_that_is_listed_without_an_id_is_named_by_its_address(monkeypatch, url, name):
    monkeypatch.setattr(
        "multitalk.extract.downloading.playlist.run_yt_dlp",
        lambda *_, **__: {"videos": [{"id": None, "url": url}]},
    )
    assert list_videos("https://example.org", ONCE) == [ListedVideo(name, url)]


def tab(*names):
    entries = [{"_type": "url", "id": name, "url": f"https://x/{name}"} for name in names]
    return {"_type": "playlist", "id": "channel", "webpage_url": "https://x/channel", "entries": entries}


def test_a_channel_is_the_videos_of_its_tabs_each_once():
    channel = {"_type": "playlist", "id": "channel", "entries": [tab("a", "b"), None, tab("b", "c"), tab()]}
    found = _videos(channel)["info"]["videos"]
    assert [(video["id"], video["url"]) for video in found] == [(name, f"https://x/{name}") for name in "abc"]


def test_one_video_is_a_list_of_one_and_nothing_is_none():
    assert _videos({"id": "a", "webpage_url": "https://x/a"})["info"]["videos"] == [
        {"id": "a", "url": "https://x/a"}
    ]
    assert _videos(None)["info"]["videos"] == []

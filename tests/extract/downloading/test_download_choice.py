"""Which address, which of its formats and which sound track are taken."""

import json

import pytest

from multitalk.extract.downloading.download import DownloadSettings, source_url
from multitalk.extract.downloading.settings import yt_dlp_options
from multitalk.extract.downloading.worker import _download, _outcome


@pytest.mark.parametrize("video_id", ["", "..", "a/b", "a b", "a\n", "{x}", "a" * 129, "'; rm"])
def test_unsafe_video_id_makes_no_address(video_id):
    with pytest.raises(ValueError, match="no video id"):
        source_url("http://localhost/{video_id}.mp4", video_id)


@pytest.mark.parametrize(
    "template", ["", "http://localhost/x.mp4", "{video_id}", "ftp://h/{video_id}", "/x/{video_id}"]
)
def test_unusable_template(template):
    with pytest.raises(ValueError, match="no source address"):
        source_url(template, "abc")


def test_template_is_no_format_string():
    template = "http://localhost/{video_id.__class__}/{video_id}.mp4"
    assert source_url(template, "abc") == "http://localhost/{video_id.__class__}/abc.mp4"


def test_settings_become_yt_dlps_options(tmp_path):
    settings = DownloadSettings(
        max_height=720,
        cookies_browser="firefox",
        proxy="socks5://127.0.0.1:1",
        js_runtimes={"node": "/opt/node"},
        rate_limit=100_000,
        sleep_sec=5,
        extractor_args={"youtube": {"player_client": ["web"]}},
    )
    options = yt_dlp_options(settings, tmp_path, local_files=False)
    assert options["format_sort"][:2] == ["lang", "res:720"]
    assert "[fps>=?24.90]" in options["format"]
    assert options["js_runtimes"] == {"node": {"path": "/opt/node"}}
    assert options["max_sleep_interval"] == 5
    assert options["skip_unavailable_fragments"] is False
    assert not options["enable_file_urls"]
    assert "cookiefile" not in options
    assert json.loads(json.dumps(options)) == options


def choose(formats, settings, tmp_path):
    """Let yt-dlp choose among formats as it would for a video with these."""
    import yt_dlp

    options = yt_dlp_options(settings, tmp_path, local_files=False)
    with yt_dlp.YoutubeDL(options | {"logger": None}) as ydl:
        info = {"id": "x", "title": "x", "extractor": "x", "webpage_url": "http://x", "formats": formats}
        chosen = ydl.process_ie_result(info, download=False)
    outcome = _outcome(chosen | {"requested_downloads": [{"filepath": "x.mp4"}]})["info"]
    return outcome["format_id"], outcome["language"]


def test_what_is_dubbed_is_recorded_as_such(tmp_path):
    """Where only a dubbed track is left, or picture and sound come in one."""
    only_dubbed = [picture("v", 1080, 30), sound("dub-en", "en", -1)]
    assert choose(only_dubbed, DownloadSettings(), tmp_path) == ("v+dub-en", "en")
    whole = [picture("whole", 720, 30, acodec="mp4a", language="it")]
    assert choose(whole, DownloadSettings(), tmp_path) == ("whole", "it")


def picture(name, height, fps, **more):
    return {"format_id": name, "url": f"http://x/{name}", "ext": "mp4", "fps": fps, "height": height,
            "width": height * 16 // 9, "vcodec": "avc1", "acodec": "none"} | more  # fmt: skip


def sound(name, language, preference):
    return {"format_id": name, "url": f"http://x/{name}", "ext": "m4a", "vcodec": "none", "acodec": "mp4a",
            "language": language, "language_preference": preference, "abr": 128}  # fmt: skip


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        ([picture("v720", 720, 30), picture("v1080", 1080, 30), picture("v2160", 2160, 30)], "v1080+de"),
        ([picture("slow", 1080, 15), picture("v480", 480, 30)], "v480+de"),
        ([picture("slow", 1080, 15)], "slow+de"),
        ([picture("hdr", 1080, 30, dynamic_range="HDR10"), picture("sdr", 1080, 30)], "sdr+de"),
        ([picture("vp9", 1080, 30, vcodec="vp9"), picture("h264", 1080, 30)], "h264+de"),
    ],
)
def test_choice_of_format(tmp_path, formats, expected):
    """The original sound, also when a dubbed track comes later, which yt-dlp takes for better."""
    sounds = [sound("de", "de", 10), sound("dub-en", "en", -1)]
    assert choose(formats + sounds, DownloadSettings(), tmp_path) == (expected, "de")


@pytest.mark.parametrize("min_fps", [0, 0.05, 0.1, 0.1000001, 23.976])
def test_any_frame_rate_may_be_asked_for(tmp_path, min_fps):
    formats = [picture("v720", 720, 30), sound("de", "de", 10)]
    assert choose(formats, DownloadSettings(min_fps=min_fps), tmp_path) == ("v720+de", "de")


def test_a_rate_limit_at_which_every_transfer_is_given_up_is_refused():
    with pytest.raises(ValueError, match="rate_limit: must be more than min_bytes_per_sec, 1024"):
        DownloadSettings(rate_limit=500)
    assert DownloadSettings(rate_limit=500, min_bytes_per_sec=100).rate_limit == 500


def test_cookies_that_are_not_there_are_named(tmp_path):
    missing = tmp_path / "cookies.txt"
    with pytest.raises(ValueError, match=r"cookies\.txt is no file that can be read"):
        DownloadSettings(cookies_file=missing)
    gone = _download("http://localhost/x", {"cookiefile": str(missing)}, expand=False, parts=())
    assert "cookies.txt" in gone["failure"]["message"]

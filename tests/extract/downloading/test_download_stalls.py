"""When a transfer counts as stalled, and when it only pauses or begins anew."""

import subprocess

import pytest

from multitalk.extract.downloading.download import download
from multitalk.extract.downloading.process import Limits, _watch
from multitalk.extract.errors import ClipError
from tests.extract.bad_server import ONCE

GROW = "for i in 1 2 3 4 5 6 7 8; do head -c 20000 /dev/zero >> part; sleep 0.2; done"


@pytest.mark.parametrize(
    ("script", "pause_sec", "stalled"),
    [
        (GROW, 0, False),
        (f"sleep 0.5; : > part; {GROW}", 0, False),  # a server that does not continue: from the beginning
        (f"sleep 1.8; {GROW}", 2, False),
        (f"sleep 1.8; {GROW}", 0, True),
        ("sleep 9", 1, True),
    ],
    ids=["grows", "begins anew", "pauses", "pauses unasked", "hangs"],
)
def test_a_stall_is_no_growth_for_longer_than_the_pause(tmp_path, script, pause_sec, stalled):
    (tmp_path / "part").write_bytes(bytes(1_000_000))
    limits = Limits(timeout_sec=30, stall_timeout_sec=1, min_bytes_per_sec=1000, pause_sec=pause_sec)
    with subprocess.Popen(["sh", "-c", script], cwd=tmp_path) as process:
        try:
            reason = _watch(process, tmp_path, limits)
        finally:
            process.kill()
    assert (reason is not None) == stalled
    assert not stalled or "stalled: 0 bytes" in reason


def test_the_longest_pause_before_a_download_is_allowed_for(tmp_path, monkeypatch):
    def ask(url, options, folder, limits, *, parts, process):
        seen.append(limits)
        raise OSError("enough")

    seen = []
    monkeypatch.setattr("multitalk.extract.downloading.download.run_yt_dlp", ask)
    with pytest.raises(ClipError):
        download("http://x/x.mp4", tmp_path / "x.mp4", ONCE.model_copy(update={"sleep_sec": 300.0}))
    assert seen[0].pause_sec == 300

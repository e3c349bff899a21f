"""Annotations that nobody should write, through `build`: each clip a row, nothing outside the root."""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitalk.extract.errors import ClipError, ErrorCode, Stage
from multitalk.flows.building.plan import annotated_videos
from multitalk.flows.building.settings import BuildSettings, build_settings
from multitalk.flows.building.stages import stage_fingerprints
from multitalk.flows.building.stored_clips import StoredClips
from multitalk.flows.building.video import VideoBuilder
from multitalk.manifests import open_dataset

GOOD = {
    "youtube_id": "notThere", "duration": {"start_sec": 1.0, "end_sec": 2.0}, "language": "german",
    "bbox": {"top": 0, "bottom": 1, "left": 0, "right": 1}, "transcript": "so",
}  # fmt: skip
IDS = [
    "a_0",
    "../../escaped",
    "/escaped",
    "it's",
    '"; touch escaped',
    "..",
    "a\x00b",
    "\ud800",
    "ä",
    "k" * 300,
]
VALUES = st.sampled_from(
    [None, True, [], {}, "", "..", "../../escaped", "it's", '"', "\ud800", "\x00", "x" * 20_000, float("nan"),
     float("inf"), -1, -1e308, 0, 0.5, 2, 1e18, 10**400]
)  # fmt: skip
PLACES = st.sampled_from(
    ["youtube_id", "duration", "duration.start_sec", "duration.end_sec", "bbox", "bbox.top", "bbox.bottom",
     "bbox.left", "bbox.right", "language", "transcript"]
)  # fmt: skip


def changed(place: str, value: object, *, missing: bool = False) -> dict[str, object]:
    """Return a good annotation with one field changed, or left out."""
    entry = copy.deepcopy(GOOD)
    target, *rest = [entry], *place.split(".")
    target = entry
    for key in rest[:-1]:
        target = target[key]
    target[rest[-1]] = value
    if missing:
        del target[rest[-1]]
    return entry


WANTED = stage_fingerprints(BuildSettings())
MUTATED = st.dictionaries(
    st.sampled_from(IDS),
    st.one_of(VALUES, st.builds(changed, PLACES, VALUES, missing=st.booleans())),
    min_size=1,
    max_size=6,
)


@settings(max_examples=40, deadline=None)
@given(MUTATED)
def test_every_mutated_clip_ends_as_one_row_within_the_root(tmp_path_factory, entries):
    """What `build` does about them, but for the download of what is valid, which fails here."""
    folder = tmp_path_factory.mktemp("hostile")
    annotations = folder / "annotations.json"
    annotations.write_text(json.dumps(entries))
    config = build_settings(annotations=(str(annotations),), root=folder / "place" / "dataset")
    for video in annotated_videos(config):
        stored = StoredClips(config.root, video.language, [video.file_id])
        builder = VideoBuilder(config, WANTED, stored)
        builder.give_up(video, ClipError(ErrorCode.NETWORK, "no network", Stage.SOURCE))
    files = {path.relative_to(folder).parts[0] for path in folder.rglob("*") if path.is_file()}
    assert files <= {"annotations.json", "place"}
    assert len(open_dataset(config.root).clips()) == len(entries)


def hostile_clips() -> Iterator[tuple[str, str]]:
    """Yield ids and what is said of them, as JSON."""
    yield from ((clip_id, json.dumps(GOOD)) for clip_id in IDS)
    yield "nan", json.dumps(changed("duration.end_sec", float("nan")))
    yield (
        "huge",
        json.dumps(changed("duration.end_sec", 1)).replace('"end_sec": 1', '"end_sec": ' + "9" * 5000),
    )
    yield "negative", json.dumps(changed("duration.start_sec", -5))
    yield "reversed", json.dumps(changed("duration.start_sec", 50))
    yield "outside", json.dumps(changed("bbox.right", 1.5))
    yield "wide", json.dumps(changed("transcript", "x" * 10_000_000))
    yield "deep", "[" * 500 + "]" * 500
    yield "twice_in_it", json.dumps(GOOD)[:-1] + ', "language": "french"}'
    yield "no_object", "7"
    yield "same", json.dumps(GOOD)
    yield "same", json.dumps(changed("transcript", "other"))


def build(folder: Path, *annotations: Path) -> subprocess.CompletedProcess[str]:
    """Run the command, where there is nothing to be downloaded from."""
    (folder / "videos").mkdir(exist_ok=True)
    source = (folder / "videos").as_uri() + "/{video_id}.mp4"
    command = [sys.executable, "-m", "multitalk.flows.commands.main", "build", *map(str, annotations)]
    return subprocess.run(
        [*command, "--root", str(folder / "dataset"), "--source-url", source, "--workers", "1"],
        check=False, capture_output=True, text=True, timeout=300, cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip


@pytest.mark.slow
def test_a_build_of_hostile_clips_ends_well(tmp_path):
    clips = list(hostile_clips())
    text = ",".join(f"{json.dumps(clip_id)}: {entry}" for clip_id, entry in clips)
    (tmp_path / "annotations.json").write_text("{" + text + "}")
    done = build(tmp_path, tmp_path / "annotations.json")
    assert done.returncode == 1, done.stdout + done.stderr  # it finished, and nothing came out
    assert "no clip of the dataset came out" in done.stderr
    assert "Traceback" not in done.stderr
    rows = open_dataset(tmp_path / "dataset").clips()
    assert len(rows) == len({clip_id for clip_id, _ in clips})
    assert rows.set_index("clip_id")["error_code"].to_dict()["a_0"] == "video_unavailable"
    assert (rows.query("clip_id != 'a_0'")["error_code"] == "invalid_annotation").all()
    assert {path.name for path in tmp_path.iterdir()} == {"annotations.json", "dataset", "videos"}
    assert not list(tmp_path.parent.rglob("escaped*"))


@pytest.mark.slow
def test_a_file_that_is_none_ends_a_build_in_one_line(tmp_path):
    path = tmp_path / "annotations.json"
    path.write_bytes(b"[" * 50_000)
    done = build(tmp_path, path)
    assert done.returncode == 2
    assert done.stderr.strip() == f"multitalk: error: {path}: not annotations: nested too deeply"

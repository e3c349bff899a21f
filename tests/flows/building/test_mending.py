"""What `verify --forget` finds damaged is made again by the next build, and nothing else is."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multitalk.flows.commands.main import main
from multitalk.manifests import paths
from multitalk.manifests.releases.verify import verify
from multitalk.manifests.store import read_manifest

pytestmark = pytest.mark.slow
CLIP = "deSpeaker00_0"


def good_row(root):
    return next(row for row in read_manifest(root).to_pylist() if row["clip_id"] == CLIP)


def zero(place, column):
    table = pq.read_table(place, partitioning=None)
    index = table.schema.get_field_index(column)
    zeros = [[[0.0] * len(frame) for frame in frames] for frames in table[column].to_pylist()]
    pq.write_table(
        table.set_column(index, table.schema.field(index), pa.array(zeros, table.schema.types[index])), place
    )


def test_each_damage_is_mended_from_its_stage_on(small_source, tmp_path, capsys):
    root = tmp_path / "dataset"
    config = tmp_path / "build.json"  # only what is damaged here is of interest
    config.write_text('{"language": {"transcribe": false}, "persons": false, "head_model": "canonical"}')

    def build(url):
        return main(
            [
                "build",
                str(small_source.annotations),
                "--root",
                str(root),
                "--source-url",
                url,
                "--workers",
                "1",
                "--config",
                str(config),
            ]
        )

    assert build(small_source.url) == 0
    assert verify(root) == []
    before = good_row(root)
    motion, landmarks = (
        kind(root, "german", "deSpeaker00") for kind in (paths.motion_path, paths.landmarks_path)
    )
    sound = paths.audio_path(root, "german", CLIP)
    damage = {
        "fit": lambda: zero(motion, "expression"),
        "landmarks": lambda: zero(landmarks, "landmarks"),
        "trim": lambda: sound.write_bytes(sound.read_bytes()[:44] + bytes(sound.stat().st_size - 44)),
    }
    for stage, plant in damage.items():
        plant()
        assert {finding.stage for finding in verify(root)} == {stage}
        assert main(["verify", "--root", str(root), "--forget"]) == 1
        # Only a clip or its sound needs the source.
        assert build(small_source.url if stage == "trim" else "http://127.0.0.1:9/{video_id}.mp4") == 0
        assert verify(root) == []
        after = good_row(root)
        for column in (
            "status",
            "motion_xxh3",
            "landmarks_xxh3",
            "audio_xxh3",
            "clip_sha256",
            "stage_fingerprints",
        ):
            assert after[column] == before[column], (stage, column)

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from multitalk.eval.motion.regions import (
    RegionError,
    canonical_regions,
    flame_regions,
    read_regions,
    regions_for,
)
from tests.golden import golden

SHARED = Path(__file__).parents[3].parent / "shared"


def masks_file(path: Path, **changes) -> Path:
    masks = {
        "lips": np.array([5, 3, 3, 1500]),
        "forehead": np.arange(10, 20),
        "eye_region": np.arange(15, 30),
    } | changes
    path.write_bytes(pickle.dumps(masks, protocol=2))
    return path


def test_duplicate_lip_vertices_count_once(tmp_path):
    regions = flame_regions(masks_file(tmp_path / "FLAME_masks.pkl"))
    assert regions.lips.vertices.tolist() == [3, 5, 1500]
    assert regions.upper_face.vertices.tolist() == list(range(10, 30))


def test_hash_follows_the_vertices_not_their_order(tmp_path):
    first = flame_regions(masks_file(tmp_path / "a.pkl")).lips
    same = flame_regions(masks_file(tmp_path / "b.pkl", lips=np.array([1500, 5, 3]))).lips
    other = flame_regions(masks_file(tmp_path / "c.pkl", lips=np.array([1500, 5, 4]))).lips
    assert first.hash == same.hash != other.hash
    assert first.label == f"lips(3)#{first.hash}"


def test_built_in_lips_are_the_references():
    reference = json.loads((golden("lve") / "mouth_vertices.json").read_text())
    regions = flame_regions()
    assert regions.lips.vertices.tolist() == sorted(set(reference))
    if not (SHARED / "flame").exists():
        return  # FLAME's own masks can not be given away
    with_masks = flame_regions(SHARED / "flame/FLAME_masks.pkl")
    assert with_masks.lips.hash == regions.lips.hash
    assert len(with_masks.upper_face.vertices) == 827


def test_canonical_lips_have_two_rings_and_no_vertex_of_the_upper_face():
    regions = canonical_regions()
    assert len(regions.lips.vertices) == 40
    assert not set(regions.lips.vertices) & set(regions.upper_face.vertices)
    assert set(regions.inner_lips) <= set(regions.lips.vertices)


def test_an_unknown_topology_needs_a_file(tmp_path):
    with pytest.raises(RegionError, match="23370"):
        regions_for(23370)
    file = tmp_path / "biwi.json"
    file.write_text(json.dumps({"lips": [1, 2], "upper_face": [7, 8], "inner_lips": [1, 2]}))
    regions = regions_for(23370, regions=file)
    assert (regions.topology, regions.inner_lips) == ("biwi", (1, 2))
    file.write_text("[4, 5, 6]")
    assert read_regions(file, 10).lips.vertices.tolist() == [4, 5, 6]


@pytest.mark.parametrize(
    "content", ["", "{}", '{"lips": []}', '{"lips": [99]}', '{"lips": ["a"]}', '{"lips": 3}', "[-1]"]
)
def test_unusable_region_files_are_named(tmp_path, content):
    file = tmp_path / "regions.json"
    file.write_text(content)
    with pytest.raises(RegionError):
        read_regions(file, 50)


class Hostile:
    def __reduce__(self):
        return (Path.unlink, (Path("victim"),))


def test_a_hostile_masks_file_is_refused(tmp_path):
    victim = tmp_path / "victim"
    victim.touch()
    with pytest.raises(RegionError, match="refused"):
        flame_regions(masks_file(tmp_path / "FLAME_masks.pkl", lips=Hostile()))
    assert victim.exists()

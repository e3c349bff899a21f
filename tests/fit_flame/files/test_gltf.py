"""glTF of a clip, read by a reader of its own, and by Khronos' validator where npm can get it."""

import json
import shutil
import struct
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from multitalk.fit_flame.files.gltf import quaternions, write_glb
from multitalk.fit_flame.heads.head_model import HeadModelError
from multitalk.fit_flame.parameters.decode import decode
from multitalk.fit_flame.parameters.motion import Motion, MotionError
from multitalk.ground.arkit_names import ARKIT

FRAMES = 5
TYPES = {5126: np.float32, 5125: np.uint32, 5121: np.uint8}
WIDTH = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


@pytest.fixture(scope="module")
def motion(anny_motion) -> Motion:
    return anny_motion


@pytest.fixture(scope="module")
def place(motion, anny, tmp_path_factory):
    place = tmp_path_factory.mktemp("gltf") / "clip.glb"
    assert write_glb(motion, anny, place) == place.stat().st_size
    return place


def _read(place):
    """(JSON, function that gives an accessor's array)."""
    raw = place.read_bytes()
    magic, version, size, length, kind = struct.unpack_from("<4sIII4s", raw)
    assert (magic, version, size, kind) == (b"glTF", 2, len(raw), b"JSON")
    content = json.loads(raw[20 : 20 + length])
    data = raw[28 + length :]

    def array(number):
        accessor = content["accessors"][number]
        view = content["bufferViews"][accessor["bufferView"]]
        assert view["byteOffset"] % 4 == 0
        part = data[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        values = np.frombuffer(part, TYPES[accessor["componentType"]])
        values = values.reshape(accessor["count"], WIDTH[accessor["type"]])
        if "min" in accessor:
            np.testing.assert_allclose(values.min(axis=0), accessor["min"], atol=1e-6)
            np.testing.assert_allclose(values.max(axis=0), accessor["max"], atol=1e-6)
        return values

    return content, array


def _matrix(quaternion, translation):
    x, y, z, w = quaternion
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, translation
    return matrix


@pytest.mark.parametrize("frame", [0, 3])
def test_skinned_by_another_reader_it_is_the_decoded_head(frame, place, motion, anny):
    content, array = _read(place)
    primitive = content["meshes"][0]["primitives"][0]
    animation = content["animations"][0]
    local = [
        {"rotation": (0, 0, 0, 1), "translation": n.get("translation", (0, 0, 0))} for n in content["nodes"]
    ]
    weights = None
    for channel in animation["channels"]:
        sampler = animation["samplers"][channel["sampler"]]
        assert array(sampler["input"])[frame, 0] == pytest.approx(frame / 25)
        values, target = array(sampler["output"]), channel["target"]
        if target["path"] == "weights":
            weights = values.reshape(FRAMES, 52)[frame]
        else:
            local[target["node"]][target["path"]] = values[frame]
    points = array(primitive["attributes"]["POSITION"]).astype(np.float64)
    for target, weight in zip(primitive["targets"], weights, strict=True):
        points = points + weight * array(target["POSITION"])
    parent = {child: k for k, node in enumerate(content["nodes"]) for child in node.get("children", ())}

    def world(node):
        matrix = _matrix(local[node]["rotation"], local[node]["translation"])
        return world(parent[node]) @ matrix if node in parent else matrix

    skin = content["skins"][0]
    inverse = array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
    bones = np.stack([world(node) @ bind for node, bind in zip(skin["joints"], inverse, strict=True)])
    share, bound = array(primitive["attributes"]["WEIGHTS_0"]), array(primitive["attributes"]["JOINTS_0"])
    np.testing.assert_allclose(share.sum(axis=1), 1, atol=1e-5)
    blended = (share[..., None, None] * bones[bound]).sum(axis=1)
    posed = (blended[:, :3, :3] @ points[..., None])[..., 0] + blended[:, :3, 3]
    indices = array(primitive["indices"]).reshape(-1, 3)
    wanted = decode(motion, anny, frames=np.array([frame]))[0][anny.faces]
    np.testing.assert_allclose(posed[indices], wanted, atol=2e-5)


def test_targets_are_named_and_seen(place, anny):
    content, array = _read(place)
    mesh = content["meshes"][0]
    assert mesh["extras"]["targetNames"] == list(ARKIT)
    assert len(mesh["primitives"][0]["targets"]) == len(mesh["weights"]) == 52
    attributes = mesh["primitives"][0]["attributes"]
    normals = array(attributes["NORMAL"])
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-4)
    uv = array(attributes["TEXCOORD_0"])
    assert uv.min() >= 0
    assert uv.max() <= 1
    assert array(mesh["primitives"][0]["indices"]).max() < len(normals)


def test_other_motion_is_refused(motion, anny, tmp_path):
    with pytest.raises(MotionError):
        write_glb(replace(motion, head_model="canonical:0"), anny, tmp_path / "a.glb")
    with pytest.raises(HeadModelError, match="named"):
        write_glb(motion, replace(anny, rules=None), tmp_path / "a.glb")
    assert not list(tmp_path.iterdir())


def test_quaternions_take_the_short_way():
    turns = np.array([[0, 3.1, 0], [0, -3.1, 0]], np.float32)
    first, second = quaternions(turns)
    assert first @ second > 0


@pytest.mark.slow
def test_khronos_validator_finds_no_fault(place, tmp_path):
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("needs npm and node")
    install = [npm, "install", "--no-audit", "--no-fund", "gltf-validator"]
    if subprocess.run(install, check=False, cwd=tmp_path, capture_output=True, timeout=120).returncode:
        pytest.skip("npm cannot get gltf-validator here")
    script = (
        "require('gltf-validator').validateBytes(new Uint8Array(require('fs').readFileSync(process.argv[1])))"
        ".then(report => console.log(JSON.stringify(report.issues)))"
    )
    run = [node, "-e", script, str(place)]
    done = subprocess.run(run, check=True, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    issues = json.loads(done.stdout)
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]

"""report, release, export, verify and remove over a small dataset with real motion, pictures and sound."""

import json
import pickle
import shutil
import wave
from dataclasses import asdict

import numpy as np
import pyarrow.parquet as pq
import pytest

from multitalk.assets.fetch import require
from multitalk.fit_flame.heads.canonical import canonical_head_model
from multitalk.fit_flame.parameters.decode import decode
from multitalk.fit_flame.parameters.synthetic import speaking
from multitalk.flows.commands.main import main
from multitalk.manifests import paths
from multitalk.manifests.releases.release import sha256
from multitalk.manifests.store import commit_fragment, read_manifest

FRAMES = 12
VIDEOS = [("german", f"de{i}") for i in range(3)] + [("japanese", f"ja{i}") for i in range(3)]


@pytest.fixture(scope="module")
def head():
    return canonical_head_model(require("face_landmarker"))


@pytest.fixture(scope="module")
def built(head, tmp_path_factory):
    """Six videos of one good clip and one failed clip each, judged by no policy yet."""
    root = tmp_path_factory.mktemp("built")
    motion = asdict(speaking(head, FRAMES))
    film = tmp_path_factory.mktemp("film") / "film.mp4"
    write_film(film)
    for language, video_id in VIDEOS:
        clip_id = f"{video_id}_0"
        clip, sound = paths.clip_path(root, language, clip_id), paths.audio_path(root, language, clip_id)
        clip.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(film, clip)
        sound.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(sound), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(bytes(2 * 640 * FRAMES))
        good = {
            "clip_id": clip_id,
            "status": "ok",
            "frame_count": FRAMES,
            "duration_sec": FRAMES / 25,
            "clip_path": clip.relative_to(root).as_posix(),
            "audio_path": sound.relative_to(root).as_posix(),
            "clip_sha256": sha256(clip),
            "head_model": head.key,
            "transcript": "guten Tag",
        }
        bad = {"clip_id": f"{video_id}_1", "status": "failed", "error_code": "no_face"}
        row = {"clip_id": clip_id, **motion}
        commit_fragment(root, language, video_id, [good, bad], motion_rows=[row], fingerprint="f")
    return root


def write_film(place):
    import av

    with av.open(str(place), "w") as container:
        stream = container.add_stream("libx264", 25)
        stream.width = stream.height = 512
        for index in range(FRAMES):
            picture = np.full((512, 512, 3), 40 + 8 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())


@pytest.fixture
def policy(tmp_path):
    """A policy that accepts every clip that was built and has words."""
    place = tmp_path / "words.yaml"
    place.write_text(
        "name: words\ndescription: Clips with a transcript.\nrules:\n"
        "  - {name: words, metric: transcript, comparison: '!=', threshold: '', reason: Words are needed.}\n"
    )
    return str(place)


@pytest.fixture
def root(built, tmp_path):
    return shutil.copytree(built, tmp_path / "data")


@pytest.fixture
def judged(root, policy):
    assert main(["filter", "--root", str(root), "--policy", policy]) == 0
    return root


def run(capsys, *arguments):
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


def test_the_report_shows_clips_under_their_mesh_and_the_dataset_s_own_policy(judged, capsys):
    status, out, err = run(capsys, "report", "--root", judged)
    assert (status, err) == (0, "")
    place = judged / "report.html"
    assert out.strip() == str(place)
    text = place.read_text()
    assert text.count('<img src="data:image/jpeg;base64,') == len(VIDEOS)
    assert "Words are needed." in text
    assert "<b>50%</b>accepted" in text


def test_the_mesh_is_drawn_over_the_frame_with_the_widest_mouth(built, head):
    import cv2

    from multitalk.flows.looking.pictures import clip_picture

    row = {"language": "german", "clip_id": "de0_0"}
    plain, meshed = (
        cv2.imdecode(np.frombuffer(clip_picture(built, models)(row), np.uint8), cv2.IMREAD_COLOR)
        for models in ({}, {head.key: head})
    )
    widest = int(speaking(head, FRAMES).jaw[:, 0].argmax())
    assert abs(int(plain[5, 5, 0]) - (40 + 8 * widest)) <= 4
    changed = (np.abs(plain.astype(int) - meshed) > 20).any(axis=2)
    assert 0.05 < changed[:, 160:].mean() < 0.9
    assert not changed[:20].any()


def test_a_report_without_the_head_model_says_so_and_shows_bare_frames(judged, capsys, tmp_path):
    for place in judged.glob("manifest/language=*/*.parquet"):
        table = pq.read_table(place, partitioning=None)
        keys = [key and "canonical:0000" for key in table["head_model"].to_pylist()]
        index = table.schema.get_field_index("head_model")
        pq.write_table(table.set_column(index, table.schema.field(index), [keys]), place)
    status, _, err = run(capsys, "report", "--root", judged, "--out", tmp_path / "page.html", "--clips", 2)
    assert status == 0
    assert "no mesh over clips fitted with canonical:0000" in err
    assert (tmp_path / "page.html").read_text().count("<img ") == 2


def test_a_release_is_frozen_under_the_policy_of_the_last_filter(judged, capsys):
    status, out, _ = run(capsys, "release", "--root", judged, "--name", "v1", "--json")
    facts = json.loads(out)
    assert (status, facts["clips"], facts["policy"]) == (0, len(VIDEOS), "words")
    assert facts["sha256"] == sha256(judged / "releases/v1/SHA256SUMS")
    status, _, err = run(capsys, "release", "--root", judged, "--name", "v1")
    assert status == 2
    assert "never changed" in err
    assert run(capsys, "release", "--root", judged, "--name", "../v1")[0] == 2


def test_a_later_release_keeps_every_video_on_its_side(judged, capsys):
    splits = {}
    for arguments in (("v1",), ("v2", "--like", "v1")):
        assert run(capsys, "release", "--root", judged, "--name", *arguments)[0] == 0
        table = pq.read_table(judged / f"releases/{arguments[0]}/manifest.parquet", partitioning=None)
        splits[arguments[0]] = dict(
            zip(*table.select(["video_id", "split"]).to_pydict().values(), strict=True)
        )
    assert splits["v1"] == splits["v2"]
    assert set(splits["v1"].values()) == {"train", "val", "test"}


def test_a_release_by_multitalk_s_lists(judged, capsys, tmp_path):
    (tmp_path / "train.txt").write_text("German_de0_0.wav\nGerman_de1_0.wav\n")
    (tmp_path / "test.txt").write_text("Japanese_ja0_0.wav\n")
    lists = (tmp_path / "train.txt", tmp_path / "test.txt")
    assert run(capsys, "release", "--root", judged, "--name", "lists", "--lists", *lists)[0] == 0
    table = pq.read_table(judged / "releases/lists/manifest.parquet", partitioning=None)
    assert table.select(["clip_id", "split"]).to_pylist() == [
        {"clip_id": "de0_0", "split": "train"},
        {"clip_id": "de1_0", "split": "train"},
        {"clip_id": "ja0_0", "split": "test"},
    ]
    arguments = ("--lists", *lists, "--like", "lists")
    assert run(capsys, "release", "--root", judged, "--name", "both", *arguments)[0] == 2


def test_release_settings_come_from_a_file_that_is_checked(judged, capsys, tmp_path):
    config = tmp_path / "release.yaml"
    config.write_text("title: Talking in tongues\nsplit: {seed: 3}\n")
    assert run(capsys, "release", "--root", judged, "--name", "v1", "--config", config)[0] == 0
    assert "Talking in tongues" in (judged / "releases/v1/README.md").read_text()
    config.write_text("titel: x\n")
    status, _, err = run(capsys, "release", "--root", judged, "--name", "v2", "--config", config)
    assert status == 2
    assert "titel" in err


def test_the_trainer_s_layout_has_vertices_of_the_mean_face_without_head_pose(judged, head, capsys, tmp_path):
    out = tmp_path / "out"
    assert run(capsys, "export", "--root", judged, "--layout", "multitalk", "--out", out)[0] == 0
    assert sorted(path.stem for path in (out / "npy").iterdir()) == sorted(
        f"{language.capitalize()}_{video}_0" for language, video in VIDEOS
    )
    vertices = np.load(out / "npy/German_de0_0.npz")["verts"]
    expected = decode(speaking(head, FRAMES), head, neutral_shape=True, head_pose=False)
    np.testing.assert_allclose(vertices, expected, atol=1e-6)
    template = pickle.loads((out / "templates.pkl").read_bytes())["id"]
    np.testing.assert_array_equal(template, head.v_template)
    assert len((out / "test.txt").read_text().split()) == 2


@pytest.mark.parametrize("layout", ["huggingface", "webdataset"])
def test_other_layouts_hold_every_clip_of_a_release(judged, layout, capsys, tmp_path):
    assert run(capsys, "release", "--root", judged, "--name", "v1")[0] == 0
    arguments = ("export", "--root", judged, "--layout", layout, "--release", "v1", "--out", tmp_path / "out")
    status, out, _ = run(capsys, *arguments)
    assert status == 0
    assert f"{len(VIDEOS)} clips (2 test, 2 train, 2 val)" in out
    status, _, err = run(capsys, *arguments)
    assert status == 2
    assert "not an empty folder" in err


def test_an_export_needs_verdicts(root, capsys, tmp_path):
    status, _, err = run(
        capsys, "export", "--root", root, "--layout", "webdataset", "--out", tmp_path / "out"
    )
    assert status == 2
    assert "multitalk filter" in err


def test_verify_fails_on_damage_and_lets_the_next_build_mend_it(judged, capsys):
    assert run(capsys, "verify", "--root", judged)[0] == 0
    with paths.clip_path(judged, "german", "de0_0").open("ab") as file:
        file.write(b"x")
    status, out, _ = run(capsys, "verify", "--root", judged, "--json")
    assert status == 1
    assert [(f["kind"], f["path"]) for f in json.loads(out)] == [("damaged", "clips/german/de0_0.mp4")]
    assert run(capsys, "verify", "--root", judged, "--fast")[0] == 0
    assert run(capsys, "verify", "--root", judged, "--forget")[0] == 1
    rows = read_manifest(judged, ["video_id", "config_fingerprint"]).to_pylist()
    assert {row["video_id"] for row in rows if row["config_fingerprint"] == ""} == {"de0"}


def test_what_is_removed_is_gone_and_releases_that_have_it_are_named(judged, capsys):
    assert run(capsys, "release", "--root", judged, "--name", "v1")[0] == 0
    status, out, _ = run(capsys, "remove", "de0", "--root", judged, "--reason", "asked")
    assert status == 0
    assert "takedown.txt keeps later builds" in out
    assert "v1" in out
    assert not list(judged.rglob("*de0*"))
    rows = [row for row in read_manifest(judged).to_pylist() if row["video_id"] == "de0"]
    assert {(row["error_code"], row["accepted"], row["transcript"]) for row in rows} == {
        ("removed", False, None)
    }
    assert run(capsys, "remove", "de0", "--root", judged)[0] == 1, "nothing was removed"
    assert run(capsys, "remove", "--root", judged)[0] == 0, "the list is carried out"
    for unknown in ("../de1", "De1", "nosuchvid"):
        assert run(capsys, "remove", unknown, "--root", judged)[0] == 2
    status, out, _ = run(capsys, "remove", "de1_0", "--root", judged, "--json")
    assert (status, json.loads(out)["rows"]) == (0, 1)
    assert not list((judged / "clips").rglob("de1_0*"))
    shutil.rmtree(judged / "releases")
    assert run(capsys, "verify", "--root", judged)[0] == 0, "a take-down is no damage"


def test_an_export_is_remembered_for_those_who_ask_to_be_removed(judged, capsys, tmp_path):
    out = tmp_path / "out"
    assert run(capsys, "export", "--root", judged, "--layout", "webdataset", "--out", out)[0] == 0
    _, text, _ = run(capsys, "remove", "de0_0", "--root", judged, "--json")
    assert json.loads(text)["exports"] == [str(out)]


@pytest.mark.parametrize(
    "command", ["report", "verify", "remove", "release --name v", "export --layout webdataset"]
)
def test_no_dataset_is_the_user_s_mistake(command, capsys, tmp_path):
    arguments = [*command.split(), "--root", tmp_path / "none"]
    status, _, err = run(capsys, *arguments, *(["--out", tmp_path / "out"] if "export" in command else []))
    assert status == 2
    assert "no dataset at" in err

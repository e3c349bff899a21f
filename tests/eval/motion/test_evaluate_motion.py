import dataclasses
import json
import wave

import numpy as np
import pytest

from multitalk.eval.drawing.error_plot import plot_clip
from multitalk.eval.ground_truth import FolderTruth, ReleaseTruth
from multitalk.eval.motion.baselines import BASELINES, baseline
from multitalk.eval.motion.evaluate_motion import evaluate_motion
from multitalk.eval.motion.metric import MotionPair
from multitalk.eval.motion.motion_tables import all_tables, summary_table
from multitalk.eval.motion.regions import canonical_regions
from multitalk.eval.settings import MotionEvaluationSettings
from multitalk.eval.vertex_files import VertexFileError

V = 478
EXPRESSION = np.random.default_rng(0).normal(size=(10, 5)).astype(np.float32)
"""Of the clip in `release_root`."""
SETTINGS = MotionEvaluationSettings(bootstrap_draws=100)


def motion(seed: int, frames: int = 30) -> np.ndarray:
    """A face that opens its mouth now and then."""
    rng = np.random.default_rng(seed)
    face = np.random.default_rng(99).normal(scale=0.03, size=(V, 3))
    face[14] = face[13] - [0, 0.001, 0]
    opening = np.clip(np.sin(np.arange(frames) / 3 + seed), 0, None)[:, None] * 0.01
    vertices = np.repeat(face[None], frames, axis=0) + rng.normal(scale=1e-4, size=(frames, V, 3))
    lower = canonical_regions(V).lips.vertices[5:20]
    vertices[:, lower, 1] -= opening
    return vertices.astype(np.float32)


def tone(path, loudness):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes((loudness * np.sin(np.arange(16000))).astype("<i2").tobytes())


@pytest.fixture
def folders(tmp_path):
    """Six clips of two languages; `close` follows them, `far` is 2 mm off everywhere."""
    for language, clips in (("german", "abc"), ("greek", "def")):
        for name in ("truth", "close", "far"):
            (tmp_path / name / language).mkdir(parents=True)
        for k, clip in enumerate(clips):
            true = motion(k)
            np.savez(tmp_path / "truth" / language / f"{clip}.npz", verts=true)
            np.save(
                tmp_path / "close" / language / f"{clip}.npy", (true + np.float32(0.0002 * k)).reshape(30, -1)
            )
            np.save(tmp_path / "far" / language / f"{clip}.npy", true + np.float32([0.002, 0, 0]))
    return tmp_path


def test_models_are_measured_pooled_and_compared(folders):
    result = evaluate_motion(
        FolderTruth(folders / "truth"), {"close": folders / "close", "far": folders / "far"}, SETTINGS
    )
    far = {(f.metric, f.pooling, f.group): f.value for f in result.figures["far"]}
    assert far["lve_l2", "frame", "all"] == pytest.approx(2, rel=1e-3)
    assert far["lve_squared", "clip", "german"] == pytest.approx(4e-6, rel=1e-3)
    assert far["opening_correlation", "language", "all"] == pytest.approx(1, abs=1e-3)
    assert far["fdd_mean_position", "frame", "all"] == pytest.approx(0, abs=1e-9)
    assert "fdd" in result.unmeasured
    assert not result.skipped
    lve = next(t for t in result.tests if t.metric == "lve_l2")
    assert (lve.model, lve.other, lve.clips) == ("close", "far", 6)
    assert lve.difference < -1


def test_all_tables_name_formula_unit_and_mask(folders):
    result = evaluate_motion(FolderTruth(folders / "truth"), {"far": folders / "far"}, SETTINGS)
    tables = {table.title: table for table in all_tables(result)}
    assert "lips(40)#" in tables["Definitions"].text("markdown")
    assert "no template" in tables["Definitions"].text("csv")
    rows = json.loads(tables["Figures"].text("json"))["rows"]
    assert {"model", "metric", "unit", "mask", "low", "high"} <= rows[0].keys()
    shown = summary_table(result, "clip", "greek").text("terminal")
    assert "lve_l2" in shown
    assert "mean over clips" in shown


def test_a_template_adds_the_variants_that_need_it(folders):
    np.save(folders / "template.npy", motion(0)[0])
    settings = MotionEvaluationSettings(
        template=folders / "template.npy", bootstrap_draws=100, metrics=("fdd", "mve")
    )
    result = evaluate_motion(FolderTruth(folders / "truth"), {"far": folders / "far"}, settings)
    assert [metric.name for metric in result.metrics] == ["fdd", "mve"]
    assert not result.unmeasured


def test_what_does_not_fit_is_skipped_and_said(folders):
    (folders / "close" / "german" / "a.npy").unlink()
    np.save(folders / "close" / "german" / "b.npy", motion(1, 25))
    np.save(folders / "close" / "german" / "c.npy", motion(2, 29))
    np.save(folders / "close" / "greek" / "d.npy", motion(0)[:, :468])
    np.save(folders / "close" / "greek" / "e.npy", np.zeros(7))
    np.save(folders / "close" / "greek" / "extra.npy", motion(0))
    result = evaluate_motion(FolderTruth(folders / "truth"), {"close": folders / "close"}, SETTINGS)
    reasons = {s.clip_id: s.reason for s in result.skipped}
    assert reasons["a"] == "no prediction"
    assert reasons["b"] == "25 frames, the ground truth has 30"
    assert "(30, 468, 3)" in reasons["d"]
    assert "e.npy" in reasons["e"]
    assert reasons["extra"] == "no ground truth"
    assert [s.clip_id for s in result.scores["close"]] == ["c", "f"]
    assert result.cut == {"close": 1}


def test_a_clip_of_another_mesh_is_skipped_with_its_sound(folders):
    (folders / "wav").mkdir()
    for clip in "abcdef":
        tone(folders / "wav" / f"{clip}.wav", 1000)
    np.save(folders / "truth" / "greek" / "g.npy", motion(0)[:, :20])
    tone(folders / "wav" / "g.wav", 1000)
    truth = FolderTruth(folders / "truth", sounds=folders / "wav")
    result = evaluate_motion(truth, {"close": folders / "close"}, SETTINGS)
    assert [(s.model, s.clip_id, s.reason) for s in result.skipped] == [
        ("ground truth", "g", f"20 vertices, the first clip has {V}")
    ]
    assert len(result.scores["close"]) == 6


def test_an_evaluation_that_is_broken_off_begins_no_further_clip(folders):
    loaded = []

    class Truth(FolderTruth):
        def load(self, clip_id):
            loaded.append(clip_id)
            return super().load(clip_id)

    def interrupt(done, total):
        raise KeyboardInterrupt

    for k in range(40):
        np.save(folders / "truth" / "greek" / f"more{k}.npy", motion(0))
    with pytest.raises(KeyboardInterrupt):
        evaluate_motion(Truth(folders / "truth"), {"close": folders / "close"}, SETTINGS, interrupt)
    assert len(loaded) < 40


def test_nothing_measured_is_an_error(folders):
    for file in (folders / "close").rglob("*.npy"):
        file.rename(file.with_stem(f"other_{file.stem}"))
    with pytest.raises(ValueError, match="not one clip"):
        evaluate_motion(FolderTruth(folders / "truth"), {"close": folders / "close"}, SETTINGS)
    with pytest.raises(VertexFileError, match="no such folder"):
        evaluate_motion(FolderTruth(folders / "truth"), {"x": folders / "x"}, SETTINGS)


def test_speech_and_samples_add_figures_of_whole_models(folders):
    (folders / "wav").mkdir()
    for k, clip in enumerate("abcdef"):
        tone(folders / "wav" / f"{clip}.wav", 1000 * (k + 1))
    sampled = folders / "sampled"
    sampled.mkdir()
    for k in range(2):
        np.save(sampled / f"a__sample{k}.npy", motion(0) + np.float32([0.001 * (2 * k - 1), 0, 0]))
    truth = FolderTruth(folders / "truth", sounds=folders / "wav")
    result = evaluate_motion(truth, {"sampled": sampled, "far": folders / "far"}, SETTINGS)
    assert result.sampled["sampled"]["diversity"] == pytest.approx(2, rel=1e-3)
    assert result.sampled["sampled"]["mean_estimate_error"] == pytest.approx(0, abs=1e-9)
    assert result.sampled["sampled"]["coverage_error"] == pytest.approx(1e-6, rel=1e-3)
    assert set(result.speech_lip) == {"ground truth", "sampled", "far"}
    assert any(table.title == "Whole models" for table in all_tables(result))


def test_timed_closures_replace_detected_ones(folders):
    (folders / "closures.json").write_text(json.dumps({clip: [] for clip in "abcdef"}))
    settings = MotionEvaluationSettings(
        closures=folders / "closures.json", bootstrap_draws=100, metrics=("closure_recall", "mve")
    )
    result = evaluate_motion(FolderTruth(folders / "truth"), {"far": folders / "far"}, settings)
    assert {f.metric for f in result.figures["far"]} == {"mve"}


def test_a_clip_can_be_plotted(tmp_path):
    pair = MotionPair(motion(0), motion(1), canonical_regions(V))
    for name in ("clip.svg", "new/clip.png"):
        plot_clip(tmp_path / name, {"model": pair}, "a clip")
    assert (
        b"largest lip error" in (tmp_path / "clip.svg").read_bytes()
        or (tmp_path / "clip.svg").stat().st_size > 5000
    )
    with pytest.raises(ValueError, match="model"):
        plot_clip(tmp_path / "x.png", {})


def head_model():
    from multitalk.fit_flame.heads.head_model import HeadModel, LandmarkEmbedding

    rng = np.random.default_rng(0)
    f32 = np.float32
    return HeadModel(
        name="canonical",
        hash="0123",
        v_template=rng.normal(scale=0.05, size=(V, 3)).astype(f32),
        faces=np.array([[0, 1, 2]]),
        shapedirs=np.zeros((V, 3, 4), f32),
        expressiondirs=rng.normal(scale=0.001, size=(V, 3, 5)).astype(f32),
        posedirs=np.zeros((V, 3, 36), f32),
        joint_regressor=np.full((5, V), 1 / V, f32),
        skinning_weights=np.eye(5, dtype=f32)[np.zeros(V, int)],
        embedding=LandmarkEmbedding(np.arange(3), np.zeros((3, 3), int), np.zeros((3, 3), f32)),
    )


def test_a_release_is_a_ground_truth(release_root):
    model = head_model()
    truth = ReleaseTruth(release_root, "first", model)
    assert truth.clip_ids == ["v_0"]
    loaded = truth.load("v_0")
    assert (loaded.language, loaded.source, loaded.fps) == ("german", "v", 25.0)
    assert loaded.sound == release_root / "wav" / "german" / "v_0.wav"
    expected = model.v_template + np.einsum("vce,te->tvc", model.expressiondirs, EXPRESSION)
    np.testing.assert_allclose(loaded.vertices, expected, atol=1e-6)
    assert ReleaseTruth(release_root, "first", model, split="train").clip_ids == []
    other = dataclasses.replace(model, hash="ffff")
    with pytest.raises(VertexFileError, match="canonical:0123, not canonical:ffff"):
        ReleaseTruth(release_root, "first", other).load("v_0")


def test_speech_and_lips_are_compared_within_a_source_video(folders):
    """Named as MultiTalk's are, `<video>_<n>`, clips beside a folder of sounds are of one speaker."""
    for name in ("truth", "far"):
        for k, file in enumerate(sorted((folders / name).rglob("*.np?"))):
            file.rename(file.with_name(f"Greek_video{k // 3}_{k % 3}{file.suffix}"))
    (folders / "wav").mkdir()
    for k in range(6):
        tone(folders / "wav" / f"Greek_video{k // 3}_{k % 3}.wav", 1000 * (k + 1))
    truth = FolderTruth(folders / "truth", sounds=folders / "wav")
    result = evaluate_motion(truth, {"far": folders / "far"}, SETTINGS)
    assert all(np.isfinite(value) for value in result.speech_lip.values())


def test_closures_after_the_clips_end_are_not_missed(folders):
    (folders / "closures.json").write_text(json.dumps({clip: [[0.0, 0.1], [40, 41]] for clip in "abcdef"}))
    settings = MotionEvaluationSettings(
        closures=folders / "closures.json", bootstrap_draws=100, metrics=("closure_recall",)
    )
    result = evaluate_motion(FolderTruth(folders / "truth"), {"far": folders / "far"}, settings)
    assert {score.means["closure_recall"] for score in result.scores["far"]} == {1.0}


def test_baselines_pass_over_clips_that_can_not_be_read(folders):
    np.save(folders / "truth" / "greek" / "broken.npy", np.full((3, V, 3), np.nan, np.float32))
    truth = FolderTruth(folders / "truth", np.zeros((V, 3), np.float32))
    made = {name: baseline(name, truth) for name in BASELINES}
    result = evaluate_motion(truth, made, SETTINGS)
    assert {name: len(scores) for name, scores in result.scores.items()} == {
        "still": 6,
        "mean": 6,
        "shuffled": 6,
    }
    assert [s.clip_id for s in result.skipped] == ["broken"]

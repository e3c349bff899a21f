import json

import numpy as np
import pytest

from multitalk.eval.motion.catalog import METRICS, choose_metrics, metrics_markdown
from multitalk.eval.motion.distances import lip_vertex_error_squared
from multitalk.eval.motion.metric import MotionPair
from multitalk.eval.motion.regions import FaceRegions, VertexRegion
from tests.golden import golden

LIPS, UPPER = [1, 2, 3], [5, 6]


def regions() -> FaceRegions:
    return FaceRegions(
        "toy", 8, VertexRegion.of("lips", LIPS, "toy"), (1, 2), VertexRegion.of("upper", UPPER, "toy")
    )


def still(frames: int = 4) -> np.ndarray:
    return np.zeros((frames, 8, 3), np.float32)


def figure(name: str, ground_truth, prediction, template=None) -> float:
    metric = METRICS[name]
    pair = MotionPair(ground_truth, prediction, regions(), template)
    return metric.finish(float(np.mean(metric.measure(pair))))


def test_lip_vertex_error_is_the_references():
    folder = golden("lve")
    expected = json.loads((folder / "expected.json").read_text())
    clips = [np.load(folder / f"clip_{k}.npz") for k in range(2)]
    listed = json.loads((folder / "mouth_vertices.json").read_text())
    if clips[0]["prediction"].shape[1] < max(listed):  # the listed vertices alone
        order = sorted(set(listed))
        listed = [order.index(vertex) for vertex in listed]
    values = [lip_vertex_error_squared(c["ground_truth"], c["prediction"], listed) for c in clips]
    assert values == pytest.approx(expected["per_clip"], rel=1e-6)
    pooled = np.average(values, weights=[len(c["prediction"]) for c in clips])
    assert pooled == pytest.approx(expected["lip_vertex_error"], rel=1e-6)


@pytest.mark.parametrize("frames", [1, 7])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_lip_vertex_error_of_any_kind_of_number(dtype, frames):
    true = np.arange(frames * 6 * 3).reshape(frames, 6, 3).astype(dtype)
    off = (true + np.array([1, 2, 2])).astype(dtype)
    off[:, 5] += 1
    assert lip_vertex_error_squared(true, off, [4, 1, 4]) == 9
    assert lip_vertex_error_squared(true.tolist(), off.astype(np.float64), np.array([1, 4])) == 9
    assert lip_vertex_error_squared(np.asfortranarray(true), off[:, ::1], [5]) == 22


@pytest.mark.slow  # importing it takes ten seconds
def test_lip_vertex_error_agrees_with_torchmetrics():
    import torch

    oracle = pytest.importorskip("torchmetrics.functional.multimodal").lip_vertex_error
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 9, 30, 3)).astype(np.float32)
    ids = [4, 7, 20]
    theirs = float(oracle(torch.from_numpy(b), torch.from_numpy(a), mouth_map=ids))
    assert lip_vertex_error_squared(a, b, ids) == pytest.approx(theirs, rel=1e-6)


def test_the_three_lip_vertex_errors_of_a_known_case():
    prediction = still()
    prediction[0, 1, 0] = 0.003  # 3 mm in one frame, 4 mm in another, elsewhere none
    prediction[2, 3, 1] = 0.004
    prediction[:, 0] = 1.0  # not a lip vertex
    assert figure("lve_squared", still(), prediction) == pytest.approx((9e-6 + 16e-6) / 4)
    assert figure("lve_l2", still(), prediction) == pytest.approx(7 / 4)
    assert figure("lve_rms", still(), prediction) == pytest.approx(2.5)
    assert figure("lip_max", still(), prediction) == pytest.approx(4)


def test_vertex_errors_look_at_all_vertices():
    prediction = still()
    prediction[:, 7, 2] = 0.008
    assert figure("mve", still(), prediction) == pytest.approx(1)
    assert figure("mve_rms", still(), prediction) == pytest.approx(8 / np.sqrt(8))
    assert figure("lve_l2", still(), prediction) == 0


def test_mouth_opening_difference_by_extent_and_by_inner_lips():
    ground_truth, prediction = still(), still()
    ground_truth[:, 1, 1], ground_truth[:, 3, 1] = 0.004, -0.006  # extent 10 mm; gap of 1 and 2: 4 mm
    prediction[:, 1, 1] = 0.003
    assert figure("mod_extent", ground_truth, prediction) == pytest.approx(7)
    assert figure("mod_inner", ground_truth, prediction) == pytest.approx(1, rel=1e-5)


def test_jitter_is_the_second_difference():
    prediction = still(5)
    prediction[:, :, 0] = 0.001 * np.array([0, 1, 0, 1, 0])[:, None]
    assert figure("jitter", still(5), prediction) == pytest.approx(2)
    steady = still(5)
    steady[:, :, 0] = 0.001 * np.arange(5)[:, None]
    assert figure("jitter", still(5), steady) == pytest.approx(0, abs=1e-6)
    assert figure("jitter_ratio", prediction, prediction / 2) == pytest.approx(0.5)
    assert np.isnan(figure("jitter_ratio", still(5), prediction))


def test_fdd_variants_of_a_known_case():
    ground_truth, prediction = still(), still()
    template = np.zeros((8, 3), np.float32)
    # vertex 5 of the truth swings by 2 mm: squared offsets 0 and 4e-6, spread 2e-6; norms 0 and 2 mm,
    # spread 1 mm
    ground_truth[1::2, 5, 1] = 0.002
    # vertex 6 of the prediction does the same
    prediction[1::2, 6, 1] = 0.002
    assert figure("fdd", ground_truth, prediction, template) == pytest.approx(0, abs=1e-12)
    assert figure("fdd_vertex_absolute", ground_truth, prediction, template) == pytest.approx(2e-6)
    assert figure("fdd", ground_truth, still(), template) == pytest.approx(1e-6)
    assert figure("fdd", still(), prediction, template) == pytest.approx(-1e-6)
    assert figure("fdd_absolute", still(), prediction, template) == pytest.approx(1e-6)
    assert figure("fdd_norm", ground_truth, still(), template) == pytest.approx(0.5)
    assert figure("fdd_coordinate_sum", ground_truth, still()) == pytest.approx(0.05)
    # around the mean position both offsets are 1 mm in every frame: no spread at all
    assert figure("fdd_mean_position", ground_truth, still()) == pytest.approx(0, abs=1e-12)


def test_template_shifts_the_fdd_of_the_reference():
    ground_truth = still()
    ground_truth[1::2, 5, 1] = 0.002
    template = np.full((8, 3), 0.01, np.float32)
    squared = ((ground_truth[:, UPPER].astype(np.float64) - 0.01) ** 2).sum(-1)
    assert figure("fdd", ground_truth, still(), template) == pytest.approx(squared.std(0).mean(), rel=1e-4)


@pytest.mark.parametrize(
    ("ground_truth", "prediction"),
    [((3, 8, 3), (4, 8, 3)), ((0, 8, 3), (0, 8, 3)), ((3, 7, 3), (3, 7, 3)), ((3, 24), (3, 24))],
)
def test_wrong_shapes_are_refused(ground_truth, prediction):
    with pytest.raises(ValueError, match=r"\("):
        MotionPair(np.zeros(ground_truth), np.zeros(prediction), regions())
    if len(ground_truth) != 3 or ground_truth[1] != 7:
        with pytest.raises(ValueError, match=r"\(|frame"):
            lip_vertex_error_squared(np.zeros(ground_truth), np.zeros(prediction), LIPS)


@pytest.mark.parametrize("lips", [[], [8], [-1], [[1, 2]]])
def test_lip_vertices_must_be_vertices(lips):
    with pytest.raises(ValueError, match="lip vert"):
        lip_vertex_error_squared(still(), still(), lips)


def test_every_metric_is_documented_and_perfect_on_itself():
    rng = np.random.default_rng(1)
    motion = rng.normal(scale=0.01, size=(20, 8, 3)).astype(np.float32)
    template = np.zeros((8, 3), np.float32)
    best = {"lower": 0.0, "zero": 0.0, "higher": 1.0, "one": 1.0}
    for metric in choose_metrics(()):
        assert metric.formula
        assert metric.source
        if metric.name in ("jitter", "closure_recall"):
            continue
        assert figure(metric.name, motion, motion, template) == pytest.approx(best[metric.better], abs=1e-6)
        assert f"`{metric.name}`" in metrics_markdown()


def test_an_unknown_metric_is_named():
    with pytest.raises(ValueError, match=r"lve_squered.*lve_squared"):
        choose_metrics(("lve_squered",))


def test_a_metric_says_what_it_lacks():
    bare = FaceRegions("toy", 8, VertexRegion.of("lips", LIPS, "toy"))
    assert "FLAME_masks" in METRICS["fdd"].missing(bare, template=True)
    assert "template" in METRICS["fdd"].missing(regions(), template=False)
    assert "inner-lip" in METRICS["mtm"].missing(bare, template=True)
    assert METRICS["lve_l2"].missing(bare, template=False) is None

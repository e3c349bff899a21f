"""Prefect's artifact of a build says what the report page says."""

from multitalk.flows.artifact import build_markdown
from multitalk.flows.building.dataset_policy import apply_policy
from multitalk.flows.building.summary import summarise
from multitalk.manifests.store import commit_fragment


def test_the_artifact_has_totals_waterfall_distributions_and_failures(tmp_path):
    good = {"status": "ok", "duration_sec": 4.0, "fit_landmark_error": 0.01, "snr_db": 12.0}
    rows = [
        {"clip_id": "v_0", **good},
        {"clip_id": "v_1", **good, "fit_landmark_error": 0.5},
        {"clip_id": "v_2", "status": "failed", "error_code": "no_face", "error_message": "<b>a | b\nc</b>"},
    ]
    commit_fragment(tmp_path, "german", "v", rows, fingerprint="f")
    before = build_markdown(summarise(tmp_path, built=1, skipped=0, seconds=1.0))
    assert "policy" not in before
    apply_policy(tmp_path, "imported")
    text = build_markdown(summarise(tmp_path, built=1, skipped=7, seconds=1.0, notes=("No LR-ASD.",)))
    assert "1 source videos built in 1 s, 7 done before." in text
    assert "No LR-ASD." in text
    assert "**3** clips annotated, **2** built, **1** accepted" in text
    assert "| german | 1 | 3 | 2 | 1 | 0.13 |" in text
    assert "| rule | first | alone | all | reason |" in text
    assert "| status | 1 | 1 | 1 |  |" in text
    assert "| fit | 1 | 1 | 1 | Mean distance of the vertices" in text
    assert "| Clip length | 2 | 4 s | 0 s `      █                 ` 16 s |" in text
    assert "| no_face |  | 1 | 1 | v_2 | &lt;b>a \\| b c&lt;/b> |" in text
    assert "Head turned" not in text, "what was not measured has no line"

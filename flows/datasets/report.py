"""The report page of a dataset, with pictures and its policy's waterfall."""

from pathlib import Path

import pyarrow.compute as pc

from multitalk.filters.policy import load_policy
from multitalk.filters.verdicts import evaluate_policy, explained_rows, metric_columns, waterfall
from multitalk.flows.building.dataset_policy import policy_of
from multitalk.flows.looking.pictures import clip_picture
from multitalk.flows.modelling.stored_heads import head_models_here
from multitalk.manifests.report.report import write_report
from multitalk.manifests.schema import MANIFEST
from multitalk.manifests.store import read_manifest


def write_dataset_report(
    root: Path,
    out: Path,
    *,
    title: str = "",
    gallery_size: int = 120,
    head_model: str | None = None,
    by_person: bool = False,
) -> list[str]:
    """Write the page; returns what the user should know of it.

    Parameters
    ----------
    head_model
        Name or file of the clips' head model, where their motion does not tell.
    by_person
        Show one clip of each person in the gallery.

    Raises
    ------
    DatasetError
        When there is no dataset at `root`.
    """
    rows, notes = policy_waterfall(root)
    keys = read_manifest(root, ["head_model"])["head_model"].unique().to_pylist()
    models, missing = head_models_here(keys, head_model)
    picture = clip_picture(root, models)
    write_report(
        root,
        out,
        title=title,
        waterfall=rows,
        picture=picture,
        gallery_size=gallery_size,
        by_person=by_person,
    )
    return notes + missing


def policy_waterfall(root: Path) -> tuple[list[dict[str, str | int]], list[str]]:
    """Return the rows of the waterfall of a dataset's policy, none before any, and what the user should know.

    Raises
    ------
    DatasetError
        When there is no dataset at `root`.
    """
    policy = load_policy(policy_of(root), MANIFEST)
    clips = read_manifest(root, sorted({*metric_columns(policy), "accepted"}))
    if clips["accepted"].null_count == len(clips):
        return [], []
    verdicts = evaluate_policy(policy, clips)
    accepted = pc.fill_null(clips["accepted"], False).to_numpy()
    stale = bool((accepted != verdicts.accepted).any())
    notes = ["the clips' verdicts are not up to date with policy.yaml: run `multitalk filter`"] * stale
    return explained_rows(policy, waterfall(verdicts)), notes

"""Evaluating predicted motion: the truth out of a folder or a release, baselines, and the tables."""

from collections.abc import Callable, Sequence

import pyarrow.compute as pc

from multitalk.eval.ground_truth import FolderTruth, GroundTruth, ReleaseTruth, read_template
from multitalk.eval.motion.baselines import BASELINES, Predict, baseline
from multitalk.eval.motion.evaluate_motion import MotionEvaluation, evaluate_motion
from multitalk.eval.motion.motion_tables import all_tables
from multitalk.eval.tables import Table
from multitalk.fit_flame.heads.head_model import HeadModel
from multitalk.flows.modelling.settings import EvaluateSettings
from multitalk.flows.modelling.stored_heads import only_model
from multitalk.ground.settings import SettingsError
from multitalk.manifests.releases.release import read_release

Progress = Callable[[int, int], None]


UNMEASURED = "Models of which not one clip could be measured"
"""Title of the table that names them."""


def evaluate(settings: EvaluateSettings, progress: Progress | None = None) -> list[Table]:
    """Measure predictions, and baselines if they are asked for.

    Parameters
    ----------
    settings
    progress
        Called with clips done and clips in all.

    Returns
    -------
    list of Table
        The summary first, then every figure, tests, definitions and what was skipped.

    Raises
    ------
    SettingsError
        No clip could be measured, or a metric is unknown.
    VertexFileError, RegionError, DatasetError, MotionError
        A folder, a file, or the dataset can not be used.
    """
    truth = ground_truth(settings)
    baselines: dict[str, Predict] = {
        name: baseline(name, truth) for name in (BASELINES if settings.baselines else ())
    }
    for name in baselines.keys() & settings.predictions.keys():
        raise SettingsError(f"{name}: a baseline has this name; give the predictions another")
    try:
        found = evaluate_motion(truth, {**settings.predictions, **baselines}, settings.measures, progress)
    except ValueError as error:
        if type(error) is ValueError:
            raise SettingsError(str(error)) from error
        raise
    tables = all_tables(found)
    unmeasured = [name for name in settings.predictions if not found.scores[name]]
    if unmeasured:
        tables.append(_unmeasured(unmeasured, found))
    return tables


def _unmeasured(models: Sequence[str], found: MotionEvaluation) -> Table:
    """Name the models of which nothing is known, with the first reason."""
    reasons = {
        name: [f"{s.clip_id}: {s.reason}" for s in found.skipped if s.model == name] for name in models
    }
    rows = tuple((name, (reasons[name] or ["its folder has no file of these clips"])[0]) for name in models)
    return Table(UNMEASURED, ("model", "why"), rows)


def ground_truth(settings: EvaluateSettings) -> GroundTruth:
    """Open the truth that settings name; raises as `evaluate`."""
    measures = settings.measures
    if settings.ground_truth is not None:
        template = read_template(measures.template, measures.metres_per_unit) if measures.template else None
        return FolderTruth(settings.ground_truth, template, settings.sounds, measures.metres_per_unit)
    assert settings.root is not None and settings.release is not None
    return ReleaseTruth(settings.root, settings.release, release_head_model(settings), settings.split)


def release_head_model(settings: EvaluateSettings) -> HeadModel:
    """Load the head model that the clips of the release's split were fitted with; raises as `evaluate`."""
    assert settings.root is not None and settings.release is not None
    clips = read_release(settings.root, settings.release)
    chosen = clips.filter(pc.equal(clips["split"], settings.split))
    if not chosen.num_rows:
        raise SettingsError(f"release {settings.release}: no clip is in its split {settings.split!r}")
    return only_model(chosen["head_model"], settings.head_model)

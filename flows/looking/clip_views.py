"""One clip as every model sees it: its error over time as a plot, and the heads side by side as a video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from multitalk.eval.drawing.error_plot import plot_clip
from multitalk.eval.drawing.talking_video import write_side_by_side
from multitalk.eval.ground_truth import GroundTruth, TrueClip, read_template
from multitalk.eval.motion.clip_measures import fit_lengths
from multitalk.eval.motion.metric import MotionPair
from multitalk.eval.motion.regions import regions_for
from multitalk.eval.vertex_files import find_vertex_files, read_vertices
from multitalk.flows.evaluating.motion import ground_truth, release_head_model
from multitalk.flows.modelling.head_models import CANONICAL, load_head_model
from multitalk.flows.modelling.settings import EvaluateSettings
from multitalk.ground.settings import SettingsError
from multitalk.manifests.media import read_sound
from multitalk.manifests.paths import clip_path

if TYPE_CHECKING:
    from multitalk.ground.arrays import Array, Float32


def plot_errors(settings: EvaluateSettings, clip_id: str, out: Path) -> None:
    """Draw the lips' error and gap over time; parameters as `multitalk.eval.drawing.error_plot.plot_clip`.

    Raises
    ------
    SettingsError
        There is no such clip, no model predicts it, or the file's kind is not known.
    """
    truth = ground_truth(settings)
    clip, predicted = _clip(truth, settings, clip_id)
    measures = settings.measures
    regions = regions_for(clip.vertices.shape[1], measures.masks, measures.regions, truth.head_model)
    pairs = {}
    try:
        for name, vertices in predicted.items():
            true, (own,), _ = fit_lengths(clip.vertices, [vertices], measures.length_tolerance)
            pairs[name] = MotionPair(true, own, regions, fps=clip.fps)
        plot_clip(out, pairs, clip_id)
    except ValueError as error:
        raise SettingsError(f"{clip_id}: {error}") from error


def write_comparison(settings: EvaluateSettings, clip_id: str, out: Path) -> int:
    """Write a video: the real one where there is a release, the true motion, every model, with the sound.

    Returns
    -------
    int
        Frames.

    Raises
    ------
    SettingsError
        There is no such clip, or its mesh has no known triangles.
    RenderError
        Nothing can be drawn on this machine.
    """
    if out.suffix != ".mp4":
        raise SettingsError(f"{out}: must end in .mp4")
    clip, predicted = _clip(ground_truth(settings), settings, clip_id)
    head = (
        release_head_model(settings)
        if settings.release is not None
        else load_head_model(settings.head_model or CANONICAL)
    )
    if len(head.v_template) != clip.vertices.shape[1]:
        raise SettingsError(
            f"{clip_id}: {clip.vertices.shape[1]} vertices are not those of {head.key}: name their head model"
        )
    real = None
    if settings.root is not None and settings.release is not None:
        video = clip_path(settings.root, clip.language, clip_id)
        real = video if video.is_file() else None
    sound = read_sound(clip.sound) if clip.sound is not None else None
    template = _template(settings) if settings.measures.template else head.v_template
    models = {"ground truth": clip.vertices, **predicted}
    for name, vertices in models.items():
        if vertices.shape[1] != len(template):
            raise SettingsError(
                f"{clip_id}: {name} has {vertices.shape[1]} vertices, the head {len(template)}"
            )
    return write_side_by_side(
        out, models, head.faces, template, real=real, fps=clip.fps, sound=sound, colours=head.colours
    )


def _template(settings: EvaluateSettings) -> Float32[Array, "vertices 3"]:
    assert settings.measures.template is not None
    return read_template(settings.measures.template, settings.measures.metres_per_unit)


def _clip(
    truth: GroundTruth, settings: EvaluateSettings, clip_id: str
) -> tuple[TrueClip, dict[str, Float32[Array, "frames vertices 3"]]]:
    if clip_id not in truth.clip_ids:
        raise SettingsError(f"{clip_id}: the ground truth has no such clip")
    predicted = {}
    for name, folder in settings.predictions.items():
        file = find_vertex_files(folder).get(clip_id)
        if file is not None:
            predicted[name] = read_vertices(file.paths[0], settings.measures.metres_per_unit)
    if not predicted:
        raise SettingsError(f"{clip_id}: no model predicts it")
    return truth.load(clip_id), predicted

"""The pages of `docs/` that are tables: made from what they document, so that they can not go stale.

``make docs`` writes them; a test compares.
"""

import ast
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from multitalk.extract.errors import ErrorCode
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.commands.main import application
from multitalk.flows.commands.shown_settings import model_in, model_meaning
from multitalk.flows.discovering.settings import DiscoverSettings
from multitalk.flows.evaluating.lip_reading_settings import ReadLipsSettings
from multitalk.flows.evaluating.settings import EvaluateReleaseSettings
from multitalk.flows.modelling.settings import EvaluateSettings, EvaluateTalkerSettings, TrainSettings
from multitalk.ground.outcome import OUTCOME, unmarked
from multitalk.manifests.releases.release import ReleaseSettings
from multitalk.training.run_settings import PriorRun, TalkerRun

_MADE = "<!-- Made by `make docs`; changes belong where the text comes from. -->\n"
_SETTINGS: Mapping[str, tuple[type[BaseModel], str]] = {
    "multitalk build": (BuildSettings, "A build; also the parameter of the flow `build-dataset`."),
    "multitalk discover": (DiscoverSettings, "A discovery; `build` in it is a build's settings, above."),
    "multitalk release": (ReleaseSettings, "A release."),
    "multitalk train": (TrainSettings, "Training; the flows `train-motion-prior` and `train-talker`, too."),
    "multitalk train prior, changes": (PriorRun, "What `changes` of a motion prior may name."),
    "multitalk train talker, changes": (TalkerRun, "What `changes` of a talker may name."),
    "multitalk evaluate motion": (EvaluateSettings, "Motion against the truth."),
    "multitalk evaluate lip-reading": (ReadLipsSettings, "Lips read off models and videos."),
    "multitalk evaluate talker": (EvaluateTalkerSettings, "A talker that speaks a release's clips."),
    "multitalk evaluate all": (
        EvaluateReleaseSettings,
        "All of it; also the parameter of the flow `evaluate`.",
    ),
}


def pages() -> dict[str, str]:
    """Return the generated pages by file name."""
    return {
        "columns.md": columns_page(),
        "commands.md": commands_page(),
        "error-codes.md": error_codes_page(),
        "motion-metrics.md": metrics_page(),
        "settings.md": settings_page(),
    }


def columns_page() -> str:
    """Tell what is known of each clip: the columns of the manifest, of motion and of landmarks."""
    from multitalk.manifests.columns import columns_markdown

    return (
        f"# Columns\n\n{_MADE}\n"
        "One row a clip in the manifest, whatever became of the clip; one a fitted clip in the files of motion and\n"
        "landmarks. Metrics are measured once and are never verdicts. The same text is in the metadata of each file's\n"
        f"columns.\n\n{columns_markdown()}"
    )


def commands_page() -> str:
    """Show every command with its options, as `--help` shows them."""
    text = application().generate_docs(usage_name="multitalk")
    _, _, body = text.partition("\n")
    return (
        f"# Commands\n\n{_MADE}{body.rstrip()}\n\nExit status: 0 when the run finished, 2 for unusable arguments or "
        "configuration, 1 when the run could not finish, or nothing came out of it.\n"
    )


def error_codes_page() -> str:
    """List the closed set of reasons for which a clip can fail."""
    meanings = _documented(ErrorCode)
    rows = [f"| `{code}` | {meanings[code.name]} |{' yes' if code.transient else ''} |" for code in ErrorCode]
    lines = [
        "# Error codes",
        "",
        _MADE,
        "The column `error_code` says why there is no clip; `error_message` what happened, to which file, and what to",
        "do. What may have gone is tried again by the next run; the rest when asked: `--retry video_unavailable`.",
        "",
        "| `error_code` | meaning | tried again by the next run |",
        "| --- | --- | --- |",
        *rows,
    ]
    return "\n".join(lines) + "\n"


def metrics_page() -> str:
    """List the metrics of predicted motion."""
    from multitalk.eval.motion.catalog import metrics_markdown

    return (
        f"# Metrics of motion\n\n{_MADE}\nWhat `multitalk evaluate motion` measures, name by name.\n\n"
        f"{metrics_markdown()}\n"
    )


def settings_page() -> str:
    """List every setting of every command that takes a configuration."""
    lines = [
        "# Settings",
        "",
        _MADE,
        "A YAML file for `--config`, options by their dotted names (`--fit.smooth-face 0.2`), the parameter of a flow",
        "and the form in Prefect's UI are the same settings. `--show-config` of a command shows them with values",
        "now. Where there is a column *outcome*, a setting marked there changes what comes out: another value makes",
        "a build do the stages anew that go by it, and those that read them. The others say where, how fast, how much.",
        "",
    ]
    shown: dict[type[BaseModel], str] = {}
    for title, (model, about) in _SETTINGS.items():
        lines += [f"## {title}", "", about, "", *_table(model, shown), ""]
        shown[model] = title
    return "\n".join(lines)


def _table(model: type[BaseModel], shown: Mapping[type[BaseModel], str]) -> Iterator[str]:
    marked = not any(unmarked(model))
    yield "| setting | meaning | default |" + (" outcome |" if marked else "")
    yield "| --- | --- | --- |" + (" --- |" if marked else "")
    for name, field in _leaves(model, shown):
        meaning = field.description or model_meaning(field.annotation)
        effect = (" yes |" if OUTCOME in field.metadata else " |") if marked else ""
        yield f"| `{name}` | {_cell(meaning)} | {_cell(_default(field, shown))} |{effect}".replace(
            "|  |", "| |"
        )


def _leaves(
    model: type[BaseModel], shown: Mapping[type[BaseModel], str], prefix: str = ""
) -> Iterator[tuple[str, FieldInfo]]:
    """Yield settings by dotted name; of settings that have a table of their own only the name."""
    for name, field in model.model_fields.items():
        inner = _settings_in(field)
        if inner is None or inner in shown:
            yield prefix + name, field
        else:
            yield from _leaves(inner, shown, f"{prefix}{name}.")


def _default(field: FieldInfo, shown: Mapping[type[BaseModel], str]) -> str:
    if field.is_required():
        return "needed"
    if (inner := _settings_in(field)) is not None:
        return f"as of {shown[inner]}"
    if field.default_factory is not None:
        return "" if field.default_factory is dict else "of the machine, or the day"
    return "" if field.default in (None, (), {}, "") else f"`{_plain(field.default)}`"


def _settings_in(field: FieldInfo) -> type[BaseModel] | None:
    """Return the settings that a field holds; of several kinds that of the default."""
    return type(field.default) if isinstance(field.default, BaseModel) else model_in(field.annotation)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _documented(kind: type) -> dict[str, str]:
    """Return the text below each member of a class, as its source has it."""
    (body,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for member, text in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(member, ast.Assign)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            name = member.targets[0]
            assert isinstance(name, ast.Name)
            found[name.id] = _cell(str(text.value.value)).rstrip(".")
    return found


def write(folder: Path) -> None:
    """Write the pages into a folder. Not to be run by ``python -m``: cyclopts would put that into the usage."""
    for name, text in pages().items():
        (folder / name).write_text(text, "utf-8")

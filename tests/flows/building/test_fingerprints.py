"""Which settings build what anew: said beside each field, once."""

from enum import Enum
from typing import Annotated, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel, Field

from multitalk.extract.errors import Stage
from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.building.stages import STAGES, configuration_fingerprint, downstream, stage_fingerprints
from multitalk.flows.discovering.settings import DiscoverSettings
from multitalk.ground.outcome import OUTCOME, RUNTIME, Effect, unmarked

# The stage that a group of settings belongs to.
STAGE_OF = {
    "download": Stage.SOURCE,
    "trim": Stage.TRIM,
    "landmarks": Stage.LANDMARKS,
    "tracks": Stage.LANDMARKS,
    "fit": Stage.FIT,
    "speech": Stage.SPEECH,
    "language": Stage.LANGUAGE,
}
OF_TRANSCRIPT = (
    *("language.beam_size", "language.max_tokens_per_sec", "language.min_transcribe_probability"),
    "language.word_times",
)
# Judged elsewhere, by their own tests: what is wanted at all, models of other packages.
APART = ("head_model", "speaking_score", "screen_text", "persons", "language.transcribe", "landmarks.backend")


@pytest.mark.parametrize("model", [BuildSettings, DiscoverSettings])
def test_every_setting_says_whether_it_changes_the_outcome(model):
    assert list(unmarked(model)) == []


def test_a_setting_that_does_not_say_is_found():
    class Inner(BaseModel):
        silent: int = 1
        plain: Annotated[int, OUTCOME] = 1

    class Outer(BaseModel):
        inner: Inner = Field(default_factory=Inner)
        maybe: Inner | None = None
        both: Annotated[int, OUTCOME, RUNTIME] = 1
        device: Annotated[str, RUNTIME] = "cpu"

    assert list(unmarked(Outer)) == ["inner.silent", "maybe.silent", "both"]


def leaves(model: type[BaseModel], place: str = ""):
    """Yield every field that holds no model: its name with dots, its mark, and what it may hold."""
    for name, field in model.model_fields.items():
        inner = [
            kind for kind in (field.annotation, *get_args(field.annotation))
            if isinstance(kind, type) and issubclass(kind, BaseModel)
        ]  # fmt: skip
        if inner:
            for kind in inner:
                if field.default is not None or field.default_factory is not None:
                    yield from leaves(kind, f"{place}{name}.")
        else:
            mark = next(mark for mark in field.metadata if isinstance(mark, Effect))
            yield f"{place}{name}", mark, field


def values_of(model: BaseModel, name: str):
    for part in name.split("."):
        model = getattr(model, part)
    return model


def other_values(now, kind):
    """Values that a setting may have besides the present one, the likeliest first."""
    if get_origin(kind) is Literal:
        return [value for value in get_args(kind) if value != now]
    if isinstance(now, bool):
        return [not now]
    if isinstance(now, Enum):
        return [value for value in type(now) if value != now]
    if isinstance(now, int):
        return [now + 1, now - 1, now + 2, now * 2, now // 2]
    if isinstance(now, float):
        return [now * 0.9, now * 1.1, now + 0.05, now - 0.05, now + 1, now / 2]
    if isinstance(now, tuple | list):
        scaled = [[now[0] * 1.1, *now[1:]]] if now and isinstance(now[0], float) else []
        return [*scaled, ["source"], ["network"], ["german"], ["x.json"]]
    if isinstance(now, dict):
        return [{}, {"node": None}, {"youtube": {"a": ["b"]}}]
    return [
        "cpu",
        "cuda",
        "cuda:0",
        "dask",
        "other",
        "http://y/{video_id}",
        __file__,
        7,
        1.5,
        10**7,
        "default",
    ]


def with_other(name: str, kind) -> BuildSettings | None:
    plain = BuildSettings()
    for value in other_values(values_of(plain, name), kind):
        *outer, last = name.split(".")
        nested = {last: value}
        for part in reversed(outer):
            nested = {part: nested}
        try:
            changed = BuildSettings(**nested)
        except ValueError:
            continue
        if values_of(changed, name) != values_of(plain, name):
            return changed
    return None


FIELDS = list(leaves(BuildSettings))


@pytest.fixture(scope="module")
def plain():
    return stage_fingerprints(BuildSettings())


RUNTIME_FIELDS = {name: field for name, mark, field in FIELDS if mark is RUNTIME}
OUTCOME_FIELDS = {name: field for name, mark, field in FIELDS if mark is OUTCOME and name not in APART}


@pytest.mark.parametrize("name", RUNTIME_FIELDS)
def test_what_changes_no_outcome_changes_no_fingerprint(name, plain):
    changed = with_other(name, RUNTIME_FIELDS[name].annotation)
    assert changed is not None, "no other value is tried"
    assert stage_fingerprints(changed) == plain
    assert configuration_fingerprint(stage_fingerprints(changed)) == configuration_fingerprint(plain)


@pytest.mark.parametrize("name", OUTCOME_FIELDS)
def test_what_changes_the_outcome_changes_its_stage_and_what_reads_it(name, plain):
    changed = with_other(name, OUTCOME_FIELDS[name].annotation)
    assert changed is not None, "no other value is tried"
    found = stage_fingerprints(changed)
    anew = {stage for stage in plain if found.get(stage) != plain[stage]}
    if name.startswith("landmarks.face_alignment."):
        assert anew == set(), "only the backend that is chosen counts"
        return
    own = Stage.TRANSCRIPT if name in OF_TRANSCRIPT else STAGE_OF[name.split(".")[0]]
    assert anew == downstream({own}) & set(plain)
    assert configuration_fingerprint(found) != configuration_fingerprint(plain)


def test_devices_threads_workers_caches_and_paths_count_nowhere():
    names = {name for name, mark, _ in FIELDS if mark is RUNTIME}
    assert {"fit.device", "language.device", "language.threads", "threads", "workers", "root"} <= names
    assert {"source_url", "annotations", "prefetch", "keep_raw", "keep_landmarks", "retry"} <= names


def test_words_are_a_stage_of_their_own(plain):
    without = stage_fingerprints(BuildSettings(language={"transcribe": False}))
    assert without == {stage: value for stage, value in plain.items() if stage is not Stage.TRANSCRIPT}


def test_a_score_that_is_not_asked_for_is_no_stage(plain):
    without = stage_fingerprints(BuildSettings(speaking_score=False))
    assert without == {stage: value for stage, value in plain.items() if stage is not Stage.SPEAKING}


def test_what_a_stage_reads_stands_before_it():
    seen: set[Stage] = set()
    for stage, rules in STAGES.items():
        assert set(rules.reads) <= seen
        seen.add(stage)


def test_no_column_is_written_by_two_stages():
    columns = [column for rules in STAGES.values() for column in rules.columns]
    assert len(columns) == len(set(columns))


def test_a_changed_fit_needs_neither_source_nor_picture_nor_sound():
    assert downstream({Stage.FIT}) == {Stage.FIT}

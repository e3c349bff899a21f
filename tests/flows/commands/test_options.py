"""Options made of settings, and settings shown as YAML that gives the same settings again."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from multitalk.flows.building.settings import BuildSettings, build_settings
from multitalk.flows.commands.main import main
from multitalk.flows.commands.shown_settings import settings_yaml
from multitalk.ground.settings import SettingsError, nearest_setting, setting_names

SHOWN = [
    ["build"], ["discover"], ["train", "prior"], ["talk"], ["release"],
    ["evaluate", "motion"], ["evaluate", "lip-reading"], ["evaluate", "talker"], ["evaluate", "all"],
]  # fmt: skip


def shown(capsys, *arguments):
    assert main([*map(str, arguments), "--show-config"]) == 0
    return capsys.readouterr().out


@pytest.fixture
def built(monkeypatch):
    """Settings that a build is run with, in place of the build."""
    asked = []
    monkeypatch.setattr(
        "multitalk.flows.commands.build.run_build", lambda settings, **_: asked.append(settings) or 0
    )
    for check in ("check_annotations", "check_root"):
        monkeypatch.setattr(f"multitalk.flows.commands.build.{check}", lambda *_: None)
    return asked


@pytest.mark.parametrize("command", SHOWN, ids=" ".join)
def test_shown_settings_are_a_configuration(command, tmp_path, capsys):
    text = shown(capsys, *command)
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    assert shown(capsys, *command, "--config", file) == text


def test_every_setting_is_shown_with_name_meaning_and_value(capsys):
    text = shown(capsys, "build", "--fit.smooth-face", "0.25", "--workers", "3")
    flat = text.replace("\n  #   ", " ").replace("\n#   ", " ")
    for name in setting_names(BuildSettings):
        if not name.startswith("regressor."):  # there is none unless asked for
            assert f"# {name}: " in flat
    values = yaml.safe_load(text)
    assert (values["fit"]["smooth_face"], values["workers"]) == (0.25, 3)
    expected = build_settings(fit={"smooth_face": 0.25}, workers=3)
    assert build_settings(**values) == expected


def test_what_is_needed_is_marked_and_the_rest_is_shown(capsys):
    text = shown(capsys, "train", "prior", "--steps", "5")
    assert "# root:   (needed)" in text
    assert yaml.safe_load(text)["steps"] == 5


def test_options_win_over_the_configuration_and_that_over_defaults(built, tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("workers: 7\nlimit: 2\nfit: {smooth_face: 0.5, outlier: 3}\nretry: [no_face]\n")
    options = ["--workers", "3", "--fit.outlier", "5", "--retry", "private", "--language", "German"]
    assert main(["build", "a.json", "b.json", "--config", str(file), *options, "--language", "thai"]) == 0
    (settings,) = built
    assert (settings.workers, settings.limit) == (3, 2)
    assert (settings.fit.smooth_face, settings.fit.outlier) == (0.5, 5.0)
    assert settings.retry == ("no_face", "private")
    assert settings.languages == ("german", "thai")
    assert settings.annotations == ("a.json", "b.json")


def test_arguments_may_stand_between_options(built):
    assert main(["build", "--language", "german", "a.json", "--root", "r", "b.json"]) == 0
    (settings,) = built
    assert settings.annotations == ("a.json", "b.json")
    assert settings.languages == ("german",)


def test_switches_can_be_put_off(built, tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("keep_raw: true\n")
    assert main(["build", "--config", str(file), "--no-keep-raw"]) == 0
    assert built[0].keep_raw is False


def test_a_configuration_may_come_from_the_shell(tmp_path):
    command = (
        f"{sys.executable} -m multitalk.flows.commands.main build --show-config --config <(echo 'limit: 4')"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert yaml.safe_load(done.stdout)["limit"] == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fit: {smoth_face: 1}", "no setting `fit.smoth_face`; did you mean `fit.smooth_face`?"),
        ("smooth_face: 1", "no setting `smooth_face`; did you mean `fit.smooth_face`?"),
        ("wokers: 1", "no setting `wokers`; did you mean `workers`?"),
        ("trim: {preset: fst}", "did you mean fast?"),
        ("retry: [no_fase]", "did you mean no_face?"),
        ("fit: 3", "fit: "),
        ("zzz: 3", "no setting `zzz`"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--show-config"], ["--fit.outlier", "3"]], ids=["", "shown", "option"])
def test_unknown_keys_are_told_with_the_nearest_right_name(text, said, more, tmp_path, capsys):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    assert main(["build", "a.json", "--config", str(file), *more]) == 2
    assert said in capsys.readouterr().err


def test_the_nearest_setting_is_looked_for_beside_first():
    names = ["a.speed", "b.speed", "b.width", "width"]
    assert nearest_setting("b.sped", names) == "b.speed"
    assert nearest_setting("widht", names) == "width"
    assert nearest_setting("c.speed", names) in ("a.speed", "b.speed")
    assert nearest_setting("something", names) is None


class Inner(BaseModel):
    """What lies within."""

    model_config = ConfigDict(extra="forbid")
    small: float = Field(1e-7, description="A small number.")
    text: str = Field("yes: no # maybe", description="A text that YAML could take for something else.")


class Outer(BaseModel):
    """All of it."""

    model_config = ConfigDict(extra="forbid")
    place: Path = Field(description="Where.")
    inner: Inner = Field(default_factory=Inner)
    none: Inner | None = Field(None, description="Perhaps one.")
    table: dict[str, list[int]] = Field(default_factory=lambda: {"b": [1], "a": [2, 3]}, description="Many.")


def test_odd_values_come_back_as_they_were():
    text = settings_yaml(Outer, {"place": "ä/on"})
    assert Outer(**yaml.safe_load(text)) == Outer(place=Path("ä/on"))
    assert "# inner: What lies within." in text
    assert "  # inner.small: A small number." in text


def test_wrong_values_are_not_shown():
    with pytest.raises(SettingsError, match=r"inner\.small"):
        settings_yaml(Outer, {"inner": {"small": "large"}})
    with pytest.raises(SettingsError, match=r"no setting `inner\.smal`; did you mean `inner\.small`"):
        settings_yaml(Outer, {"inner": {"smal": 1}})

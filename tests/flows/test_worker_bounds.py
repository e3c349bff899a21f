"""A deployment's parameters reach no further on a worker's machine than its owner lets them."""

import pytest
import yaml

from multitalk.flows import worker_bounds
from multitalk.flows.building.settings import build_settings
from multitalk.flows.discovering.settings import DiscoverSettings
from multitalk.flows.evaluating.settings import EvaluateReleaseSettings
from multitalk.flows.modelling.settings import TrainSettings
from multitalk.flows.worker_bounds import check_parameters
from multitalk.ground.settings import SettingsError


@pytest.fixture
def bounds(tmp_path, monkeypatch):
    """Write what the owner allows; parameters are those of a deployment's run."""
    place = tmp_path / "worker.yaml"
    monkeypatch.setattr(worker_bounds, "PLACES", (place, tmp_path / "none.yaml"))
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "a deployment")

    def allow(**values):
        place.write_text(yaml.safe_dump(values))

    return allow


def test_a_strange_scheduler_is_code_execution_and_needs_the_owner(bounds):
    settings = build_settings(task_runner="dask", task_runner_address="tcp://10.6.6.6:8786")
    with pytest.raises(SettingsError, match=r"task_runner_address: .* is not allowed"):
        check_parameters(settings)
    bounds(schedulers=["tcp://10.6.6.6:8786"])
    check_parameters(settings)


@pytest.mark.parametrize(
    ("download", "bound"),
    [({"js_runtimes": {"deno": "/tmp/evil"}}, "programs"), ({"cookies_browser": "firefox"}, "browsers")],
)
def test_programs_and_browsers_need_the_owner(bounds, download, bound):
    settings = build_settings(download=download)
    with pytest.raises(SettingsError, match=f"`{bound}`"):
        check_parameters(settings)
    bounds(**{bound: True})
    check_parameters(settings)


@pytest.mark.parametrize(
    "values",
    [
        {"root": "/etc"}, {"root": "{allowed}/../elsewhere"}, {"annotations": ["/home/*/secret.json"]},
        {"annotations": ["{allowed}/../*.json"]}, {"policy": "/etc/passwd"}, {"head_model": "/dev/zero"},
        {"source_url": "file:///home/{{video_id}}"}, {"source_url": "http://inside/{{video_id}}"}, {"root": "{link}"},
    ],
)  # fmt: skip
def test_paths_and_sources_stay_within_what_is_allowed(bounds, tmp_path, values):
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "link").symlink_to("/")

    def filled(value):
        if isinstance(value, list):
            return [filled(one) for one in value]
        return value.format(allowed=allowed, link=allowed / "link" / "etc")

    good = {"root": str(allowed / "dataset"), "annotations": [str(allowed / "*.json")]}
    bounds(folders=[str(allowed)], sources=["https://www.youtube.com/"])
    check_parameters(build_settings(**good))
    with pytest.raises(SettingsError, match="is not allowed in runs of deployments"):
        check_parameters(build_settings(**good | {name: filled(value) for name, value in values.items()}))


def test_all_kinds_of_runs_are_bounded(bounds, tmp_path):
    bounds(folders=[str(tmp_path)])
    for settings in (
        DiscoverSettings(videos=("/home/me/private.mp4",), language="german", out=tmp_path / "a.json"),
        DiscoverSettings(videos=(str(tmp_path / "v.mp4"),), language="german", out="/etc/a.json"),
        TrainSettings(root=tmp_path, out="/etc/experiment", preset="tiny"),
        EvaluateReleaseSettings(root="/home/me", release="v1"),
    ):
        with pytest.raises(SettingsError, match="`folders`"):
            check_parameters(settings)


def test_each_flow_looks_before_it_works(bounds, tmp_path):
    from multitalk.flows.build_dataset import build_dataset
    from multitalk.flows.discover import discover_clips
    from multitalk.flows.evaluate import evaluate
    from multitalk.flows.train import train_motion_prior, train_talker

    bounds(folders=[str(tmp_path / "allowed")])
    outside = tmp_path / "outside"
    for flow, settings in (
        (build_dataset, build_settings(root=outside)),
        (discover_clips, DiscoverSettings(videos=("v.mp4",), language="german", out=outside)),
        (evaluate, EvaluateReleaseSettings(root=outside, release="v1")),
        (train_motion_prior, TrainSettings(root=outside, out=outside, preset="tiny")),
        (train_talker, TrainSettings(root=outside, out=outside, preset="tiny")),
    ):
        with pytest.raises(SettingsError, match="is not allowed in runs of deployments"):
            flow.fn(settings)
    assert not outside.exists()


def test_whoever_types_a_command_has_a_shell_already(bounds, monkeypatch):
    bounds(folders=["/nowhere"])
    monkeypatch.delenv("PREFECT__RUNTIME__DEPLOYMENT__ID")
    check_parameters(
        build_settings(root="/tmp", task_runner="dask", task_runner_address="tcp://10.6.6.6:8786")
    )


def test_bounds_that_can_not_be_read_stop_the_run(bounds):
    bounds(folder=["/typo"])
    with pytest.raises(SettingsError, match="folder"):
        check_parameters(build_settings())

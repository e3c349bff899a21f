"""The command ``build``: a dataset out of annotations."""

import json as json_text
import sys
from dataclasses import asdict

from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.commands.checks import check_annotations, check_head_model, check_policy, check_root
from multitalk.flows.commands.data import spare_pandas
from multitalk.flows.commands.options import Option, takes
from multitalk.flows.commands.words import AsJson


@takes(
    BuildSettings,
    Option("annotations", positional=True),
    Option("root"),
    Option("source_url", metavar="TEMPLATE"),
    Option("languages", "language"),
    Option("limit"),
    Option("workers"),
    Option("head_model", metavar="NAME|PATH"),
    Option("policy", metavar="NAME|FILE"),
    Option("retry", metavar="CODE", adds=True),
    Option("keep_raw"),
    Option("task_runner"),
)
def build(
    settings: BuildSettings,
    *,
    json: AsJson = False,
) -> int:
    """Check what was asked for, then build it."""
    check_annotations(settings.annotations, settings.languages)
    check_policy(settings.policy)
    check_head_model(settings.head_model)
    check_root(settings.root)
    return run_build(settings, as_json=json)


def run_build(settings: BuildSettings, *, as_json: bool = False) -> int:
    """Build, here or on the cluster that the settings name, and print the summary; 1 where no clip came out."""
    spare_pandas()
    from multitalk.flows.looking.tables import print_summary

    if settings.task_runner == "local":
        from multitalk.flows.building.build import build

        summary = build(settings)
    else:
        from multitalk.flows.prefect_server import set_up_prefect

        set_up_prefect()
        from multitalk.flows.build_dataset import build_dataset

        summary = build_dataset(settings)
    if as_json:
        print(json_text.dumps(asdict(summary), ensure_ascii=False, indent=2))
    else:
        print_summary(summary)
    if any(language.ok for language in summary.languages):
        return 0
    print("multitalk: no clip of the dataset came out; the reasons are in the summary", file=sys.stderr)
    return 1

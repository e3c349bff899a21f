"""Commands that show, freeze, hand on and check a dataset: ``report``, ``release``, ``export`` and others."""

import argparse
import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

LAYOUTS = ("multitalk", "huggingface", "webdataset")
_SHOWN = 50


def add_commands(commands: Any) -> None:
    """Add the commands of this module to the parser's."""
    _add_report(commands)
    _add_release(commands)
    _add_export(commands)
    _add_verify(commands)
    _add_remove(commands)


def _command(commands: Any, name: str, short: str, long: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=short, description=long)
    command.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder of the dataset")
    return command


def _add_head_model(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--head-model",
        metavar="NAME|PATH",
        help="the clips' head model, where its name alone does not find it",
    )


def _add_report(commands: Any) -> None:
    report = _command(
        commands,
        "report",
        "one HTML page that shows what the dataset is",
        "Write one self-contained HTML page: sizes, distributions, what the policy takes away, failures, clips.",
    )
    report.add_argument("--out", type=Path, metavar="FILE.html", help="default: report.html in the root")
    report.add_argument("--title", default="", help="default: the root's name")
    report.add_argument(
        "--clips", type=int, default=120, metavar="N", help="clips with a picture (default 120)"
    )
    _add_head_model(report)
    report.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> int:
    from multitalk.flows.datasets.report import write_dataset_report

    if options.clips < 0:
        raise _unusable("--clips: a number of clips, 0 or more")
    out = options.out or options.root / "report.html"
    notes = write_dataset_report(
        options.root, out, title=options.title, gallery_size=options.clips, head_model=options.head_model
    )
    for note in notes:
        print(f"multitalk: {note}", file=sys.stderr)
    print(out)
    return 0


def _add_release(commands: Any) -> None:
    release = _command(
        commands,
        "release",
        "freeze the accepted clips with their split, hashed",
        "Freeze manifest, policy and split as releases/NAME, with checksums, a dataset card and Croissant metadata.",
    )
    release.add_argument("--name", required=True, help="name of the release; it is never changed again")
    release.add_argument(
        "--policy", metavar="NAME|FILE", help="default: the policy that the dataset was last filtered by"
    )
    release.add_argument("--like", metavar="NAME", help="divide the videos as this earlier release does")
    release.add_argument(
        "--lists",
        nargs=2,
        type=Path,
        metavar=("TRAIN", "TEST"),
        help="divide by MultiTalk's train.txt, test.txt",
    )
    release.add_argument(
        "--config", type=Path, metavar="FILE", help="YAML with title, description, creators, split, ..."
    )
    release.add_argument("--json", action="store_true", help="print name, folder, hash and size as JSON")
    release.set_defaults(run=_release)


def _release(options: argparse.Namespace) -> int:
    from multitalk.filters.policy import load_policy, policy_text
    from multitalk.filters.verdicts import apply
    from multitalk.flows.datasets.dataset_policy import policy_of
    from multitalk.manifests.releases.release import create_release
    from multitalk.manifests.schema import MANIFEST
    from multitalk.manifests.splits import read_lists

    if options.like and options.lists:
        raise _unusable("--like and --lists both say how to divide the clips: give one of them")
    source = options.policy or policy_of(options.root)
    policy = load_policy(source, MANIFEST)
    split = (lambda clips: read_lists(clips, *options.lists)) if options.lists else None
    release = create_release(
        options.root,
        options.name,
        policy=policy_text(source),
        judge=lambda clips: apply(policy, clips),
        settings=_release_settings(options.config),
        like=options.like,
        split=split,
    )
    facts = {"name": options.name, **asdict(release), "policy": policy.name}
    if options.json:
        print(json.dumps(facts, default=str, indent=2))
        return 0
    print(f"{release.folder}: {release.clips} clips accepted by {policy.name}\nSHA-256 {release.sha256}")
    return 0


def _release_settings(config: Path | None) -> Any:
    from pydantic import ValidationError

    from multitalk.ground.settings import ConfigError, read_config
    from multitalk.manifests.releases.release import ReleaseSettings

    if config is None:
        return None
    try:
        return ReleaseSettings.model_validate(read_config(config))
    except ValidationError as error:
        lines = [f"{config}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigError("\n".join(lines)) from error


def _add_export(commands: Any) -> None:
    export = _command(
        commands,
        "export",
        "write the clips in the layout of another program",
        "Write the clips of a release, or all accepted ones, for other programs. Pictures are in no layout.",
    )
    export.add_argument(
        "--layout",
        choices=LAYOUTS,
        required=True,
        help="multitalk: vertices and sound for the published trainer; the others: manifest rows and motion",
    )
    export.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder to write; new or empty"
    )
    export.add_argument("--release", metavar="NAME", help="clips of this release; default: accepted ones")
    export.add_argument("--sound", action="store_true", help="with sound (multitalk always has it)")
    _add_head_model(export)
    export.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    from multitalk.manifests.layouts.export import (
        divided_clips,
        export_huggingface,
        export_multitalk,
        export_webdataset,
    )
    from multitalk.manifests.releases.release import read_release

    root, out = options.root, options.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise _unusable(
            f"--out: {out} is not an empty folder; what lies there would be mixed with the export"
        )
    clips = read_release(root, options.release) if options.release else divided_clips(root)
    if options.layout == "multitalk":
        from multitalk.fit_flame.parameters.decode import decode
        from multitalk.flows.modelling.stored_heads import only_model, to_motion

        model = only_model(clips["head_model"], options.head_model)

        def vertices(row: dict[str, Any]) -> Any:
            # As the published data: the mean face, without the head's pose.
            return decode(to_motion(row), model, neutral_shape=True, head_pose=False)

        count = export_multitalk(root, clips, out, decode=vertices, template=model.v_template)
    elif options.layout == "huggingface":
        card = _card(root, clips, options.release)
        count = export_huggingface(root, clips, out, card=card, sound=options.sound)
    else:
        count = export_webdataset(root, clips, out, sound=options.sound)
    sides = Counter(clips["split"].to_pylist())
    print(f"{out}: {count} clips ({', '.join(f'{n} {side}' for side, n in sorted(sides.items()))})")
    return 0


def _card(root: Path, clips: "pa.Table", release: str | None) -> str:
    from multitalk.filters.policy import policy_text
    from multitalk.flows.datasets.dataset_policy import policy_of
    from multitalk.manifests.releases.card import card
    from multitalk.manifests.releases.release import ReleaseSettings, release_folder

    if release:
        return (release_folder(root, release) / "README.md").read_text("utf-8")
    about = ReleaseSettings().model_dump(exclude={"split"})
    return card("unreleased", clips, policy_text(policy_of(root)), about)


def _add_verify(commands: Any) -> None:
    verify = _command(
        commands,
        "verify",
        "check every file against the manifest",
        "Check media, motion and releases. Exit status 1 when anything is missing, damaged or contradictory.",
    )
    verify.add_argument("--fast", action="store_true", help="existence and lengths only, no checksums")
    verify.add_argument(
        "--forget", action="store_true", help="let the next build make damaged source videos again"
    )
    verify.add_argument("--json", action="store_true", help="print the findings as JSON")
    verify.set_defaults(run=_verify)


def _verify(options: argparse.Namespace) -> int:
    from multitalk.flows.looking.tables import print_table
    from multitalk.manifests.releases.verify import verify
    from multitalk.manifests.store import forget

    findings = verify(options.root, hashes=not options.fast)
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings], default=str, indent=2))
    else:
        rows = [{"found": f.kind, "file": str(f.path), "what": f.message} for f in findings]
        print_table(
            rows[:_SHOWN], title=f"{len(rows)} findings" + (f", the first {_SHOWN}" * (len(rows) > _SHOWN))
        )
        if not rows:
            print("every file is as the manifest says")
    if options.forget:
        videos = sorted({f.video for f in findings if f.video and f.kind != "stray"})
        for language in sorted({language for language, _ in videos}):
            forget(options.root, language, [video for where, video in videos if where == language])
        print(f"{len(videos)} source videos forgotten: the next build makes them again", file=sys.stderr)
    return 1 if any(finding.kind != "stray" for finding in findings) else 0


def _add_remove(commands: Any) -> None:
    remove = _command(
        commands,
        "remove",
        "take source videos out for good",
        "Delete media and motion of source videos; a tombstone row stays, and no later build brings them back.",
    )
    remove.add_argument(
        "video_ids", nargs="*", metavar="VIDEO_ID", help="none: carry out takedown.txt as it stands"
    )
    remove.add_argument(
        "--reason", default="", metavar="TEXT", help="kept in takedown.txt and the tombstones"
    )
    remove.set_defaults(run=_remove)


def _remove(options: argparse.Namespace) -> int:
    from multitalk.flows.looking.tables import print_table
    from multitalk.manifests.query import query
    from multitalk.manifests.remove import remove_videos

    deleted = remove_videos(options.root, options.video_ids, options.reason)
    print(f"{len(deleted)} files deleted; takedown.txt keeps later builds from bringing them back")
    gone = query(
        options.root,
        "SELECT release, count(*) AS clips FROM releases WHERE video_id IN "
        "(SELECT video_id FROM clips WHERE error_code = 'removed') GROUP BY release ORDER BY release",
    ).to_pylist()
    # A release is never changed, so what to do about it is the user's decision.
    print_table(gone, title="withdraw these releases: they list removed clips")
    return 0


def _unusable(message: str) -> Exception:
    from multitalk.ground.settings import ConfigError

    return ConfigError(message)

"""Commands that show, freeze and check a dataset: ``report``, ``release``, ``verify``, ``remove``."""

import json as json_text
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from multitalk.flows.commands.options import takes
from multitalk.flows.commands.words import AsJson, HeadModelOfClips, Root
from multitalk.manifests.releases.release import ReleaseSettings

if TYPE_CHECKING:
    from multitalk.manifests.remove import Removal

_SHOWN = 50  # findings of `verify` on a terminal


def report(
    *,
    root: Root,
    out: Annotated[
        Path | None, Parameter(metavar="FILE.html", help="The page; none: report.html in the root")
    ] = None,
    title: Annotated[
        str, Parameter(help="Title of the page; none: the root's name", show_default=False)
    ] = "",
    clips: Annotated[int, Parameter(metavar="N", help="Clips with a picture")] = 120,
    persons: Annotated[
        bool, Parameter(help="Show one clip of each person", negative=(), show_default=False)
    ] = False,
    head_model: HeadModelOfClips = None,
) -> int:
    """Write the report page."""
    from multitalk.flows.datasets.report import write_dataset_report
    from multitalk.ground.settings import SettingsError

    if clips < 0:
        raise SettingsError("--clips: a number of clips, 0 or more")
    place = out or root / "report.html"
    notes = write_dataset_report(
        root, place, title=title, gallery_size=clips, head_model=head_model, by_person=persons
    )
    for note in notes:
        print(f"multitalk: {note}", file=sys.stderr)
    print(place)
    return 0


@takes(ReleaseSettings)
def release(
    settings: ReleaseSettings,
    *,
    root: Root,
    name: Annotated[str, Parameter(help="Name of the release; it is never changed again")],
    policy: Annotated[
        str | None,
        Parameter(
            metavar="NAME|FILE",
            help="A shipped policy, or a YAML file; none: the one that the dataset was last filtered by",
        ),
    ] = None,
    like: Annotated[
        str | None, Parameter(metavar="NAME", help="Divide persons and videos as this earlier release does")
    ] = None,
    lists: Annotated[
        tuple[Path, Path] | None,
        Parameter(metavar="TRAIN TEST", help="Divide by MultiTalk's train.txt, test.txt"),
    ] = None,
    json: AsJson = False,
) -> int:
    """Freeze a release and say what is in it."""
    from multitalk.filters.policy import load_policy, policy_text
    from multitalk.filters.verdicts import apply
    from multitalk.flows.building.dataset_policy import policy_of
    from multitalk.ground.settings import SettingsError
    from multitalk.manifests.releases.release import create_release
    from multitalk.manifests.schema import MANIFEST
    from multitalk.manifests.splits import read_lists

    if like and lists:
        raise SettingsError("--like and --lists both say how to divide the clips: give one of them")
    source = policy or policy_of(root)
    rules = load_policy(source, MANIFEST)
    frozen = create_release(
        root,
        name,
        policy=policy_text(source),
        add_verdicts=lambda clips: apply(rules, clips),
        settings=settings,
        like=like,
        split=(lambda clips: read_lists(clips, *lists)) if lists else None,
    )
    if json:
        facts = {"name": name, **asdict(frozen), "policy": rules.name}
        print(json_text.dumps(facts, default=str, indent=2))
        return 0
    print(
        f"{frozen.folder}: {frozen.clips} clips accepted by {rules.name}\n{frozen.persons}\nSHA-256 {frozen.sha256}"
    )
    return 0


def verify(
    *,
    root: Root,
    fast: Annotated[
        bool, Parameter(help="Existence and lengths only, no checksums", negative=(), show_default=False)
    ] = False,
    forget: Annotated[
        bool,
        Parameter(
            help="Let the next build make again what is damaged, and what stands on it",
            negative=(),
            show_default=False,
        ),
    ] = False,
    json: AsJson = False,
) -> int:
    """Check every file, and print what is not as it should be."""
    from multitalk.flows.looking.tables import print_table
    from multitalk.manifests.releases.verify import to_forget
    from multitalk.manifests.releases.verify import verify as findings_of
    from multitalk.manifests.store import forget as forget_clips

    findings = findings_of(root, hashes=not fast)
    if json:
        print(json_text.dumps([asdict(finding) for finding in findings], default=str, indent=2))
    else:
        rows = [{"found": f.kind, "file": str(f.path), "what": f.message} for f in findings]
        print_table(
            rows[:_SHOWN], title=f"{len(rows)} findings" + (f", the first {_SHOWN}" * (len(rows) > _SHOWN))
        )
        if not rows:
            print("every file is as the manifest says")
    if forget:
        forgotten = [
            f"{forget_clips(root, language, ids, stage=stage)} clips of {language} from {stage} on"
            for (language, stage), ids in sorted(to_forget(findings).items())
        ]
        outcome = (
            f"the next build makes again: {', '.join(forgotten)}" if forgotten else "nothing to make again"
        )
        print(outcome, file=sys.stderr)
    return 1 if any(finding.kind != "stray" for finding in findings) else 0


def remove(
    *ids: Annotated[
        str, Parameter(help="Source videos, and clips; none: carry out takedown.txt as it stands")
    ],
    root: Root,
    reason: Annotated[
        str, Parameter(metavar="TEXT", show_default=False, help="Kept in takedown.txt and the tombstones")
    ] = "",
    whole_video: Annotated[
        bool,
        Parameter(help="A clip's whole source video, too", negative=(), show_default=False),
    ] = False,
    json: AsJson = False,
) -> int:
    """Delete source videos and clips for good, and prove it; say which releases and exports hold them."""
    from multitalk.flows.building.dataset_policy import POLICY_FILE, apply_policy
    from multitalk.flows.commands.checks import check_dataset
    from multitalk.flows.persons.telling import are_told, tell
    from multitalk.ground.settings import SettingsError
    from multitalk.manifests import remove as removing
    from multitalk.manifests.takedown import read_takedown

    if not ids:
        check_dataset(root)
        listed = read_takedown(root)
        if not (listed.videos or listed.clips):
            raise SettingsError("remove: no id is given, and takedown.txt has none: nothing is to be removed")
    removal = removing.remove(root, ids, reason, whole_video=whole_video)
    if are_told(root):  # who is gone names no person any more, and has no copies
        tell(root)
        if (root / POLICY_FILE).is_file():
            apply_policy(root, root / POLICY_FILE)
    if json:
        print(json_text.dumps(asdict(removal), default=str, indent=2))
    else:
        _print_removal(removal)
    if removal.remains:
        return 1
    return 0 if removal.did_anything or not ids else 1


def _print_removal(removal: "Removal") -> None:
    from multitalk.flows.looking.tables import print_table

    if removal.did_anything:
        counts = {
            "manifest rows that are tombstones now": removal.rows,
            "files deleted (pictures, sound, motion, landmarks, persons, source)": len(removal.files),
            "motion rows taken out of files of other clips": removal.motion_rows,
            "landmark rows taken out of files of other clips": removal.landmark_rows,
            "descriptions of persons taken out of files of other clips": removal.person_rows,
            "logs, runs' annotations, caches and pages rid of them": len(removal.traces),
        }
        print_table([{"removed": what, "count": count} for what, count in counts.items()])
        print("takedown.txt keeps later builds from bringing them back")
    else:
        print("nothing was removed: all of it was gone before")
    # A release is never changed, and an export is the user's: what to do about them is the user's decision.
    print_table(
        [{"release": name} for name in removal.releases],
        title="withdraw these releases: they list removed clips",
    )
    print_table(
        [{"export": str(place)} for place in removal.exports],
        title="delete these exports: they hold removed clips",
    )
    print_table(
        [{"file": str(place)} for place in removal.remains],
        title="still there: a build works on them and deletes them when it commits; run this again then",
    )

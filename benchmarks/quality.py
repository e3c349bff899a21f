"""How many clips with a planted fault the default policy rejects, and how many in order it keeps.

Takes the annotated clips of a folder (`videos/`, `annotations/`) through the stages of a build, plants each fault into
each video (all of its clips), measures again what the fault touches, and judges. A fault of the sound alone needs no
new landmarks, which makes it cheap. What is reported is the share of clips rejected with its 95% interval (Wilson);
clips of one video are alike, so that the true interval is wider where there are few videos.

The videos are taken to be in order, but for `--dubbed` ones, whose clips are themselves the fault `dubbed as found`.
Numbers that were chosen on the videos that are reported do not show how they do on others: name a folder of your own.
`--held-out` learns the predictor behind sync for each video from the others (and without the video whose sound is
taken); the policy's thresholds stay as they are.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `python benchmarks/quality.py`, too

import numpy as np

from benchmarks.quality_faults import Fault, faults
from benchmarks.quality_videos import Measuring, Videos
from multitalk.filters.policy import STATUS_RULE, PolicySettings, load_policy
from multitalk.filters.verdicts import evaluate_policy
from multitalk.manifests.clip_row import ClipRow
from multitalk.manifests.schema import MANIFEST
from multitalk.manifests.tables import manifest_table

# Of the sample: what its README says of them.
IN_ORDER = ("enAOCsynced", "ruSyncedJJJ", "enSyncedLow", "enSyncedKKK", "enSynced30")
DUBBED = ("deTalkerAAA", "frTalkerBBB", "ruTalkerCCC", "zhTalkerDDD", "jaTalkerEEE")
QUICK = (
    "sound 400 ms late",
    "sound 600 ms early",
    "dub: another's sound, its language annotated",
    "frozen picture",
)
SHIPPED = ("default", "strict", "multitalk-paper")
OTHERS_PER_VIDEO = 3
"""Other videos whose sound is laid under each face."""


@dataclass
class Outcome:
    """What became of the clips with one fault."""

    fault: str
    clips: int
    rejected: int
    unknown: int
    """Accepted clips whose `video_sync` is unknown."""
    by_rule: dict[str, int] = field(default_factory=dict)

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the share rejected."""
        return wilson(self.rejected, self.clips)


def wilson(hits: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a share.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    share, spread = hits / trials, z * z / trials
    middle = share + spread / 2
    half = z * np.sqrt(share * (1 - share) / trials + spread / trials / 4)
    return float((middle - half) / (1 + spread)), float((middle + half) / (1 + spread))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sample = Path(__file__).parents[2] / "shared" / "sample"
    parser.add_argument("folder", type=Path, nargs="?", default=sample, help="holds videos/ and annotations/")
    parser.add_argument("--dubbed", nargs="*", default=None, help="videos of it that are not in order")
    parser.add_argument("--policy", default="default", help="a shipped policy's name or a file")
    parser.add_argument("--faults", nargs="*", help="plant only faults whose name has one of these in it")
    parser.add_argument(
        "--held-out", action="store_true", help="learn sync for each video from the others in order"
    )
    parser.add_argument("--quick", action="store_true", help="two videos, four faults")
    parser.add_argument(
        "--rows", type=Path, help="file of measured rows: what is in it is not measured again"
    )
    parser.add_argument("--page", type=Path, help="put the table into this page, docs/quality.md")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    if not (arguments.folder / "videos").is_dir():
        parser.error(f"no videos/ in {arguments.folder}")
    of_sample = (arguments.folder / "videos" / f"{IN_ORDER[0]}.mp4").exists()
    dubbed = arguments.dubbed if arguments.dubbed is not None else list(DUBBED) if of_sample else []
    wanted = (*IN_ORDER, *dubbed) if of_sample else ()
    names = QUICK if arguments.quick else arguments.faults
    chosen = [fault for fault in faults() if not names or any(name in fault.name for name in names)]
    rows: dict[str, list[ClipRow]] = {}
    if arguments.rows and arguments.rows.exists():
        stored = json.loads(arguments.rows.read_text())
        rows = {name: [ClipRow(**row) for row in found] for name, found in stored.items()}
    missing = [fault for fault in chosen if fault.name not in rows]
    if missing or "none" not in rows:
        with tempfile.TemporaryDirectory() as scratch:
            wanted = wanted[:2] if arguments.quick and of_sample else wanted
            for name, found in measured(
                arguments.folder, wanted, dubbed, missing, Path(scratch), held_out=arguments.held_out
            ):
                rows[name] = found
                if arguments.rows:
                    arguments.rows.write_text(
                        json.dumps({n: [asdict(r) for r in some] for n, some in rows.items()})
                    )
    outcomes = judged(rows, load_policy(arguments.policy, MANIFEST))
    print("\n".join(table(outcomes)))
    policies = [load_policy(name, MANIFEST) for name in dict.fromkeys([arguments.policy, *SHIPPED])]
    print("\n" + "\n".join(rule_table(rows, policies)))
    if arguments.page:
        write_into(arguments.page, table(outcomes))
        write_into(arguments.page, rule_table(rows, policies))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1))


def measured(
    folder: Path,
    wanted: Sequence[str],
    dubbed: Sequence[str],
    chosen: Sequence[Fault],
    scratch: Path,
    *,
    held_out: bool = False,
) -> Iterator[tuple[str, list[ClipRow]]]:
    """Yield the name of each fault with the rows of clips that have it; `none` for those in order."""
    measuring = Measuring(scratch)
    started = time.process_time()
    videos = measuring.read_videos(folder, wanted)
    in_order = {name: clips for name, clips in videos.items() if name not in dubbed}
    yield "none", [clip.row for clips in in_order.values() for clip in clips]
    if dubbed:
        yield "dubbed as found", [clip.row for name in dubbed for clip in videos.get(name, [])]
    for fault in chosen:
        found: list[ClipRow] = []
        for name, clips in in_order.items():
            for other in others_of(name, videos, fault):
                if held_out:
                    measuring.learn_sync(c for video, c in in_order.items() if video not in (name, other))
                found += measuring.plant(fault, clips, videos[other])
        print(
            f"{fault.name}: {time.process_time() - started:.0f} s of processor time so far", file=sys.stderr
        )
        yield fault.name, found


def others_of(name: str, videos: Videos, fault: Fault) -> list[str]:
    """Which videos a fault takes from: of another language where the annotated one is to be wrong."""
    language = videos[name][0].annotation.language
    others = [other for other in videos if other != name]
    if fault.touches == "language":
        others = [other for other in others if videos[other][0].annotation.language != language]
    turn = list(videos).index(name)
    others = others[turn % max(len(others), 1) :] + others[: turn % max(len(others), 1)]
    return others[: OTHERS_PER_VIDEO if "another's" in fault.name else 1]


def judged(rows: dict[str, list[ClipRow]], policy: PolicySettings) -> list[Outcome]:
    """Judge all rows by a policy."""
    outcomes = []
    for name, found in rows.items():
        verdicts = evaluate_policy(policy, manifest_table(found))
        sync = np.array([row.video_sync or "" for row in found])
        counts = zip(verdicts.rules, verdicts.broken.sum(axis=1).tolist(), strict=True)
        by_rule = {rule: count for rule, count in counts if count}
        accepted = verdicts.accepted
        unknown = int(np.count_nonzero(accepted & (sync == "unknown")))
        outcomes.append(Outcome(name, len(found), int((~accepted).sum()), unknown, by_rule))
    return outcomes


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Lines of a Markdown table."""
    lines = [
        "| planted | clips | rejected | 95% interval | of videos long enough to tell | by |",
        "| --- " * 6 + "|",
    ]
    for outcome in outcomes:
        low, high = outcome.interval
        told = outcome.clips - outcome.unknown
        rules = ", ".join(f"{rule} {count}" for rule, count in sorted(outcome.by_rule.items(), key=_by_count))
        lines.append(
            f"| {outcome.fault} | {outcome.clips} | {outcome.rejected / outcome.clips:.0%} | {low:.0%} to {high:.0%} | "
            f"{outcome.rejected} of {told} | {rules} |"
        )
    faulty = [outcome for outcome in outcomes if outcome.fault != "none"]
    total, caught, unknown = (
        sum(getattr(o, name) for o in faulty) for name in ("clips", "rejected", "unknown")
    )
    low, high = wilson(caught, total) if total else (0.0, 1.0)
    lines.append(
        f"| all faults | {total} | {caught / max(total, 1):.0%} | {low:.0%} to {high:.0%} | {caught} of "
        f"{total - unknown} | |"
    )
    return lines


def rule_table(rows: dict[str, list[ClipRow]], policies: Sequence[PolicySettings]) -> list[str]:
    """Lines of a Markdown table: what each rule of each policy costs of clips in order, and catches of the others."""
    in_order = rows.get("none", [])
    faulty = [row for name, found in rows.items() if name != "none" for row in found]
    lines = [
        "| policy | rule | in order rejected | planted rejected | by it alone |",
        "| --- " * 5 + "|",
    ]
    for policy in policies:
        lost = evaluate_policy(policy, manifest_table(in_order)).broken
        caught = evaluate_policy(policy, manifest_table(faulty))
        alone = caught.broken & (caught.broken.sum(axis=0) == 1)
        for at, rule in enumerate(caught.rules):
            counts = lost[at].sum(), caught.broken[at].sum(), alone[at].sum()
            if rule != STATUS_RULE:
                lines.append(
                    f"| {policy.name} | {rule} | " + " | ".join(str(count or "") for count in counts) + " |"
                )
        kept, found = int((~lost.any(axis=0)).sum()), int((~caught.accepted).sum())
        lines.append(
            f"| {policy.name} | all | {len(in_order) - kept} of {len(in_order)} | {found} of {len(faulty)} | |"
        )
    return lines


def write_into(page: Path, lines: Sequence[str]) -> None:
    """Put the table into a page, in the place of the first table there that begins alike."""
    text = page.read_text("utf-8").splitlines()
    first = text.index(lines[0])
    last = next((at for at in range(first, len(text)) if not text[at].startswith("|")), len(text))
    page.write_text("\n".join([*text[:first], *lines, *text[last:]]) + "\n", "utf-8")


def _by_count(item: tuple[str, int]) -> int:
    return -item[1]


if __name__ == "__main__":
    main()

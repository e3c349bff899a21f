"""The dataset card of a release: what it holds, how it came about, and under which terms."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from multitalk.ground.markdown import fence, plain
from multitalk.manifests.columns import columns_markdown
from multitalk.manifests.releases.persons import released_persons

if TYPE_CHECKING:
    import pandas as pd

_TERMS = """\
The clips were annotated by MultiTalk or found in videos that others published. MultiTalk's annotations are
for **non-commercial research only**; its agreement ({licence}) holds for whatever is derived from them, this
release included. The videos belong to their owners and stay under the terms of the site that published them:
this release holds no pictures and no sound, and media that you fetched must not be passed on. Motion fitted
with a FLAME model is under that model's licence, too.

The motion, the transcripts and the video ids are personal data of the people who speak: do not try to
identify them, and do not make them seem to say what they did not say. Whoever does not want to be in the data
can ask to be removed; `multitalk remove VIDEO_ID` carries that out and keeps later builds from bringing it
back."""

_FILES = """\
| file | what it is |
| --- | --- |
| `manifest.parquet` | one row a clip: annotation, metrics, provenance, `split` |
| `policy.yaml` | the policy that accepted these clips |
| `split.json` | how they were divided |
| `croissant.json` | this card for machines |
| `motion.sha256` | checksums of the motion files; `sha256sum -c` checks them from this folder |
| `SHA256SUMS` | checksums of the files of this folder |

```python
import pandas as pd

clips = pd.read_parquet("manifest.parquet")
train = clips[clips.split == "train"]
```"""


def card(name: str, clips: pa.Table, policy: str, about: Mapping[str, Any]) -> str:
    """Dataset card in Markdown, with the header that the Hugging Face hub reads.

    Parameters
    ----------
    clips
        Manifest rows with `split`.
    policy
        Text of the policy.
    about
        `title`, `description`, `url`, `licence`, `creators`, `released_on`.
    """
    frame = clips.select(_COLUMNS).to_pandas()
    header = [
        "---",
        f"pretty_name: {_quoted(about['title'])}",
        "license: other",
        f"license_link: {_quoted(about['licence'])}",
        "task_categories: [other]",
        "tags: [talking-head, speech, face-motion, multilingual]",
        f"size_categories: [{_size_category(len(clips))}]",
        "configs:",
        "- config_name: default",
        "  data_files: manifest.parquet",
        "---",
    ]
    sections = {
        "Content": _content(frame),
        "Splits": _splits(frame, clips),
        "Files": _FILES,
        "Policy": f"Accepted is what satisfies every rule of this policy:\n\n"
        f"{fence(policy)}yaml\n{policy.strip()}\n{fence(policy)}",
        "How it was made": _provenance(frame),
        "Terms": _TERMS.format(licence=about["licence"]),
        "Columns": columns_markdown(),
    }
    intro = (
        f"# {about['title']}: {name}\n\n{about['description']}\n\n"
        f"{len(clips):,} clips, {_hours(frame):,.1f} hours, {frame.video_id.nunique():,} source videos, "
        f"{frame.language.nunique()} languages. Released on {about['released_on']} by "
        f"{', '.join(about['creators'])}. Home: {about['url']}"
    )
    body = "\n\n".join(f"## {title}\n\n{text.strip()}" for title, text in sections.items())
    return "\n".join(header) + f"\n{intro}\n\n{body}\n"


_COLUMNS = [
    "language",
    "video_id",
    "person_id",
    "duration_sec",
    "split",
    "head_model",
    "config_fingerprint",
    "tool_versions",
]


def _content(frame: pd.DataFrame) -> str:
    lines = [
        "| language | clips | hours | videos | persons | median clip |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    for language, rows in frame.groupby("language", observed=True):
        lines.append(
            f"| {language} | {len(rows):,} | {_hours(rows):,.2f} "
            f"| {rows.video_id.nunique():,} | {rows.person_id.nunique():,} | {rows.duration_sec.median():.1f} s |"
        )
    return "\n".join(lines)


def _splits(frame: pd.DataFrame, clips: pa.Table) -> str:
    lines = ["| split | clips | hours | videos | persons |", "| --- | --: | --: | --: | --: |"]
    for split in ("train", "val", "test"):
        rows = frame[frame.split == split]
        lines.append(
            f"| {split} | {len(rows):,} | {_hours(rows):,.2f} | {rows.video_id.nunique():,} "
            f"| {rows.person_id.nunique():,} |"
        )
    shared = frame.groupby("video_id").split.nunique().gt(1).sum()
    verdict = (
        "No source video is in two splits." if not shared else f"{shared:,} source videos are in two splits."
    )
    return "\n".join([*lines, "", verdict, f"Of persons: {released_persons(clips)}."])


def _provenance(frame: pd.DataFrame) -> str:
    tools = {(item["key"], item["value"]) for items in frame.tool_versions.dropna() for item in items}
    lines = [
        f"- head model: {', '.join(map(plain, sorted(frame.head_model.dropna().unique()))) or 'none'}",
        f"- configuration: {', '.join(map(plain, sorted(frame.config_fingerprint.unique())))}",
    ]
    return "\n".join(lines + [f"- {plain(tool)} {plain(version)}" for tool, version in sorted(tools)])


def _hours(frame: pd.DataFrame) -> float:
    return float(frame.duration_sec.sum()) / 3600


def _size_category(clips: int) -> str:
    bounds = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")]
    return next((name for bound, name in bounds if clips < bound), "1M<n<10M")


def _quoted(text: str) -> str:
    """Text as a YAML scalar: JSON's strings are some."""
    return json.dumps(text, ensure_ascii=False)

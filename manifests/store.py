"""The storage of a dataset in one place: what other rooms import of it.

`manifests.commit` makes a source video part of the dataset, `manifests.redo_log` lets that survive kills,
`manifests.reading` reads, `manifests.compaction` merges and changes.
"""

from manifests.checksums import file_xxh3
from manifests.clip_row import ClipRow
from manifests.commit import commit_fragment, commit_video
from manifests.compaction import Change, compact, compact_videos, forget
from manifests.reading import committed, committed_videos, read_manifest, read_videos
from manifests.redo_log import claim_video, finish_commits, staging_folder

__all__ = [
    "Change",
    "ClipRow",
    "claim_video",
    "commit_fragment",
    "commit_video",
    "committed",
    "committed_videos",
    "compact",
    "compact_videos",
    "file_xxh3",
    "finish_commits",
    "forget",
    "read_manifest",
    "read_videos",
    "staging_folder",
]

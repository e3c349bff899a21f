"""The storage of a dataset in one place: what other rooms import of it.

`manifests.storage.commit` makes a source video part of the dataset, `manifests.storage.redo_log` lets that survive
kills, `multitalk.manifests.storage.reading` reads, `multitalk.manifests.storage.compaction` merges and changes.
"""

from multitalk.manifests.clip_row import ClipRow
from multitalk.manifests.storage.checksums import file_xxh3
from multitalk.manifests.storage.commit import commit_fragment, commit_video
from multitalk.manifests.storage.compaction import Change, compact, compact_videos, forget
from multitalk.manifests.storage.doubles import drop_doubles
from multitalk.manifests.storage.reading import committed, committed_videos, read_manifest, read_videos
from multitalk.manifests.storage.redo_log import claim_video, claims, finish_commits, staging_folder

__all__ = [
    "Change",
    "ClipRow",
    "claim_video",
    "claims",
    "commit_fragment",
    "commit_video",
    "committed",
    "committed_videos",
    "compact",
    "compact_videos",
    "drop_doubles",
    "file_xxh3",
    "finish_commits",
    "forget",
    "read_manifest",
    "read_videos",
    "staging_folder",
]

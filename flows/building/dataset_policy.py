"""The policy that a dataset's verdicts come from: applied to all clips, and kept beside them."""

from pathlib import Path

from multitalk.filters.policy import PolicySettings, load_policy, policy_text
from multitalk.filters.verdicts import apply, metric_columns
from multitalk.ground.files import atomic
from multitalk.manifests.paths import languages, parts
from multitalk.manifests.schema import MANIFEST
from multitalk.manifests.store import compact, read_manifest
from multitalk.manifests.tables import is_current, open_file

POLICY_FILE = "policy.yaml"
"""In a dataset's root: the policy whose verdicts its manifest has."""
_VERDICTS = ["accepted", "rejected_by"]


def apply_policy(root: Path, source: str | Path) -> PolicySettings:
    """Write the verdicts of a policy into the manifest, and its text into the root.

    Parameters
    ----------
    source
        Name of a shipped policy, or path of a YAML file.

    Raises
    ------
    PolicyError
        When the policy can not be used.
    DatasetError
        When there is no dataset at `root`.
    """
    policy, text = load_policy(source, MANIFEST), policy_text(source)
    compact(root)
    if stale := [language for language in languages(root) if not _has_verdicts(root, language, policy)]:
        compact(root, lambda clips: apply(policy, clips), stale)
    place = root / POLICY_FILE
    if not place.is_file() or place.read_text("utf-8") != text:
        with atomic(place) as temporary:
            temporary.write_text(text, "utf-8")
    return policy


def _has_verdicts(root: Path, language: str, policy: PolicySettings) -> bool:
    """Whether the verdicts are there already: told by a few columns, where rewriting reads all of them."""
    if not all(is_current(open_file(part)) for part in parts(root, language)):
        return False
    found = read_manifest(root, [*metric_columns(policy), *_VERDICTS], [language])
    return bool(apply(policy, found).select(_VERDICTS).equals(found.select(_VERDICTS)))


def policy_of(root: Path) -> str | Path:
    """Return where to load the policy from that a dataset was judged by; `default` if it never was."""
    place = root / POLICY_FILE
    return place if place.is_file() else "default"

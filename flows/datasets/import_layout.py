"""Data that others stored as vertices enter a dataset: encoded on a head model, judged, divided as they were."""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multitalk.filters.policy import load_policy, policy_text
from multitalk.filters.verdicts import apply
from multitalk.fit_flame.heads.head_model import HeadModel, HeadModelError
from multitalk.fit_flame.parameters.encode import VertexEncoder, interocular_metres
from multitalk.flows.building.dataset_policy import POLICY_FILE, apply_policy, policy_of
from multitalk.flows.modelling.head_models import load_head_model
from multitalk.flows.running.devices import check_device
from multitalk.ground.untrusted.pickles import load_pickle
from multitalk.manifests.layouts.import_multitalk import ClipRefused, ImportResult, import_multitalk
from multitalk.manifests.paths import DatasetError
from multitalk.manifests.releases.release import create_release
from multitalk.manifests.schema import MANIFEST
from multitalk.manifests.splits import read_lists
from multitalk.manifests.store import read_manifest

IMPORTED_POLICY = "imported"
TEMPLATE_LIMIT_MM = 0.5
"""How far the layout's template may be from the head model's mean face; releases of FLAME differ by more."""


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What an import took in, and how well the head model shows it."""

    result: ImportResult
    head_model: str
    mean_error_mm: float | None
    """Mean distance of the vertices of all clips that are ok; None without any."""
    worst_error_mm: float | None
    """That of the worst clip that is ok."""
    failures: dict[str, int]
    """Failed clips of the dataset by error code."""
    policy: str
    splits: dict[str, int]
    """Clips of the release by split; empty without one."""


def import_layout(
    source: Path,
    root: Path,
    *,
    head_model: str = "flame_2020",
    max_error_mm: float = 1.0,
    release: str | None = None,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> ImportSummary:
    """Take a folder in the original repository's layout into the dataset at `root`.

    Parameters
    ----------
    head_model
        Name or file of the FLAME release that the vertices were made with; MultiTalk's is 2020.
    max_error_mm
        A clip whose vertices are further than this from the model, in the mean, ends as `fit_diverged`.
    release
        Also freeze a release of this name, divided by the layout's own ``train.txt`` and ``test.txt``.
    progress
        Told how many of how many clips are done.

    Raises
    ------
    AssetMissing, HeadModelError
        When the head model is not here, or damaged.
    SettingsError
        When there is no such device.
    DatasetError
        When the folder has no clips, its template is another head's, or a list is missing.
    """
    if release and not all((source / name).is_file() for name in ("train.txt", "test.txt")):
        raise DatasetError(f"{source} has no train.txt and test.txt: a release can not be divided by them")
    check_device(device)
    model = load_head_model(head_model)
    _check_template(source / "templates.pkl", model)
    fingerprint = hashlib.sha256(f"import:1:{model.key}:{max_error_mm}".encode()).hexdigest()
    result = import_multitalk(
        source,
        root,
        encode=_encode(VertexEncoder(model, device), model.name, max_error_mm),
        vertex_count=len(model.v_template),
        fingerprint=fingerprint,
        progress=progress,
    )
    policy = policy_of(root) if (root / POLICY_FILE).is_file() else IMPORTED_POLICY
    name = apply_policy(root, policy).name
    splits = _freeze(source, root, release) if release else {}
    return _summary(root, model, result, name, splits)


def _check_template(place: Path, model: HeadModel) -> None:
    """Compare the layout's template with the head model's mean face.

    Raises
    ------
    DatasetError
        When it is another face, or no template.
    UntrustedFileError
        When the pickle asks for more than arrays.
    """
    if not place.is_file():
        return
    stored = load_pickle(place)
    template = stored.get("id") if isinstance(stored, dict) else None
    mean = model.v_template
    if not isinstance(template, np.ndarray) or template.shape != mean.shape or template.dtype.kind != "f":
        raise DatasetError(f"{place} holds no template 'id' of {mean.shape} floats, as the layout has it")
    off = 1000 * float(np.linalg.norm(template - mean, axis=1).max())
    if not off <= TEMPLATE_LIMIT_MM:
        raise DatasetError(
            f"{place} is not the mean face of {model.name}: vertices differ by up to {off:.1f} mm. Name the FLAME "
            "file that the data were made with (--head-model); MultiTalk's is FLAME 2020"
        )


def _encode(
    encoder: VertexEncoder, name: str, max_error_mm: float
) -> Callable[[npt.NDArray[np.float32]], dict[str, Any]]:
    def encode(vertices: npt.NDArray[np.float32]) -> dict[str, Any]:
        try:
            found = encoder(vertices)
            if not found.error_mm.mean() <= max_error_mm:  # maybe the head's pose was left in
                found = encoder(vertices, head_pose=True)
        except HeadModelError as error:
            raise ClipRefused("corrupt_media", str(error)) from error
        error_mm = float(found.error_mm.mean())
        if not error_mm <= max_error_mm:
            raise ClipRefused(
                "fit_diverged",
                f"the vertices are {error_mm:.2f} mm from what {name} can show (limit {max_error_mm:g} mm): they come "
                "from another head model, or carry an identity or a neck",
            )
        return asdict(found.motion)

    return encode


def _freeze(source: Path, root: Path, release: str) -> dict[str, int]:
    policy = load_policy(policy_of(root), MANIFEST)
    validation = source / "val.txt"
    sides: Counter[str] = Counter()

    def split(clips: Any) -> Any:
        found = read_lists(
            clips,
            source / "train.txt",
            source / "test.txt",
            validation if validation.is_file() else None,
        )
        sides.update(side for side in found.to_pylist() if side)
        return found

    create_release(
        root,
        release,
        policy=policy_text(policy_of(root)),
        add_verdicts=lambda clips: apply(policy, clips),
        split=split,
    )
    return dict(sides)


def _summary(
    root: Path, model: HeadModel, result: ImportResult, policy: str, splits: dict[str, int]
) -> ImportSummary:
    rows = read_manifest(root, ["head_model", "error_code", "fit_landmark_error"]).to_pylist()
    scale = 1000 * float(interocular_metres(model))
    errors = [scale * row["fit_landmark_error"] for row in rows if row["head_model"] == model.key]
    failures = Counter(row["error_code"] for row in rows if row["error_code"])
    return ImportSummary(
        result,
        model.key,
        float(np.mean(errors)) if errors else None,
        max(errors, default=None),
        dict(failures.most_common()),
        policy,
        splits,
    )

"""Commands that carry data to and from other programs and head models: ``export``, ``import``, ``convert``."""

import json as json_text
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from multitalk.flows.commands.words import AsJson, HeadModelOfClips, Root

if TYPE_CHECKING:
    import pyarrow as pa


def export(
    *,
    root: Root,
    layout: Annotated[
        Literal[
            "multitalk",
            "huggingface",
            "webdataset",
            "gltf",
            "usd",
            "arkit",
            "livelink",
            "audio2face",
            "vhap",
            "metrical-tracker",
            "smirk",
            "artalk",
        ],
        Parameter(
            help="multitalk: vertices and sound for the published trainer; huggingface, webdataset: manifest rows "
            "and motion; gltf, usd, arkit, livelink, audio2face: a file a clip, of ARKit's weights, to which other "
            "head models than `anny` are converted; vhap, metrical-tracker, smirk, artalk: FLAME's "
            "motion (docs/formats.md)"
        ),
    ],
    out: Annotated[Path, Parameter(metavar="DIR", help="Folder to write; new or empty")],
    release: Annotated[
        str | None, Parameter(metavar="NAME", help="Clips of this release; none: accepted ones")
    ] = None,
    sound: Annotated[
        bool, Parameter(help="With sound (multitalk always has it)", negative=(), show_default=False)
    ] = False,
    head_model: HeadModelOfClips = None,
    fps: Annotated[
        float | None,
        Parameter(
            help="Frames a second of arkit, livelink, audio2face; none: the clips' own 25. Engines like 60"
        ),
    ] = None,
) -> int:
    """Write the clips in a layout, and say how many."""
    from multitalk.ground.settings import SettingsError
    from multitalk.manifests.layouts.export import (
        divided_clips,
        export_huggingface,
        export_multitalk,
        export_webdataset,
    )
    from multitalk.manifests.layouts.known_exports import note_export
    from multitalk.manifests.releases.release import read_release

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(
            f"--out: {out} is not an empty folder; what lies there would be mixed with the export"
        )
    clips = read_release(root, release) if release else divided_clips(root)
    if layout == "multitalk":
        from multitalk.fit_flame.parameters.decode import decode
        from multitalk.flows.modelling.stored_heads import only_model, to_motion
        from multitalk.manifests.clip_row import MotionRow

        model = only_model(clips["head_model"], head_model)

        def vertices(row: MotionRow) -> Any:
            # As the published data: the mean face, without the head's pose.
            return decode(to_motion(row), model, neutral_shape=True, head_pose=False)

        count = export_multitalk(root, clips, out, decode=vertices, template=model.v_template)
    elif layout == "huggingface":
        count = export_huggingface(root, clips, out, card=_card(root, clips, release), sound=sound)
    elif layout == "webdataset":
        count = export_webdataset(root, clips, out, sound=sound)
    else:
        from multitalk.flows.datasets.export_files import export_files

        count = export_files(root, clips, out, layout, sound=sound, named=head_model, fps=fps)
    note_export(root, out, layout)  # a take-down tells where the person still is
    sides = Counter(clips["split"].to_pylist())
    print(f"{out}: {count} clips ({', '.join(f'{n} {side}' for side, n in sorted(sides.items()))})")
    return 0


def _card(root: Path, clips: "pa.Table", release: str | None) -> str:
    from multitalk.filters.policy import policy_text
    from multitalk.flows.building.dataset_policy import policy_of
    from multitalk.manifests.releases.card import card
    from multitalk.manifests.releases.release import ReleaseSettings, release_folder

    if release:
        return (release_folder(root, release) / "README.md").read_text("utf-8")
    about = ReleaseSettings().model_dump(exclude={"split"})
    return card("unreleased", clips, policy_text(policy_of(root)), about)


def convert(
    files: Annotated[
        list[Path] | None,
        Parameter(metavar="FILE.npz", help="Motion as `talk` writes it; none: the clips of --root"),
    ] = None,
    /,
    *,
    to: Annotated[
        str, Parameter(metavar="NAME|PATH", help="Head model to convert to: `anny`, `canonical`, FLAME's")
    ],
    out: Annotated[
        Path, Parameter(metavar="FILE|DIR", help="File to write for one file; else a folder, new or empty")
    ],
    root: Annotated[Path | None, Parameter(metavar="DIR", help="Folder of the dataset")] = None,
    release: Annotated[
        str | None, Parameter(metavar="NAME", help="Clips of this release; none: accepted ones")
    ] = None,
    head_model: HeadModelOfClips = None,
) -> int:
    """Write motion on another head model, and say how much."""
    from multitalk.flows.commands.checks import check_dataset, check_files, check_head_model
    from multitalk.ground.settings import SettingsError

    check_head_model(to)
    check_head_model(head_model)
    given = files or []
    if bool(given) == (root is not None):
        raise SettingsError("give either files of motion, or a dataset (--root)")
    check_files("FILE", *given)
    one = len(given) == 1 and bool(out.suffix)
    if not one and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(f"--out: {out} is not an empty folder")
    from multitalk.flows.datasets.convert import convert_clips, convert_files
    from multitalk.manifests.layouts.export import divided_clips
    from multitalk.manifests.releases.release import read_release

    if root is None:
        if one and out.suffix != ".npz":
            raise SettingsError(f"--out: {out} must end in .npz")
        places = [out] if one else [out / file.name for file in given]
        if len(set(places)) < len(places):
            raise SettingsError("several files have the same name, and would overwrite each other")
        convert_files(given, places, to, head_model)
        print(f"{out}: {len(places)} files on {to}")
        return 0
    check_dataset(root)
    clips = read_release(root, release) if release else divided_clips(root)
    print(f"{out}: {convert_clips(root, clips, out, to, head_model)} clips on {to}")
    return 0


def import_clips(
    source: Annotated[Path, Parameter(metavar="DIR", help="Folder with npy/, wav/, templates.pkl")],
    /,
    *,
    layout: Annotated[Literal["multitalk"], Parameter(help="What the folder is")],
    root: Root,
    head_model: Annotated[
        str,
        Parameter(
            metavar="NAME|PATH",
            help="The FLAME release that the vertices were made with; MultiTalk's is 2020",
        ),
    ] = "flame_2020",
    max_error_mm: Annotated[
        float,
        Parameter(
            metavar="MM", help="Mean distance of vertices and model above which a clip is fit_diverged"
        ),
    ] = 1.0,
    release: Annotated[
        str | None,
        Parameter(metavar="NAME", help="Also freeze a release divided by the layout's train.txt, test.txt"),
    ] = None,
    device: Annotated[str, Parameter(help="Where to compute: cpu, cuda")] = "cpu",
    json: AsJson = False,
) -> int:
    """Take a folder in, and say how well the head model shows it."""
    from multitalk.flows.commands.checks import check_files, check_head_model

    check_files("DIR", source)
    check_head_model(head_model)
    from multitalk.flows.datasets.import_layout import import_layout
    from multitalk.flows.running.progress import ShownProgress

    with ShownProgress() as shown:
        summary = import_layout(
            source,
            root,
            head_model=head_model,
            max_error_mm=max_error_mm,
            release=release,
            device=device,
            progress=shown.step("clips taken in"),
        )
    if json:
        print(json_text.dumps(asdict(summary), indent=2))
        return 0
    result = summary.result
    print(
        f"{root}: {result.clips} clips taken in, {result.failed} failed, {result.skipped} done before, of "
        f"{result.videos} source videos"
    )
    if summary.mean_error_mm is not None:
        print(
            f"vertices are {summary.mean_error_mm:.3f} mm from {summary.head_model} in the mean, "
            f"{summary.worst_error_mm:.3f} mm in the worst clip"
        )
    for code, count in summary.failures.items():
        print(f"  {code}: {count} clips")
    for name, reason in list(result.refused.items())[:20]:
        print(f"multitalk: {name} left out: {reason}", file=sys.stderr)
    splits = ", ".join(f"{count} {side}" for side, count in sorted(summary.splits.items()))
    print(f"judged by the policy {summary.policy}" + (f"; {release}: {splits}" if splits else ""))
    return 0

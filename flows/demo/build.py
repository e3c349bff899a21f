"""``multitalk demo``: the whole road on videos made on the spot, and what to look at afterwards."""

import os
import shutil
import sys
from pathlib import Path

from multitalk.flows.building.settings import BuildSettings
from multitalk.flows.demo.local_server import serve_folder
from multitalk.flows.demo.videos import DemoSource, make_demo_source
from multitalk.flows.looking.contact_sheet import write_contact_sheet
from multitalk.flows.looking.shown_heads import head_of_clip
from multitalk.flows.looking.tables import console, print_summary, print_table
from multitalk.flows.looking.viewer import write_page
from multitalk.flows.modelling.head_models import load_head_model
from multitalk.ground.settings import SettingsError
from multitalk.manifests import open_dataset

_MARK = ".demo"
"""File by which the demo knows a folder that it may replace."""
_QUERY = (
    "SELECT language, clip_id, round(av_correlation, 2) AS sync, round(fit_landmark_error, 4) AS fit_error "
    "FROM clips WHERE accepted ORDER BY sync DESC LIMIT 5"
)


def run_demo(root: Path, *, workers: int) -> int:
    """Make source videos, build them into a dataset at `root`, and print what came out.

    Returns
    -------
    int
        Exit status: 1 if a clip did not come out as planned.

    Raises
    ------
    SettingsError
        `root` holds something that is not an earlier demo's.
    """
    from multitalk.flows.building.build import build

    root = root.absolute()
    if root.exists() and any(root.iterdir()) and not (root / _MARK).exists():
        raise SettingsError(
            f"--root: {root} holds what no demo made, and the demo begins with an empty folder: choose another"
        )
    source_folder = root.with_name(root.name + "-source")
    print(f"demo: making source videos in {source_folder} (about half a minute)", file=sys.stderr)
    source = make_demo_source(source_folder, workers=workers)
    if root.exists():
        shutil.rmtree(root)
    root.mkdir(parents=True)
    (root / _MARK).touch()
    with serve_folder(source.videos) as base:
        summary = build(
            BuildSettings(
                annotations=tuple(map(str, source.annotations)),
                root=root,
                source_url=base + "/{video_id}.mp4",
                workers=workers,
                keep_raw=False,
            )
        )
    pictures, page = _write_pictures(root), _write_page(root)
    print_summary(summary)
    surprises = _surprises(root, source)
    _print_where_to_look(root, pictures, page)
    if surprises:
        print_table(surprises, title="These did not come out as planned")
        return 1
    return 0


def _write_pictures(root: Path) -> Path:
    chosen, place = _first_clips(root), root / "contact-sheet.png"
    if chosen:
        write_contact_sheet(open_dataset(root), load_head_model(BuildSettings().head_model), chosen, place)
    return place


def _write_page(root: Path) -> Path:
    """Write two clips' heads as a page that moves and speaks."""
    chosen, place = _first_clips(root)[:2], root / "view.html"
    if chosen:
        write_page([head_of_clip(open_dataset(root), clip_id) for clip_id in chosen], place)
    return place


def _first_clips(root: Path) -> list[str]:
    """Return the first accepted clip of each language."""
    clips = (
        open_dataset(root).clips(["clip_id", "language", "accepted"]).query("accepted").sort_values("clip_id")
    )
    first: list[str] = clips.groupby("language")["clip_id"].first().tolist()
    return first


def _surprises(root: Path, source: DemoSource) -> list[dict[str, str]]:
    """Clips that came out otherwise than their videos were made to."""
    clips = open_dataset(root).clips().set_index("clip_id").to_dict("index")
    wrong = [
        {
            "clip": clip_id,
            "planned": "accepted",
            "found": "rejected by " + ", ".join(clips[clip_id]["rejected_by"]),
        }
        for clip_id in source.good
        if not clips[clip_id]["accepted"]
    ]
    for fault in source.faults:
        row = clips[fault.clip_id]
        found = (
            row["error_code"] if row["status"] == "failed" else "accepted" if row["accepted"] else "rejected"
        )
        planned = str(fault.error_code) if fault.error_code else "rejected"
        if found != planned:
            wrong.append({"clip": fault.clip_id, "planned": f"{planned} ({fault.what})", "found": str(found)})
    return wrong


def _print_where_to_look(root: Path, pictures: Path, page: Path) -> None:
    out = console()
    # This works without activating anything.
    command = Path(os.path.relpath(sys.executable)).with_name("multitalk")
    out.print("[bold]Look at[/bold]")
    out.print(f"  pictures   {pictures}")
    out.print(f"  heads      {page} (in a browser: they move, turn and speak)")
    out.print(f"  clips      {root}/clips/<language>/<clip_id>.mp4")
    out.print(f"  manifest   {root}/manifest (Parquet)")
    out.print("[bold]Ask[/bold]")
    out.print(f'  {command} query --root {root} "{_QUERY}"', soft_wrap=True)
    out.print(f"  {command} filter --root {root} --policy strict --dry-run")

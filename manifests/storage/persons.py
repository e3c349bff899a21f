"""Reading what describes the persons of all source videos at once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from multitalk.manifests import paths
from multitalk.manifests.migrations import conform
from multitalk.manifests.paths import DatasetError
from multitalk.manifests.schema import PERSONS
from multitalk.manifests.tables import naming_damage, open_file

_logger = logging.getLogger(__name__)
_KEYED = pa.schema([*PERSONS, pa.field("video_id", pa.string()), pa.field("language", pa.string())])


def read_persons(root: Path, videos: Sequence[tuple[str, str]]) -> pa.Table:
    """Read the descriptions of some source videos' clips; those without any, and damaged files, are left out.

    Parameters
    ----------
    videos
        Language and id of each.

    Returns
    -------
    pa.Table
        Columns of `manifests.schema.PERSONS`, and `video_id` and `language`.
    """

    def read(video: tuple[str, str]) -> pa.Table | None:
        place = paths.persons_path(root, *video)
        try:
            with naming_damage(place):
                rows = conform(open_file(paths.check_plain(root, place)).read(), PERSONS)
        except FileNotFoundError:
            return None
        except DatasetError as error:  # `verify` tells of it; the persons of all others are told all the same
            _logger.warning("%s", error)
            return None
        for name, value in (("video_id", video[1]), ("language", video[0])):
            rows = rows.append_column(name, pa.repeat(pa.scalar(value), len(rows)))
        return rows

    with ThreadPoolExecutor(max_workers=4) as pool:
        found = [rows for rows in pool.map(read, videos) if rows is not None]
    return pa.concat_tables([rows.cast(_KEYED) for rows in found]) if found else _KEYED.empty_table()


def descriptors(column: pa.ChunkedArray, size: int) -> npt.NDArray[np.float32]:
    """Return descriptors (N, size); NaN where there is none, or one of another size."""
    values = column.combine_chunks()
    found = np.full((len(values), size), np.nan, np.float32)
    whole = np.asarray(pc.fill_null(pc.equal(pc.list_value_length(values), size), False))
    flat = pc.list_flatten(values.filter(pa.array(whole)))
    found[whole] = np.asarray(flat.to_numpy(zero_copy_only=False), np.float32).reshape(-1, size)
    return found


def number_lists(column: pa.ChunkedArray) -> list[npt.NDArray[np.uint32]]:
    """Return a column of lists of whole numbers as arrays; an empty one where there is none."""
    values = column.combine_chunks()
    lengths = np.asarray(
        pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False), np.int64
    )
    flat = np.asarray(pc.list_flatten(values).to_numpy(zero_copy_only=False), np.uint32)
    return np.split(flat, np.cumsum(lengths)[:-1]) if len(lengths) else []

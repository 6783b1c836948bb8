"""One row per image and encoder: where it came from, how it went, and its scores; as Parquet."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, Self, get_args, get_type_hints

from napari_sslmaps.batch.tasks import BatchTask
from napari_sslmaps.core.results import Provenance
from napari_sslmaps.errors import ExportError
from napari_sslmaps.files import readable, written_whole
from napari_sslmaps.records.anonymous import number_of, numbered
from napari_sslmaps.records.places import place_in
from napari_sslmaps.serialise import load, strict

Status = Literal["done", "failed"]
TABLE = "batch.parquet"
_WAIT = 20
"""A table that is written while rows come takes a twentieth of the time at most."""


@strict
@dataclass(frozen=True, slots=True)
class Row:
    """Outcome of one image and encoder; None where it failed before that was known.

    Parameters
    ----------
    image, name, encoder
        Path from the batch's folder, name of the item, name of the encoder.
    status, error
        ``done`` or ``failed``, and the sentence that says why.
    output
        Folder of the output, relative to the batch's.
    key
        Key of the task.
    seconds
        Seconds from opening the image to its maps and scores, on the worker; writing comes after.
    spacing_um
        Micrometres per pixel of the level that was embedded.
    series, channel
        Image of its file, and channels, that were read; empty where there is no choice.
    spacing_given
        Whether the spacing was given by the user, rather than by the file.
    token_block, token_norm
        Block or stage that the tokens are of, empty for the encoder's own; whether they passed its norm.
    rows, cols, dim
        Shape of the tokens.
    foreground_share, common_share, effective_rank, components_share, attention_entropy
        Numbers of the tokens, as in `Summary`.
    prefix_attention, seam_score, weave_score
        Numbers of attention, tiles and passes, as in `Summary`.
    method, weights_sha256, architecture, image_sha256, …
        The fields of `Provenance`.
    """

    image: str
    name: str
    encoder: str
    status: Status
    error: str = ""
    output: str = ""
    key: str = ""
    seconds: float | None = None
    spacing_um: float | None = None
    rows: int | None = None
    cols: int | None = None
    dim: int | None = None
    foreground_share: float | None = None
    common_share: float | None = None
    effective_rank: float | None = None
    components_share: float | None = None
    attention_entropy: float | None = None
    prefix_attention: float | None = None
    seam_score: float | None = None
    method: str = ""
    weights_sha256: str = ""
    architecture: str = ""
    image_sha256: str = ""
    y: int | None = None
    x: int | None = None
    height: int | None = None
    width: int | None = None
    level: int | None = None
    frame: int | None = None
    window_low: float | None = None
    window_high: float | None = None
    normalisation: str = ""
    precision: str = ""
    device: str = ""
    tile: int | None = None
    overlap: int | None = None
    stitching: str = ""
    package_version: str = ""
    torch_version: str = ""
    overrides: str = ""
    mask_sha256: str = ""
    series: str = ""
    channel: str = ""
    spacing_given: bool | None = None
    token_block: str = ""
    token_norm: bool | None = None
    weave_score: float | None = None

    @property
    def depth(self) -> str:
        """Say whose tokens these are, as a provenance does; empty for the encoder's own."""
        return Provenance(token_block=self.token_block, token_norm=self.token_norm is not False).depth

    @classmethod
    def failed(cls, task: BatchTask, sentence: str) -> Self:
        """Make the row of a task that came to nothing."""
        row, path = cls.started(task), Path(task.item.image)
        sentence = sentence.replace(task.item.image, row.image)
        if task.options.anonymous:
            for part in filter(None, (str(path.parent), path.name, path.stem)):  # longest first
                sentence = re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", task.item.name, sentence)
        return replace(row, status="failed", error=readable(sentence))

    @classmethod
    def started(cls, task: BatchTask) -> Self:
        """Make a row that says which image and encoder, and nothing else yet."""
        item, encoder = task.item, task.encoder
        output = f"{encoder.name}/{item.name}.zarr"
        image = place_in(item.image, Path(task.folder.removesuffix(output)))
        if task.options.anonymous:
            image = numbered("image", number_of(item.name.partition("/")[0]), item.image)
        return cls(image, item.name, encoder.name, "done", output=output, key=task.key)

    @classmethod
    def stored(cls, facts: Mapping[str, Any], provenance: Provenance) -> Self:
        """Rebuild from `asdict`'s description beside an output; what is not a column is left out.

        A column that came after it was written is filled from the output's provenance.

        Raises
        ------
        RecordError
            If a column is missing, or holds what none of its kind can.
        """
        known = {field.name for field in fields(cls)}
        values = spread_provenance(provenance) | {name: facts[name] for name in known & set(facts)}
        return load(cls, values, "the row of an output")


def spread_provenance(made: Provenance) -> dict[str, Any]:
    """Return the columns that hold a provenance's fields."""
    provenance = {**made.to_dict(), "token_norm": made.token_norm}
    known = {field.name for field in fields(Row)} - {"image", "encoder"}
    columns = {name: value for name, value in provenance.items() if name in known and name != "overrides"}
    low, high = provenance["window"] or (None, None)
    overrides = json.dumps(provenance["overrides"], sort_keys=True)
    return {
        **columns,
        **(provenance["region"] or {}),
        "window_low": low,
        "window_high": high,
        "overrides": overrides,
    }


def write_table(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as Parquet, sorted by encoder and name, whole or not at all.

    Raises
    ------
    ExportError
        If it cannot be written.
    """
    import pyarrow as pa
    from pyarrow.parquet import write_table as write_parquet

    types = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(name, types[_plain_type(hint)]) for name, hint in get_type_hints(Row).items()])
    ordered = sorted(rows, key=lambda row: (row.encoder, row.name))
    table = pa.Table.from_pylist([asdict(row) for row in ordered], schema=schema)
    with written_whole(path) as temporary:
        write_parquet(table, temporary)


class GrowingTable:
    """The table while rows come, so that a kill loses next to none: what fails is told nowhere else.

    Parameters
    ----------
    path
        The Parquet file.
    rows
        Rows that are known.
    clock
        Function that returns the time in seconds.
    """

    def __init__(
        self, path: Path, rows: Iterable[Row] = (), clock: Callable[[], float] = perf_counter
    ) -> None:
        self._path, self._rows = path, {row.output: row for row in rows}
        self._clock = clock
        self._next = self._took = 0.0

    def add(self, row: Row) -> None:
        """Take up a row, and write all of them unless the last time was but now and takes long.

        How long that takes is the shorter of the last two times: the first imports Arrow, and any may meet a
        busy disk.
        """
        self._rows[row.output] = row
        start = self._clock()
        if start < self._next:
            return
        with suppress(ExportError):  # said at the end, where it lasts
            write_table(self._path, self._rows.values())
        end = self._clock()
        self._next = end + _WAIT * min(self._took, end - start)
        self._took = end - start


def is_table(path: Path) -> bool:
    """Whether a file is a table of rows, of this version or another."""
    from pyarrow.parquet import read_schema

    try:
        return {"image", "encoder", "weights_sha256"} <= set(read_schema(path).names)
    except (OSError, ValueError, NotImplementedError):  # Arrow's errors derive from them
        return False


def _plain_type(hint: Any) -> type:
    if hint in (str, int, float, bool):
        plain: type = hint
        return plain
    inner = get_args(hint)[0]
    return inner if isinstance(inner, type) else str

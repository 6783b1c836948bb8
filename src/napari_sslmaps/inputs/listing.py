"""Images, folders and CSV files → items of a batch, each with a name of its own."""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from math import isfinite
from pathlib import Path, PurePosixPath

from napari_sslmaps.core.frames import chosen_frames
from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import InvalidOptionError, RegionError, SSLMapsError, UnsupportedImageError
from napari_sslmaps.files import fitting, read_text, readable, user_path
from napari_sslmaps.sources.channels import Channel, chosen_channels
from napari_sslmaps.sources.formats import IMAGE_SUFFIXES, holds_dicom, is_url, local_path, url_of
from napari_sslmaps.sources.open import find_images, open_image
from napari_sslmaps.sources.open_options import AS_STORED, OpenOptions

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One image of a batch.

    Parameters
    ----------
    image
        Absolute path of the image.
    name
        Name of its outputs: its file name, below a folder with the path to it; ``/`` between folders.
    anchors, negative
        (row, column) pixels of level 0; without anchors there is no similarity map.
    region
        ``(y, x, height, width)`` in pixels of the level; None for all of it.
    level
        Level to read; None for the batch's.
    frame
        Time point or plane of a stack.
    channel
        Numbers or names of the channels that are read; empty for the batch's.
    frames
        Time points or planes of a stack that are embedded together, in one window and with one basis of
        components; each is an output of its own. Empty for `frame` alone.
    """

    image: str
    name: str
    anchors: Points = ()
    negative: Points = ()
    region: tuple[int, int, int, int] | None = None
    level: int | None = None
    frame: int = 0
    channel: tuple[Channel, ...] = ()
    frames: tuple[int, ...] = ()

    @property
    def outputs(self) -> tuple["BatchItem", ...]:
        """An item for each output: one for each of the frames, or this."""
        return tuple(
            replace(self, frame=number, frames=(), name=f"{self.name}/frame-{number:04d}")
            for number in self.frames
        ) or (self,)


@dataclass(frozen=True, slots=True)
class Listing:
    """The items of a batch, and remarks on what was left out."""

    items: tuple[BatchItem, ...]
    notes: tuple[str, ...] = ()


def list_items(
    images: Sequence[str | Path],
    *,
    out: Path | None = None,
    frames: str = "",
    opening: OpenOptions = AS_STORED,
) -> Listing:
    """List what images, folders and CSV files stand for.

    Of a folder all images are taken, in all folders below it, as `find_images` finds them; for a CSV see
    `read_sheet`.

    Parameters
    ----------
    images
        Paths. Whether an image can be read is not looked at here.
    out
        The folder of the outputs; what lies in it is no input.
    frames
        Frames of every stack that are embedded, as `chosen_frames` takes text; a folder of the DICOM slices
        of one series is a stack then. Of each image its `frame` alone if empty.
    opening
        Options with which images are opened to count their frames.

    Raises
    ------
    InvalidOptionError
        If there is nothing to embed, two images have one name, or a CSV cannot be understood.
    """
    items: list[BatchItem] = []
    notes: list[str] = []
    for given in images:
        found, note = _stack_of(given) if frames else ([], "")
        if not found:
            found, note = _list_one(given)
        items += [item for item in found if out is None or not Path(item.image).is_relative_to(out)]
        notes += [note] if note else []
    if not items:
        raise InvalidOptionError(" ".join(["Expected at least one image to embed; got none.", *notes]))
    if frames:
        items = [_with_frames(item, frames, opening) for item in items]
    items = [replace(item, name=fitting(readable(item.name))) for item in items]
    _check_names(items)
    return Listing(tuple(items), tuple(notes))


def _stack_of(given: str | Path) -> tuple[list[BatchItem], str]:
    """Return a folder of the DICOM slices of one series as one item; none for anything else."""
    path = local_path(given).absolute()
    if is_url(given) or not path.is_dir() or not holds_dicom(path):
        return [], ""
    try:
        with open_image(path) as source:
            return ([BatchItem(str(path), path.name)], "") if source.frames > 1 else ([], "")
    except UnsupportedImageError:  # several series: each file is an image
        return [], ""


def _with_frames(item: BatchItem, frames: str, opening: OpenOptions) -> BatchItem:
    """Return an item with its frames; as it is where it has one, names one, or does not open."""
    chosen = replace(opening, channel=item.channel or opening.channel)
    try:
        with open_image(item.image, **chosen.keywords) as source:
            count = source.frames
    except SSLMapsError:  # a worker says so of this image alone
        return item
    return item if count == 1 or item.frame else replace(item, frames=chosen_frames(frames, count))


def _list_one(given: str | Path) -> tuple[list[BatchItem], str]:
    if is_url(given):
        address = url_of(given)
        return [BatchItem(address, address.rsplit("/", 1)[-1])], ""
    path = local_path(given).absolute()
    if path.suffix.lower() == ".csv":
        return read_sheet(path)
    if path.is_dir() and path.suffix.lower() != ".zarr":
        others: list[Path] = []
        images = list(find_images(path, others))
        return [BatchItem(str(image), image.relative_to(path).as_posix()) for image in images], _left_out(
            path, others
        )
    return [BatchItem(str(path), path.name)], ""


def _left_out(folder: Path, others: Sequence[Path]) -> str:
    """Say which files of a folder are no images by their names, or results; empty if all are images."""
    results = [path for path in others if path.name.lower().endswith(IMAGE_SUFFIXES)]
    strangers = [path for path in others if path not in results]
    parts = []
    if strangers:
        one = len(strangers) == 1
        parts.append(
            f"{'1 file is no image by its name' if one else f'{len(strangers)} files are no images by name'} "
            f"({_counted(strangers)}), {strangers[0].name} among them"
        )
    if results:
        files = "1 file was" if len(results) == 1 else f"{len(results)} files were"
        parts.append(f"{files} written by napari-sslmaps ({_counted(results)}), {results[0].name} among them")
    return f"Left out of {folder.name}: {'; '.join(parts)}." if parts else ""


def _counted(paths: Sequence[Path]) -> str:
    kinds = Counter(path.suffix.lower() or "without a suffix" for path in paths)
    more = " and others" if len(kinds) > 6 else ""
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(6)) + more


def _check_names(items: Iterable[BatchItem]) -> None:
    seen: dict[str, str] = {}
    for item in items:
        if item.name in seen:
            raise InvalidOptionError(
                "Expected a name of its own for each image, since outputs are named after it; "
                f"{seen[item.name]} and {item.image} are both {item.name!r}. Give the folder above both, "
                "or a CSV with the columns image and name."
            )
        seen[item.name] = item.image


COLUMNS = ("image", "name", "anchors", "negative", "region", "level", "frame", "channel")
"""All but the first may be missing, or empty in a row."""
_FORBIDDEN = '"<>|:*?\\'


def read_sheet(path: Path) -> tuple[list[BatchItem], str]:
    """Read a CSV with a header that has some of `COLUMNS`.

    Paths are relative to the file's folder; addresses do as well. Points are written as ``120 340; 80 90``,
    a region as ``y x height width``, channels as ``DAPI; CD8``; commas do where they are quoted, but between
    channels.

    Returns
    -------
    items, note
        A remark on columns that mean nothing here; empty if there are none.

    Raises
    ------
    InvalidOptionError
        If it cannot be read, has no column called image or one twice, or a line does not fit.
    """
    try:
        lines = csv.reader(StringIO(read_text(path), newline=""), strict=True)
        table = [[cell.strip() for cell in row] for row in lines]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidOptionError(
            f"Expected a CSV file in UTF-8; {path} cannot be read ({reason}). Check its path."
        ) from error
    header = table[0] if table else []
    if "image" not in header:
        raise InvalidOptionError(
            f"Expected a CSV with a column called image, and perhaps {', '.join(COLUMNS[1:])}; the header of "
            f"{path.name} is {', '.join(header) or 'empty'!r}. Add it, with commas between the columns."
        )
    twice = [name for name in COLUMNS if header.count(name) > 1]
    if twice:
        raise InvalidOptionError(
            f"Expected each column once in {path.name}; {', '.join(twice)} is there several times. Take out "
            "all but one."
        )
    items = []
    for number, cells in enumerate(table[1:], start=2):
        if any(cells):
            items.append(_item(header, cells, path, number))
    unused = [name for name in header if name not in COLUMNS]
    return items, f"Columns of {path.name} that mean nothing here: {', '.join(unused)}." if unused else ""


def _item(header: list[str], cells: list[str], path: Path, number: int) -> BatchItem:
    filled = [*cells, *[""] * (len(header) - len(cells))]
    row = dict(zip(header, filled[: len(header)], strict=True))
    trouble = ""
    if len(cells) > len(header):
        trouble = f"{len(cells)} cells under {len(header)} columns; quote those with commas"
    elif not row["image"]:
        trouble = "its image is empty"
    try:
        item = _understood(row, path.parent)
    except (ValueError, RegionError) as error:
        trouble = trouble or str(error)
    if trouble:
        raise InvalidOptionError(
            "Expected an image, anchors such as 120 340; 80 90, a region as y x height width, whole numbers "
            f"for level and frame; line {number} of {path.name} does not fit ({trouble}). Correct it."
        )
    return item


def _understood(row: dict[str, str], folder: Path) -> BatchItem:
    image = image_in(row["image"], folder)
    return BatchItem(
        image=image,
        name=_file_name(row.get("name") or PurePosixPath(image.replace("\\", "/")).name),
        anchors=_points(row.get("anchors", "")),
        negative=_points(row.get("negative", "")),
        region=_rectangle(row.get("region", "")),
        level=_natural(row["level"]) if row.get("level") else None,
        frame=_natural(row.get("frame") or "0"),
        channel=chosen_channels([name.strip() for name in row.get("channel", "").split(";") if name.strip()]),
    )


def image_in(text: str, folder: Path) -> str:
    """Return the address of a cell, or its path, which may be relative to the folder of the file."""
    return url_of(text) if is_url(text) else str((folder / user_path(text)).absolute())


def _file_name(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or set(name) & set(_FORBIDDEN) or not path.name:
        raise ValueError(f"{name!r} is no file name")
    return path.as_posix()


def _points(text: str) -> Points:
    points = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        row, col = (float(number) for number in _numbers(part))
        if not (isfinite(row) and isfinite(col)):
            raise ValueError(f"{part!r} is no place")
        points.append((row, col))
    return tuple(points)


def _rectangle(text: str) -> tuple[int, int, int, int] | None:
    if not text:
        return None
    y, x, height, width = (int(number) for number in _numbers(text))
    Region(y, x, height, width)
    return y, x, height, width


def _numbers(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(f"{number} is negative")
    return number

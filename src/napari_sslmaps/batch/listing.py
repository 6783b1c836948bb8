"""What is to be embedded: images, folders and CSV files → items, each with a name of its own."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_sslmaps.batch.items import BatchItem
from napari_sslmaps.batch.sheet import read_sheet
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.sources.folder import find_images


@dataclass(frozen=True, slots=True)
class Listing:
    """The items of a batch, and remarks on what was left out."""

    items: tuple[BatchItem, ...]
    notes: tuple[str, ...] = ()


def list_items(images: Sequence[str | Path], *, out: Path | None = None) -> Listing:
    """List what images, folders and CSV files stand for.

    Of a folder all images are taken, in all folders below it, as `find_images` finds them; for a CSV see
    `read_sheet`.

    Parameters
    ----------
    images
        Paths. Whether an image can be read is not looked at here.
    out
        The folder of the outputs; what lies in it is no input.

    Raises
    ------
    InvalidOptionError
        If there is nothing to embed, two images have one name, or a CSV cannot be understood.
    """
    items: list[BatchItem] = []
    notes: list[str] = []
    for given in images:
        found, note = _list_one(Path(given).expanduser().absolute())
        items += [item for item in found if out is None or not Path(item.image).is_relative_to(out)]
        notes += [note] if note else []
    if not items:
        raise InvalidOptionError(" ".join(["Expected at least one image to embed; got none.", *notes]))
    _check_names(items)
    return Listing(tuple(items), tuple(notes))


def _list_one(path: Path) -> tuple[list[BatchItem], str]:
    if path.suffix.lower() == ".csv":
        return read_sheet(path)
    if path.is_dir() and path.suffix.lower() != ".zarr":
        found = [BatchItem(str(image), image.relative_to(path).as_posix()) for image in find_images(path)]
        return found, ""
    return [BatchItem(str(path), path.name)], ""


def _check_names(items: Iterable[BatchItem]) -> None:
    seen: dict[str, str] = {}
    for item in items:
        if item.name in seen:
            raise InvalidOptionError(
                "Expected a name of its own for each image, as outputs are called after it; "
                f"{seen[item.name]} and {item.image} are both {item.name!r}. Give the folder above both, "
                "or a CSV with the columns image and name."
            )
        seen[item.name] = item.image

"""Files, folders, samples, masks and labels → the images of a comparison."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path

from napari_sslmaps.compare.request import ComparedImage, MaskFile
from napari_sslmaps.core.grid import Points
from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.evaluation.annotation_file import GEOJSON, names_in
from napari_sslmaps.files import read_text, user_path
from napari_sslmaps.inputs.images import SAMPLE_PREFIX, find_sample
from napari_sslmaps.inputs.listing import BatchItem, image_in, list_items
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.sources.masks import MASK_SUFFIXES
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.sources.open_options import AS_STORED, OpenOptions
from napari_sslmaps.sources.samples import UNSURE

SUBFOLDERS = "subfolders"
_MASK_ENDINGS = ("", "_mask", "-mask", "_label", "-label", "_labels", "-labels", "_seg", "_segmentation")


@dataclass(frozen=True, slots=True)
class ListingOptions:
    """Options that hold for all images together.

    Parameters
    ----------
    masks
        A mask file, for one image; or a folder, where an image's mask has the image's stem, or ends in
        ``_mask`` or the like.
    classes, ignore
        Names of the classes and the label left out, as in `MaskFile`.
    labels
        A CSV with the columns image and label; or ``subfolders``, for the name of each image's folder.
    anchors, negative
        Anchors as in `ComparedImage`, for images that have none of their own.
    region
        Region of every image; None for the whole image. A CSV of images may say otherwise.
    groups
        Groups of anchors of every image, at the same pixels.
    opening
        Options with which every image is opened.
    """

    masks: Path | None = None
    classes: Mapping[int, str] = field(default_factory=dict)
    ignore: int | None = None
    labels: str = ""
    anchors: Points = ()
    negative: Points = ()
    region: Region | None = None
    groups: tuple[AnchorGroup, ...] = ()
    opening: OpenOptions = AS_STORED


def list_images(
    images: Sequence[str], options: ListingOptions, *, out: Path | None = None
) -> tuple[tuple[ComparedImage, ...], tuple[str, ...]]:
    """List what is to be compared.

    Parameters
    ----------
    images
        Paths of images, folders and CSV files as a batch takes them, and ``sample:…``. A CSV may have columns
        mask and label beside a batch's own. A sample brings its mask.
    options
        Masks, labels, anchors and region.
    out
        The folder of the outputs; what lies in it is no input.

    Returns
    -------
    images, notes
        Names of images, folders and CSV files, and sentences on what was left out.

    Raises
    ------
    InvalidOptionError
        If there is no image, an image has no mask in the folder of masks, or a CSV cannot be understood.
    """
    samples = [name for name in images if name.startswith(SAMPLE_PREFIX)]
    paths = [name for name in images if not name.startswith(SAMPLE_PREFIX)]
    found = [_sample(name, options) for name in samples]
    notes: tuple[str, ...] = ()
    if paths or not samples:
        listing = list_items(paths, out=out)
        extra = _columns(paths)
        found += [_compared(item, extra, options) for item in listing.items if not _is_mask(item, options)]
        notes = tuple(note for note in listing.notes if not _known_columns(note))
    if options.masks is not None:
        found = _with_masks(found, options)
    found = _with_names(found)
    if options.labels:
        found = _with_labels(found, options.labels)
    return tuple(found), notes


def _sample(name: str, options: ListingOptions) -> ComparedImage:
    sample = find_sample(name.removeprefix(SAMPLE_PREFIX))
    mask = MaskFile(sample.mask_path, dict(enumerate(sample.classes, start=1)), UNSURE)
    return ComparedImage(
        name=sample.key,
        image=name,
        annotation=mask,
        label=sample.key,
        region=options.region,
        anchors=options.anchors,
        negative=options.negative,
        groups=options.groups,
    )


def _compared(
    item: BatchItem, extra: Mapping[str, tuple[str, str]], options: ListingOptions
) -> ComparedImage:
    mask, label = extra.get(item.image, ("", ""))
    path = Path(item.image)
    return ComparedImage(
        name=item.name,
        image=item.image,
        annotation=MaskFile(Path(mask), options.classes, options.ignore) if mask else None,
        label=label or (path.parent.name if options.labels == SUBFOLDERS else ""),
        region=_region_of(item, options),
        anchors=item.anchors or options.anchors,
        negative=item.negative or options.negative,
        groups=options.groups,
        channel=item.channel,
    )


def _is_mask(item: BatchItem, options: ListingOptions) -> bool:
    """Whether an item lies in a folder of masks inside the folder of images."""
    masks, path = options.masks, Path(item.image)
    inside = masks is not None and path.is_relative_to(user_path(masks).absolute())
    return inside and path.name != item.name


def _region_of(item: BatchItem, options: ListingOptions) -> Region | None:
    """Region of a CSV's line, with the level that all have unless the line says another."""
    common, opening = options.region, options.opening
    level = item.level if item.level is not None else (0 if common is None else common.level)
    if item.region is not None:
        return Region(*item.region, level, item.frame)
    if item.level is None and item.frame == 0:
        return common
    opening = replace(opening, channel=item.channel or opening.channel)
    with open_image(item.image, **opening.keywords) as source:
        shape = source.levels[min(level, len(source.levels) - 1)].shape_yx
    return Region(0, 0, *shape, level, item.frame)


def _columns(paths: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Image → (mask, label), of all CSV files among the paths, which `list_items` has read already."""
    found: dict[str, tuple[str, str]] = {}
    for path in (user_path(name).absolute() for name in paths):
        if path.suffix.lower() != ".csv":
            continue
        for row in _rows(path):
            image, mask = row.get("image", ""), row.get("mask", "")
            if image:
                where = str((path.parent / user_path(mask)).absolute()) if mask else ""
                key = image_in(image, path.parent)
                found[key] = where, row.get("label", "")
    return found


def _known_columns(note: str) -> bool:
    """Whether a note on columns that mean nothing to a batch names only those that mean something here."""
    columns = note.partition("mean nothing here: ")[2].rstrip(".").split(", ")
    return set(columns) <= {"mask", "label"}


def _with_masks(images: Sequence[ComparedImage], options: ListingOptions) -> list[ComparedImage]:
    masks = user_path(options.masks or "").absolute()
    if not masks.exists():
        raise InvalidOptionError(f"Expected a mask file or a folder of masks; there is none at {masks}.")
    wanting = [image for image in images if image.annotation is None]
    if masks.is_file():
        if len(images) > 1:
            raise InvalidOptionError(
                f"Expected a folder of masks for {len(images)} images; got the file {masks.name}. Give the "
                "folder, in which each mask is named like its image."
            )
        mask = MaskFile(masks, options.classes, options.ignore)
        return [replace(image, annotation=mask) for image in images]
    by_stem: dict[str, list[Path]] = {}
    for path in sorted(masks.rglob("*")):
        if path.suffix.lower() in (*MASK_SUFFIXES, GEOJSON) and not path.name.startswith("."):
            by_stem.setdefault(path.stem, []).append(path)
    matched = {image.name: _mask_of(image, by_stem, masks) for image in wanting}
    without = [name for name, path in matched.items() if path is None]
    if without:
        raise InvalidOptionError(
            f"Expected a mask for every image in {masks}, named like the image; {len(without)} of "
            f"{len(images)} have none, {without[0]} among them. Add it, or leave the image out."
        )
    owners: dict[Path, ComparedImage] = {}
    for image in wanting:
        file = matched[image.name]
        owner = image if file is None else owners.setdefault(file, image)
        if file is not None and owner.image != image.image:
            raise InvalidOptionError(
                f"Expected a mask for each image; by its name {file.relative_to(masks)} is that of "
                f"{owner.name} and of {image.name}. Sort masks into folders as the images are, or name them "
                "in a CSV with the columns image and mask."
            )
    return [
        image
        if (own := matched.get(image.name)) is None
        else replace(image, annotation=MaskFile(own, options.classes, options.ignore))
        for image in images
    ]


def _with_names(images: Sequence[ComparedImage]) -> list[ComparedImage]:
    """Give the classes of GeoJSON the same numbers in all images, unless they are named."""
    files = {image.name: image.annotation for image in images if isinstance(image.annotation, MaskFile)}
    drawn = {
        name: file
        for name, file in files.items()
        if file.path.suffix.lower() == GEOJSON and file.path.is_file() and not file.classes
    }
    names = sorted(
        {name for path in {file.path for file in drawn.values()} for name in names_in(path).values()}
    )
    classes = dict(enumerate(names, start=1))
    return [
        replace(image, annotation=replace(drawn[image.name], classes=classes))
        if image.name in drawn
        else image
        for image in images
    ]


def _mask_of(image: ComparedImage, by_stem: Mapping[str, Sequence[Path]], masks: Path) -> Path | None:
    """Return the mask of an image: among several of its stem, the one in the folder of the same name."""
    own = Path(str(image.image))
    candidates = [
        path for ending in _MASK_ENDINGS for path in by_stem.get(own.stem + ending, ()) if path != own
    ]
    folder = Path(image.name).parent
    nearest = [path for path in candidates if path.parent == masks / folder]
    if len(candidates) > 1 and len(nearest) != 1:
        names = ", ".join(str(path.relative_to(masks)) for path in candidates)
        raise InvalidOptionError(
            f"Expected one mask for {image.name}; got {names}. Sort masks into folders as the images are."
        )
    return next(iter(nearest or candidates), None)


def _with_labels(images: Sequence[ComparedImage], labels: str) -> list[ComparedImage]:
    if labels == SUBFOLDERS:
        return list(images)
    path = user_path(labels).absolute()
    rows = _rows(path)
    if not rows or not {"image", "label"} <= set(rows[0]):
        raise InvalidOptionError(
            f"Expected a CSV with the columns image and label, or {SUBFOLDERS}; got {path.name}. Add them."
        )
    known = {row["image"]: row["label"] for row in rows if {"image", "label"} <= set(row)}
    by_stem = {Path(name).stem: label for name, label in known.items()}
    return [
        replace(image, label=known.get(image.name) or by_stem.get(Path(image.name).stem) or image.label)
        for image in images
    ]


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        return [
            {str(key).strip(): (value or "").strip() for key, value in row.items() if isinstance(value, str)}
            for row in csv.DictReader(StringIO(read_text(path), newline=""))
        ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidOptionError(
            f"Expected a CSV file in UTF-8; {path} cannot be read ({reason}). Check its path."
        ) from error

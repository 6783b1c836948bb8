"""The images of a comparison, opened with their annotation."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from napari_sslmaps.compare.request import ComparedImage, ComparisonRequest, MaskFile, opening_of
from napari_sslmaps.compare.scores import SCORES
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.units import listed
from napari_sslmaps.errors import AnnotationError, InvalidOptionError
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.evaluation.annotation_file import read_annotation
from napari_sslmaps.inputs.images import open_named, record_of
from napari_sslmaps.maps.groups import check_on_grid
from napari_sslmaps.pipeline.planning import region_on
from napari_sslmaps.records.anonymous import number_of, numbered
from napari_sslmaps.records.run import ImageRecord
from napari_sslmaps.sources.base import rename
from napari_sslmaps.sources.protocol import ImageSource


@dataclass(frozen=True, slots=True, eq=False)
class OpenedImage:
    """An image of a comparison, ready to be read.

    Parameters
    ----------
    requested
        Image as the request has it.
    source, record, region
        Pixels, the file they come from, and the rectangle that is compared.
    annotation
        Class of each pixel; None where no score needs one.
    """

    requested: ComparedImage
    source: ImageSource
    record: ImageRecord
    region: Region
    annotation: Annotation | None

    @property
    def name(self) -> str:
        """Name in tables and sentences."""
        return self.requested.name


@contextmanager
def opened(image: ComparedImage, request: ComparisonRequest) -> Iterator[OpenedImage]:
    """Open an image and its annotation; what was given open stays open.

    Raises
    ------
    SSLMapsError
        If either cannot be read, or they do not fit each other.
    """
    with _pixels_of(image, request) as source:
        shape = source.levels[0].shape_yx
        region = image.region or Region(0, 0, *shape)
        annotation = annotation_of(image, shape, request)
        record = record_of_compared(image, source)
        if request.anonymous:
            rename(source, image.name)
            record = replace(record, path=numbered("image", number_of(image.name), record.path))
        yield OpenedImage(image, source, record, region, annotation)


@contextmanager
def _pixels_of(image: ComparedImage, request: ComparisonRequest) -> Iterator[ImageSource]:
    """Open the pixels of an image; what was given open stays open."""
    if not isinstance(image.image, str):
        yield image.image
        return
    with open_named(image.image, opening_of(image, request.options.run)) as source:
        yield source


def record_of_compared(image: ComparedImage, source: ImageSource) -> ImageRecord:
    """Say which image this is, hashed if it is a file; path and hash of one in memory are empty."""
    if isinstance(image.image, str):
        return record_of(image.image, source)
    shape, spacing = source.levels[0].shape_yx, source.spacing_um_yx
    return ImageRecord("", "", shape_yx=shape, spacing_um_yx=spacing)


def annotation_of(
    image: ComparedImage, shape_yx: tuple[int, int], request: ComparisonRequest
) -> Annotation | None:
    """Return the annotation of an image, read from its mask file if it has one.

    Raises
    ------
    InvalidOptionError
        If a score that is wanted needs one, and there is none.
    """
    found = image.annotation
    if isinstance(found, MaskFile):
        return read_annotation(found.path, shape_yx, names=found.classes, ignore=found.ignore)
    wanted = [score for score in request.scores if SCORES[score].needs_annotation]
    if found is None and wanted:
        raise InvalidOptionError(
            f"Expected a mask for {image.name}, which {listed(wanted)} are scored against; got none. Give "
            "one, or leave these scores out."
        )
    return found


def check_anchors(image: OpenedImage) -> None:
    """Refuse anchors outside the region before anything is computed.

    Raises
    ------
    InvalidAnchorError
        If one lies outside; the sentence names region and anchor.
    RegionError
        If the region is not on the image.
    """
    region, requested = region_on(image.source, image.region), image.requested
    pixels = TokenGrid.covering(region, 1, image.source.levels[region.level].downsample_yx)
    for anchor in (*requested.anchors, *requested.negative):
        pixels.token_at(anchor)
    check_on_grid(requested.groups, pixels)


def why_unscorable(image: OpenedImage, grid: TokenGrid, request: ComparisonRequest) -> str:
    """Say why an image cannot be scored against its annotation; empty if it can, or need not.

    Among several images, one with a mask of a single class is left out of scores.

    Parameters
    ----------
    image
        Opened image, with its annotation and anchors.
    grid
        Token grid of any of the methods.
    request
        Request with the wanted scores.

    Raises
    ------
    AnnotationError
        If it is the only image.
    """
    if image.annotation is None or not request.wants("maps", "anchors"):
        return ""
    try:
        image.annotation.check_scorable(grid)
    except AnnotationError as error:
        if len(request.images) == 1:
            raise
        return f"{image.name} is left out of scores against masks. {error}"
    return ""

"""Images and encoders → a study's folder: its key, a page for every reader, and a place for their answers."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import cast

import numpy as np

from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding, TokenMap
from napari_sslmaps.core.tiling import Stitching, Tiling
from napari_sslmaps.encoders.controls import Control, ControlKind
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import ExportError, InvalidOptionError
from napari_sslmaps.evaluation.locality import autocorrelation_length
from napari_sslmaps.figures.panels import Extent
from napari_sslmaps.figures.picture import picture_of
from napari_sslmaps.files import whole_folder
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.inputs.images import open_named
from napari_sslmaps.inputs.listing import BatchItem
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.maps.make import NO_ANCHORS, MapRequest, make_maps
from napari_sslmaps.maps.registry import MAP_TYPES, following_anchors, map_type_of
from napari_sslmaps.pipeline.controls import embed_control
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.pipeline.progress import OnProgress
from napari_sslmaps.readers.page import PageImage, write_page
from napari_sslmaps.readers.pictures import image_picture, map_picture
from napari_sslmaps.readers.schedule import check_methods, check_readers, check_repeats, make_schedule
from napari_sslmaps.readers.study import (
    ANSWERS,
    CONTROLS,
    KEY_FILE,
    MAPS,
    PAGES,
    REPEATS,
    Design,
    MapReach,
    Question,
    Study,
    StudyImage,
    StudyMethod,
    check_maps,
)
from napari_sslmaps.records.claim import check_claim
from napari_sslmaps.records.run import RunOptions
from napari_sslmaps.sources.formats import is_url
from napari_sslmaps.sources.protocol import ImageSource

_SIDE = 1024
_HALF = re.compile(r"\.[0-9a-f]{32}\.tmp")
"""What `whole_folder` calls pages that were being written when the process was killed."""
_ID_BYTES = 8
OnImage = Callable[[int, int], None]
"""Called with images done and their number; may raise `Cancelled`."""
Shown = dict[tuple[int, str, str], str]
"""(image's number, map, method) → picture."""


@dataclass(frozen=True, slots=True)
class StudyRequest:
    """Request for a study: images, encoders, maps, questions and readers.

    Parameters
    ----------
    images
        Images as `list_items` lists them; anchors of a CSV are those of its image.
    encoders
        Encoders that are judged.
    readers
        Names of the people.
    questions, design
        Questions to ask, and how maps are shown for them.
    controls
        Kinds of controls, of the first encoder, that are hidden among the methods.
    maps
        Keys of the maps that are judged.
    anchors
        Anchors for images that bring none of their own.
    options
        Options of embeddings and maps.
    repeats, seed
        Share of repeated trials and the seed, as `make_schedule` takes them.
    """

    images: tuple[BatchItem, ...]
    encoders: tuple[EncoderChoice, ...]
    readers: tuple[str, ...]
    questions: tuple[Question, ...]
    design: Design = "rating"
    controls: tuple[ControlKind, ...] = CONTROLS
    maps: tuple[str, ...] = MAPS
    anchors: AnchorGroup = NO_ANCHORS
    options: RunOptions = field(default_factory=RunOptions)
    repeats: float = REPEATS
    seed: int = 0


def new_study(request: StudyRequest, out: Path, on_image: OnImage | None = None) -> Study:
    """Make the maps of a study, draw who sees what, and write its folder.

    ``key.json`` says what is behind every letter and stays with the organiser. ``pages/`` has a file for each
    reader, which holds no name of an image, a method or another reader. Answers that come back belong into
    ``answers/``.

    Parameters
    ----------
    request
        Images, encoders, maps, questions and readers of the study.
    out
        A folder that does not exist yet, or is empty.
    on_image
        Callback, called after every image, and while one is embedded.

    Raises
    ------
    InvalidOptionError
        If something is missing or there is no such map.
    ExportError
        If the folder holds something already, or cannot be written.
    SSLMapsError
        If an image, an encoder or an anchor cannot be used.
    """
    _check(request, out)
    entrants = _entrants(request)
    images: list[PageImage] = []
    studied: list[StudyImage] = []
    shown: Shown = {}
    reaches: list[MapReach] = []
    names = [method.name for method, _ in entrants]
    for number, item in enumerate(request.images, start=1):

        def on_tile(_: object, done: int = number - 1) -> None:
            if on_image is not None:
                on_image(done, len(request.images))

        picture, about, maps = _shown_of(item, number, entrants, request, on_tile)
        if number == 1:  # what no method gives is no reason to wait for the others
            for key in request.maps:
                check_methods([name for name in names if (number, key, name) in maps], key)
        images.append(picture)
        studied.append(about)
        shown.update({key: address for key, (address, _) in maps.items()})
        reaches += [MapReach(*key, share) for key, (_, share) in maps.items()]
        if on_image is not None:
            on_image(number, len(request.images))
    given = {
        key: [name for name in names if all((image.number, key, name) in shown for image in studied)]
        for key in request.maps
    }
    rng = np.random.default_rng([request.seed, _digest(request, studied)])
    study = Study(
        id=rng.bytes(_ID_BYTES).hex(),
        design=request.design,
        questions=request.questions,
        methods=tuple(method for method, _ in entrants),
        images=tuple(studied),
        maps=request.maps,
        readers=make_schedule(
            request.readers,
            [image.number for image in studied],
            given,
            request.design,
            repeats=request.repeats,
            seed=int(rng.integers(2**31)),
        ),
        reaches=tuple(reaches),
        seed=request.seed,
        package_version=version("napari-sslmaps"),
    )
    _write(study, images, shown, out)
    return study


def _digest(request: StudyRequest, images: Sequence[StudyImage]) -> int:
    """Return a number that another study of the same seed has not: answers and browsers tell them apart."""
    told = (images, request.encoders, request.controls, request.maps, request.readers, request.questions)
    return int(sha256(repr((request.design, *told)).encode()).hexdigest(), 16)


def _write(study: Study, images: Sequence[PageImage], shown: Shown, out: Path) -> None:
    try:
        with whole_folder(out / PAGES) as pages:  # who is killed meanwhile leaves nothing in the way
            for reader in study.readers:
                write_page(pages / f"reader-{reader.code}.html", study, reader, images, shown)
            (out / ANSWERS).mkdir(exist_ok=True)
            study.write(out)
    except ExportError:
        raise
    except OSError as error:
        raise ExportError(
            f"Expected to write to {out}; the system says: {error.strerror or error}. Choose another folder."
        ) from error


def problems(request: StudyRequest, out: Path) -> dict[str, str]:
    """Find what is wrong with a request before anything is computed for it.

    Parameters
    ----------
    request, out
        Request and folder, as `new_study` takes them.

    Returns
    -------
    dict
        Field of the request, or ``out`` → sentence; empty if nothing is wrong.
    """
    found = {
        name: f"Expected at least one of the {name} of a study; got none. Give one."
        for name in ("images", "encoders", "maps", "questions")
        if not getattr(request, name)
    }
    names = [*(choice.name for choice in request.encoders), *request.controls]
    checks: dict[str, Callable[[], None]] = {
        "maps": partial(check_maps, request.maps),
        "encoders": partial(check_methods, names, ", ".join(request.maps)),
        "readers": partial(check_readers, request.readers),
        "repeats": partial(check_repeats, request.repeats),
    }
    for name, check in checks.items():
        try:
            check()
        except InvalidOptionError as error:
            found.setdefault(name, str(error))
    lost = [one.image for one in request.images if not (is_url(one.image) or Path(one.image).exists())]
    if lost:
        found["images"] = f"Expected an image file; there is none at {lost[0]}. Check the path."
    following = set(following_anchors()) & set(request.maps)
    bare = [item.name for item in request.images if not (item.anchors or request.anchors.anchors)]
    if following and bare:
        found["anchors"] = (
            f"Expected anchors for the map of {', '.join(sorted(following))}; {bare[0]} has none. Give "
            "anchors for all images, a CSV with a column anchors, or maps that need none, such as attention."
        )
    try:
        _check_folder(out)
    except ExportError as error:
        found["out"] = str(error)
    return found


def _check_folder(out: Path) -> None:
    """Refuse a folder that holds more than what is left of one who was killed before there were pages."""
    check_claim(out, (KEY_FILE,))
    there = [path for path in out.iterdir() if not _HALF.fullmatch(path.name)] if out.is_dir() else []
    begun = [out / KEY_FILE, out / ANSWERS]
    if any(path not in begun for path in there) or (begun[1].is_dir() and any(begun[1].iterdir())):
        raise ExportError(f"Expected an empty folder for a study; {out} holds something. Choose another.")


def _check(request: StudyRequest, out: Path) -> None:
    found = problems(request, out)
    for name, sentence in found.items():
        raise ExportError(sentence) if name == "out" else InvalidOptionError(sentence)


Entrants = Sequence[tuple[StudyMethod, tuple[Encoder, Control | None]]]


def _entrants(request: StudyRequest) -> Entrants:
    loaded = [
        load_encoder(
            choice.name,
            device=request.options.device,
            precision=choice.precision or request.options.precision,
            **choice.overrides,
        )
        for choice in request.encoders
    ]
    loaded = [
        encoder.at_block(request.options.token_block, norm=request.options.token_norm) for encoder in loaded
    ]
    found: list[tuple[StudyMethod, tuple[Encoder, Control | None]]] = [
        (StudyMethod(encoder.spec.name), (encoder, None)) for encoder in loaded
    ]
    for kind in request.controls:
        control = Control.of_encoder(kind, loaded[0].spec)
        found.append((StudyMethod(control.name, kind), (loaded[0], control)))
    names = [method.name for method, _ in found]
    if len(set(names)) < len(names):
        raise InvalidOptionError(
            "Expected methods of different names, since answers are told apart by them; got "
            f"{', '.join(names)}."
        )
    return found


@contextmanager
def _opened(item: BatchItem, options: RunOptions) -> Iterator[tuple[ImageSource, Region]]:
    with open_named(item.image, replace(options.opening, channel=item.channel or options.channel)) as source:
        level = item.level or 0
        rectangle = item.region or (0, 0, *source.levels[level].shape_yx)
        yield source, Region(*rectangle, level, item.frame)


def _shown_of(
    item: BatchItem, number: int, entrants: Entrants, request: StudyRequest, on_tile: OnProgress
) -> tuple[PageImage, StudyImage, dict[tuple[int, str, str], tuple[str, float | None]]]:
    anchors = request.anchors
    if item.anchors:
        anchors = AnchorGroup("anchors", anchors=item.anchors, negative=item.negative)
    with _opened(item, request.options) as (source, region):
        made = {
            method.name: _embedded(source, region, how, request.options, on_tile) for method, how in entrants
        }
        maps = make_maps(made, MapRequest(request.maps, request.options.maps, anchors))
        some = next(iter(made.values())).provenance
        picture = picture_of(source, region, some.window or (0.0, 1.0), max_side=_SIDE)
    shown = {
        (number, MAP_TYPES[key].slot, name): (map_picture(result, picture), _reach(result))
        for name, found in maps.items()
        for key, result in found.items()
    }
    extent = picture.pixels_extent or picture.extent
    page = PageImage(
        number=number,
        picture=image_picture(picture),
        anchors=_marks(anchors.anchors, extent) if _marked(request) else (),
        negative=_marks(anchors.negative, extent) if _marked(request) else (),
    )
    return page, StudyImage(number, item.name, some.image_sha256), shown


def _reach(result: TokenMap) -> float | None:
    """See `MapReach`; None of labels, between which there is no distance."""
    if map_type_of(result).labels:
        return None
    values = result.values.reshape(*result.grid.shape, -1).astype(np.float64)
    known = np.asarray(np.isfinite(values).all(axis=-1))
    fields = np.moveaxis(np.where(known[..., None], values, 0.0), -1, 0)
    length = autocorrelation_length(fields, known)
    share = length * np.sqrt(prod(result.grid.stride_yx) / prod(result.grid.extent_yx))
    return float(share) if np.isfinite(share) else None


def _marked(request: StudyRequest) -> bool:
    return bool(set(following_anchors()) & set(request.maps))


def _marks(points: Sequence[tuple[float, float]], extent: Extent) -> tuple[tuple[float, float], ...]:
    """Return (x, y) of points as shares of the picture."""
    return tuple(
        (
            round((x + 0.5 - extent.x) / extent.width, 5),
            round((y + 0.5 - extent.y) / extent.height, 5),
        )
        for y, x in points
    )


def _embedded(
    source: ImageSource,
    region: Region,
    how: tuple[Encoder, Control | None],
    options: RunOptions,
    on_tile: OnProgress,
) -> Embedding:
    encoder, control = how
    tiling = Tiling(options.tile, options.overlap, cast("Stitching", options.stitching))
    if control is None:
        return embed(
            source,
            encoder,
            region=region,
            tiling=tiling,
            on_progress=on_tile,
            resolution=options.resolution,
            stride=options.stride,
        )
    return embed_control(
        control,
        source,
        encoder,
        region=region,
        tiling=tiling,
        on_progress=on_tile,
        resolution=options.resolution,
        stride=options.stride,
    )

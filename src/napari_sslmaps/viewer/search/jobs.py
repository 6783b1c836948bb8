"""A search as the window asks for it: what is captured of the canvas, and the work off its thread."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.batch.cluster import Workers
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.errors import InvalidOptionError, SSLMapsError, UnsupportedImageError
from napari_sslmaps.extras import require_extra
from napari_sslmaps.inputs.images import open_named
from napari_sslmaps.search.images import check_as_embedded, image_file
from napari_sslmaps.search.index import IndexState, OnOutput, build_index, index_state, index_version
from napari_sslmaps.search.query import Like, Place, TokenIndex, embedding_of, output_of
from napari_sslmaps.viewer.canvas.npe2 import LayerData, read
from napari_sslmaps.viewer.state.tasks import TaskContext
from napari_sslmaps.viewer.state.workspace import RunProgress

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False, slots=True)
class Archive:
    """Archive that is searched.

    Parameters
    ----------
    store, encoder
        Folder of a batch, and of one encoder's outputs in it.
    roots
        Folders that its images are looked for in.
    """

    store: Path
    encoder: str
    roots: tuple[Path, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Question:
    """Query, captured when a search is asked for.

    Parameters
    ----------
    name, path
        Name of the image in view, and its file; empty for one of no file.
    frame
        Number of the frame that is shown.
    like, unlike
        Anchors, (row, column) of level 0.
    known
        Embedding of the image by the archive's encoder, made in the window; None if there is none.
    count, apart, per_image, other_images
        Limits, as `TokenIndex.search` takes them.
    """

    name: str
    path: str
    frame: int
    like: tuple[tuple[float, float], ...]
    unlike: tuple[tuple[float, float], ...]
    known: Embedding | None
    count: int
    apart: float | None
    per_image: int
    other_images: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """Places that were found, and sentences worth reading with them."""

    places: tuple[Place, ...]
    notes: tuple[str, ...] = ()


class Searcher(Protocol):
    """Knows archives; everything is called on a thread."""

    def state(self, store: Path, encoder: str) -> IndexState:
        """Say what can be found; of several encoders in the first one's, unless one is named."""
        ...

    def build(self, store: Path, encoder: str, on_output: OnOutput) -> None:
        """Bring the index up to date."""
        ...

    def find(self, archive: Archive, question: Question) -> Found:
        """Return places, the most alike first."""
        ...

    def pictures(self, archive: Archive, places: Sequence[Place]) -> Iterator[tuple[int, Pixels]]:
        """Yield the number of a place and (height, width, 3) pixels around it, for those that can be read."""
        ...

    def file(self, archive: Archive, place: Place) -> Path:
        """Find the image of a place."""
        ...

    def tokens(self, archive: Archive, place: Place) -> Embedding:
        """Return what the archive has of the image of a place."""
        ...


class StoreSearcher:
    """Searches by the package ``search``, as the command line does."""

    def __init__(self) -> None:
        self._opened: tuple[tuple[object, ...], TokenIndex] | None = None
        """What was searched last, for as long as it stays as it is."""

    def state(self, store: Path, encoder: str) -> IndexState:
        """Say what can be found."""
        return index_state(store, encoder)

    def build(self, store: Path, encoder: str, on_output: OnOutput) -> None:
        """Bring the index up to date."""
        build_index(store, encoder, on_output, workers=Workers(1))

    def find(self, archive: Archive, question: Question) -> Found:
        """Return places, the most alike first.

        Raises
        ------
        InvalidOptionError
            If nothing is known of the image in view, neither by the archive nor in the window.
        """
        require_extra("search")
        index = self._open(archive)
        file = Path(question.path) if question.path else None
        output = "" if file is None else index.output_of(file, archive.roots, question.frame)
        known = self._known(index, archive, question, output)
        name = next((one.name for one in index.manifest.images if one.alive and one.output == output), "")
        like, unlike = (
            [Like(name or question.name, yx) for yx in pixels] for pixels in (question.like, question.unlike)
        )
        vector = index.vector(like, unlike, known={name or question.name: known})
        places = index.search(
            vector,
            question.count,
            apart=question.apart,
            per_image=question.per_image,
            asked=like if name else (),
            other_images=question.other_images,
        )
        elsewhere = () if name or file is None else index.doubts(like, file=file, frame=question.frame)
        return Found(places, elsewhere)

    def _open(self, archive: Archive) -> TokenIndex:
        which = (archive.store, archive.encoder, index_version(archive.store, archive.encoder))
        if self._opened is None or self._opened[0] != which:
            self._opened = which, TokenIndex(archive.store, archive.encoder)
        return self._opened[1]

    def _known(self, index: TokenIndex, archive: Archive, question: Question, output: str) -> Embedding:
        """Return the tokens of the image in view: the archive's own, else those of the window."""
        try:
            check_as_embedded(question.name, Path(question.path), archive.store / output if output else None)
            if output:
                return index.stored(output)
        except UnsupportedImageError:
            if question.known is None:
                raise
        if question.known is None:
            raise InvalidOptionError(
                f"Expected an image of the archive, or one with tokens by {archive.encoder}; {question.name} "
                f"is neither. Choose the folder of the archive's images, or tick {archive.encoder} on the "
                "page Maps and press Run; then search again."
            )
        return question.known

    def pictures(self, archive: Archive, places: Sequence[Place]) -> Iterator[tuple[int, Pixels]]:
        """Yield the number of a place and what is around it; each image is opened once."""
        from napari_sslmaps.search.sheet import around, image_files  # draws with matplotlib

        files = image_files(places, archive.roots)
        for image, path in files.items():
            numbers = [number for number, place in enumerate(places) if place.image == image]
            try:
                check_as_embedded(image, path, output_of(places[numbers[0]], archive.store, archive.encoder))
                with open_named(str(path)) as source:
                    for number in numbers:
                        unit, _ = around(places[number], source)
                        yield number, _rgb(unit)
            except SSLMapsError:  # its places stay without a picture; a click says why
                continue

    def file(self, archive: Archive, place: Place) -> Path:
        """Find the image of a place.

        Raises
        ------
        InvalidOptionError
            If it is in none of the folders.
        UnsupportedImageError
            If it is not the image any more that the archive has the tokens of.
        """
        path = image_file(place.name, place.image, archive.roots)
        if path is None:
            raise InvalidOptionError(
                f"Expected {place.image or place.name} in {' or '.join(map(str, archive.roots))}; it is not "
                "there. Choose the folder of the images."
            )
        check_as_embedded(place.name, path, output_of(place, archive.store, archive.encoder))
        return path

    def tokens(self, archive: Archive, place: Place) -> Embedding:
        """Return what the archive has of the image of a place."""
        return embedding_of(place, archive.store, archive.encoder)


def _rgb(unit: NDArray[np.float32]) -> Pixels:
    colours = unit if unit.ndim == 3 else np.repeat(unit[..., None], 3, axis=-1)
    return np.round(255 * colours).astype(np.uint8)


@dataclass(frozen=True, eq=False, slots=True)
class StateJob:
    """Looks into a store."""

    searcher: Searcher
    store: Path
    encoder: str

    def __call__(self, context: TaskContext) -> IndexState:
        """Say what it holds."""
        context.token.check()
        return self.searcher.state(self.store, self.encoder)


@dataclass(frozen=True, eq=False, slots=True)
class BuildJob:
    """Builds an index."""

    searcher: Searcher
    store: Path
    encoder: str

    def __call__(self, context: TaskContext) -> IndexState:
        """Build, reporting progress; say what the index holds then."""

        def on_output(done: int, total: int) -> None:
            context.token.check()
            label = f"Indexing image {done} of {total}" if done else "Learning from a sample of tokens"
            context.report(RunProgress(label, done / max(1, total)))

        self.searcher.build(self.store, self.encoder, on_output)
        return self.searcher.state(self.store, self.encoder)


@dataclass(frozen=True, eq=False, slots=True)
class Pictured:
    """A picture of a place, by the place's number."""

    number: int
    pixels: Pixels


@dataclass(frozen=True, eq=False, slots=True)
class FindJob:
    """Searches."""

    searcher: Searcher
    archive: Archive
    question: Question

    def __call__(self, context: TaskContext) -> Found:
        """Return the places."""
        context.token.check()
        found = self.searcher.find(self.archive, self.question)
        context.token.check()
        return found


@dataclass(frozen=True, eq=False, slots=True)
class PicturesJob:
    """Reads what is around places."""

    searcher: Searcher
    archive: Archive
    places: tuple[Place, ...]

    def __call__(self, context: TaskContext) -> int:
        """Report a `Pictured` each; return how many could be read."""
        drawn = 0
        for number, pixels in self.searcher.pictures(self.archive, self.places):
            context.token.check()
            context.report(Pictured(number, pixels))
            drawn += 1
        return drawn


@dataclass(frozen=True, eq=False, slots=True)
class Opened:
    """The image of a place.

    Parameters
    ----------
    path
        File, as the layer that shows it says it.
    layers
        Layers for napari; none where it is open already.
    embedding
        Embedding of the archive; None where no map is wanted.
    """

    path: str
    layers: list[LayerData]
    embedding: Embedding | None


@dataclass(frozen=True, eq=False, slots=True)
class OpenJob:
    """Reads the image of a place, unless it is in a file that is `shown`, and the archive's tokens of it."""

    searcher: Searcher
    archive: Archive
    place: Place
    shown: tuple[str, ...]
    tokens_wanted: bool

    def __call__(self, context: TaskContext) -> Opened:
        """Read."""
        context.token.check()
        path = self.searcher.file(self.archive, self.place).resolve()
        shown = next((other for other in self.shown if Path(other).resolve() == path), "")
        layers = [] if shown else read(str(path))
        context.token.check()
        embedding = self.searcher.tokens(self.archive, self.place) if self.tokens_wanted else None
        return Opened(shown or str(path), layers, embedding)

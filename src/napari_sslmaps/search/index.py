"""An index over the tokens that a batch has stored: built a part at a time, brought up to date by hash.

Tokens are centred on the mean of a sample, brought to length 1 and kept by faiss as an inverted file: up to
128 principal components, in eight bits each (`IndexIVFScalarQuantizer`). A search looks into the lists
nearest to the query alone, mapped from the file, so that it reads a few megabytes of gigabytes.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.batch.store import About, read_about, read_embedding
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import Float32
from napari_sslmaps.errors import InvalidOptionError, RecordError
from napari_sslmaps.files import special_kind, written_whole
from napari_sslmaps.records.json import read_json, write_json
from napari_sslmaps.serialise import dump, strict

FOLDER = ".index"
_KIND = "token-index"
_MANIFEST, _QUANTISER = "manifest.json", "quantiser.faiss"
_MOST_COMPONENTS = 128
_LISTS = 1024
_PER_LIST = 39
_SAMPLE = 120_000
_SEGMENT = 2_000_000
_SEGMENT_NAME = re.compile(r"segment-\d{5,}\.faiss")
_MOST_DEAD = 0.3
_BYTES_OF_A_NUMBER = 8
"""Beside its code, each token has its number in the index."""
_OWN_BLOCK = "the encoder's own block"
OnOutput = Callable[[int, int], None]
"""Called with outputs done and their number; may raise `Cancelled`."""


@strict
@dataclass(frozen=True, slots=True)
class IndexedImage:
    """One image of an index.

    Parameters
    ----------
    output
        Folder of the output, relative to the store.
    key
        Key of the batch's task: another key is another embedding.
    name, image
        Name of the item, and path of the image.
    first
        Number of its first token, counted over the whole index; they follow each other row by row.
    grid
        Grid that its tokens lie on.
    level, frame
        Level and frame of its region.
    alive
        Whether the store still has it, as it was indexed.
    """

    output: str
    key: str
    name: str
    image: str
    first: int
    grid: TokenGrid
    level: int = 0
    frame: int = 0
    alive: bool = True

    @property
    def count(self) -> int:
        """Tokens of the grid."""
        return self.grid.rows * self.grid.cols


@strict
@dataclass(frozen=True, slots=True)
class PartCheck:
    """Facts of a file of an index as it was written, by which a damaged one is told before it is opened.

    Parameters
    ----------
    size
        Bytes of the file.
    head
        Bytes before the codes of its tokens: all that decides how much memory is asked for to read it.
    sha256
        Hash of those.
    """

    size: int
    head: int
    sha256: str

    @classmethod
    def of(cls, path: Path, head: int) -> Self:
        """Take the facts of a file with a head of so many bytes."""
        size = path.stat().st_size
        with path.open("rb") as file:  # as much as is asked for is set aside before it is read
            return cls(size, head, hashlib.sha256(file.read(max(0, min(head, size)))).hexdigest())


@strict
@dataclass(frozen=True, slots=True)
class Manifest:
    """Content of an index.

    Parameters
    ----------
    encoder
        Name of its outputs' folder.
    mean
        (dim,) token that all are centred on.
    images
        Images in the order of their tokens.
    segments
        Names of files with finished parts.
    checks
        Name of a file → what it was when it was written; indexes of before have none.
    """

    encoder: str
    mean: tuple[float, ...]
    images: tuple[IndexedImage, ...] = ()
    segments: tuple[str, ...] = ()
    checks: Mapping[str, PartCheck] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if any(min(image.grid.shape) < 1 for image in self.images):
            raise RecordError("Expected images with tokens; the grid of one has no rows or no columns.")
        ends = accumulate(image.count for image in self.images)
        if any(image.first != end - image.count for image, end in zip(self.images, ends, strict=True)):
            raise RecordError("Expected images whose tokens follow each other; they do not.")
        if not all(map(_SEGMENT_NAME.fullmatch, self.segments)):
            raise RecordError("Expected names of parts such as segment-00000.faiss; there are others.")

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read the manifest of an index; None where there is none. Raises `RecordError` if it is damaged."""
        if not (folder / _MANIFEST).exists():
            return None
        return read_json(folder / _MANIFEST, _KIND, cls, "an index")

    def write(self, folder: Path) -> None:
        """Write it, whole or not at all; raises `ExportError` if it cannot be written."""
        write_json(folder / _MANIFEST, _KIND, dump(self))

    @property
    def tokens(self) -> int:
        """Tokens that are numbered, those of images that are gone included."""
        last = self.images[-1] if self.images else None
        return 0 if last is None else last.first + last.count

    def prepared(self, tokens: NDArray[np.floating]) -> Float32:
        """Centre (n, dim) tokens and bring them to length 1."""
        centred = np.asarray(tokens, np.float32) - np.asarray(self.mean, np.float32)
        lengths = np.linalg.norm(centred, axis=1, keepdims=True)
        unit: Float32 = np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > 0)
        return unit


@dataclass(frozen=True, slots=True)
class IndexReport:
    """Report on what building an index did.

    Parameters
    ----------
    folder
        Folder of the index.
    added, kept, dropped
        Number of images that were added, kept and dropped.
    tokens
        Number of tokens that can be found now.
    """

    folder: Path
    added: int
    kept: int
    dropped: int
    tokens: int


def index_folder(store: Path, encoder: str = "") -> Path:
    """Return where the index of an encoder's outputs lies; of the only one if none is named.

    Raises
    ------
    InvalidOptionError
        If there is no such encoder, or none is named of several.
    """
    there = encoders_of(store)
    if not there or (encoder and encoder not in there) or (not encoder and len(there) > 1):
        raise InvalidOptionError(
            f"Expected a folder that napari-sslmaps batch wrote, and one of its encoders; got {store} with "
            f"{', '.join(there) or 'none'}{f', and {encoder!r}' if encoder else ''}. Name one with --encoder."
        )
    return store / FOLDER / (encoder or there[0])


def encoders_of(store: Path) -> tuple[str, ...]:
    """Return the names of the folders of encoders' outputs; none where no batch wrote."""
    return tuple(sorted(path.name for path in store.iterdir() if _is_encoder(path))) if store.is_dir() else ()


def _is_encoder(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".") and any(path.rglob("*.zarr"))


@dataclass(frozen=True, slots=True)
class IndexState:
    """Facts of how far a store can be searched, without opening its index.

    Parameters
    ----------
    encoder, encoders
        Name of the outputs' folder that is meant, and of all there are.
    images, tokens
        Numbers of images and tokens that can be found.
    waiting
        Number of images that are not in the index yet.
    """

    encoder: str
    encoders: tuple[str, ...]
    images: int
    tokens: int
    waiting: int


def index_state(store: Path, encoder: str = "") -> IndexState:
    """Say what can be found in a store; of several encoders, in the first one's unless one is named.

    Raises
    ------
    InvalidOptionError
        If there is no such store or encoder.
    RecordError
        If the index is damaged.
    """
    encoders = encoders_of(store)
    folder = index_folder(store, encoder or next(iter(encoders), ""))
    there = {path.relative_to(store).as_posix() for path in (store / folder.name).rglob("*.zarr")}
    manifest = Manifest.read(folder)
    found = [one for one in manifest.images if one.alive and one.output in there] if manifest else []
    tokens = sum(one.count for one in found)
    waiting = there - {one.output for one in found}
    return IndexState(folder.name, encoders, len(found), tokens, len(waiting))


def build_index(store: Path, encoder: str = "", on_output: OnOutput | None = None) -> IndexReport:
    """Bring the index of a store up to date: new images are added, changed ones replaced, gone ones dropped.

    Finished parts are written whole, so that a call that was stopped, or killed, is taken up there.

    Parameters
    ----------
    store
        Folder of a batch.
    encoder
        Name of the outputs' folder; the only one if empty.
    on_output
        Callback, called after every image, and before the first while the sample that is learnt from is read.

    Raises
    ------
    InvalidOptionError
        If there is no such store, it holds no tokens, or those of several weights or blocks.
    ExportError
        If the index cannot be written.
    """
    folder = index_folder(store, encoder)
    found = dict(_outputs(store, folder.name))
    _check_alike(store / folder.name, found.values())
    manifest = _without(Manifest.read(folder), found, folder)
    known = {image.output for image in manifest.images if image.alive} if manifest else set()
    todo = {output: about for output, about in found.items() if output not in known}
    dropped = sum(not image.alive for image in manifest.images) if manifest else 0
    if manifest is None:
        manifest = _train_index(store, folder, todo, on_output)
    part = _Part(folder, manifest)
    for number, (output, about) in enumerate(todo.items(), start=1):
        part.add(store, output, about)
        if on_output is not None:
            on_output(number, len(todo))
    manifest = part.finish()
    alive = sum(image.count for image in manifest.images if image.alive)
    return IndexReport(folder, len(todo), len(known), dropped, alive)


def _outputs(store: Path, encoder: str) -> Iterator[tuple[str, About]]:
    for path in sorted((store / encoder).rglob("*.zarr")):
        about = read_about(path)
        if about is not None and "tokens" in about.images:
            yield path.relative_to(store).as_posix(), about


def _check_alike(outputs: Path, found: Iterable[About]) -> None:
    """Refuse tokens that cannot be compared, as a batch leaves them that was run again for some images."""
    made = Counter((about.provenance.weights_sha256, about.provenance.depth) for about in found)
    if len(made) > 1:
        there = "; ".join(
            f"{depth or _OWN_BLOCK} of weights {sha256[:12] or 'unknown'} in {count}"
            for (sha256, depth), count in sorted(made.items())
        )
        raise InvalidOptionError(
            f"Expected tokens of the same weights and block in all of {outputs}; got {there}. Run the batch "
            "again for all images with one --token-block, or write each to a folder of its own."
        )


def _without(manifest: Manifest | None, found: dict[str, About], folder: Path) -> Manifest | None:
    """Mark what is gone or changed; None, and the index deleted, where that is too much to carry along."""
    if manifest is None:
        return None
    images = tuple(
        replace(image, alive=image.alive and image.output in found and found[image.output].key == image.key)
        for image in manifest.images
    )
    dead = sum(image.count for image in images if not image.alive)
    if dead > _MOST_DEAD * max(1, manifest.tokens):
        for name in (_MANIFEST, _QUANTISER, *manifest.segments):  # nothing of anybody else
            (folder / name).unlink(missing_ok=True)
        return None
    return replace(manifest, images=images)


def _train_index(store: Path, folder: Path, todo: dict[str, About], on_output: OnOutput | None) -> Manifest:
    """Learn mean, components and lists from a sample of tokens of all images."""
    import faiss

    if not todo:
        raise InvalidOptionError(
            f"Expected tokens to index in {store / folder.name}; there are none. Run batch with "
            "--tokens float16."
        )
    each = max(16, _SAMPLE // len(todo))
    samples = []
    for output in todo:
        samples.append(_sampled(store / output, each))
        if on_output is not None:
            on_output(0, len(todo))
    sample = np.concatenate(samples)
    manifest = Manifest(folder.name, tuple(float(value) for value in sample.mean(axis=0, dtype=np.float64)))
    unit = manifest.prepared(sample)
    components = min(unit.shape[1], _MOST_COMPONENTS, len(unit))
    lists = max(1, min(_LISTS, len(unit) // _PER_LIST))
    reduced = f"PCA{components}," if components < unit.shape[1] else ""
    index = faiss.index_factory(unit.shape[1], f"{reduced}IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.train(unit)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = replace(manifest, checks={_QUANTISER: _write(index, folder / _QUANTISER)})
    manifest.write(folder)
    return manifest


def _sampled(output: Path, most: int) -> Float32:
    flat = read_embedding(output).flat
    known = np.flatnonzero(np.isfinite(flat[:, 0]))
    chosen = known[np.linspace(0, len(known) - 1, min(len(known), most)).round().astype(int)]
    tokens: Float32 = flat[chosen]
    return tokens


class _Part:
    """The part of an index that grows, written when it is large enough."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder, self._manifest = folder, manifest
        self._waiting: list[IndexedImage] = []
        self._index: Any = None

    def add(self, store: Path, output: str, about: About) -> None:
        embedding = read_embedding(store / output)
        row, region = about.row, about.provenance.region
        first = self._manifest.tokens
        if self._waiting:
            first = self._waiting[-1].first + self._waiting[-1].count
        image = IndexedImage(
            output=output,
            key=about.key,
            name=str(row.get("name", output)),
            image=str(row.get("image", "")),
            first=first,
            grid=about.grid,
            level=region.level if region else 0,
            frame=region.frame if region else 0,
        )
        if self._index is None:
            self._index = read_part(self._folder / _QUANTISER, self._manifest)
        known = np.flatnonzero(np.isfinite(embedding.flat[:, 0]))
        self._index.add_with_ids(self._manifest.prepared(embedding.flat[known]), known + image.first)
        self._waiting.append(image)
        if self._index.ntotal >= _SEGMENT:
            self.finish()

    def finish(self) -> Manifest:
        segments, checks = self._manifest.segments, self._manifest.checks
        if self._waiting:
            name = f"segment-{len(segments):05d}.faiss"
            checks = {**checks, name: _write(self._index, self._folder / name)}
            segments = (*segments, name)
        images = (*self._manifest.images, *self._waiting)
        self._manifest = replace(self._manifest, images=images, segments=segments, checks=checks)
        self._manifest.write(self._folder)
        self._waiting, self._index = [], None
        return self._manifest


def read_part(path: Path, manifest: Manifest, *, mapped: bool = False) -> Any:
    """Read a part of an index.

    Parameters
    ----------
    path
        The file.
    manifest
        Manifest of its index.
    mapped
        Whether it stays in its file, to be searched alone.

    Raises
    ------
    RecordError
        If it is not there or damaged.
    """
    import faiss

    part, trouble = None, _damage(path, manifest.checks.get(path.name))
    if not trouble:
        try:
            part = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY if mapped else 0)
        except (RuntimeError, MemoryError) as error:
            trouble = " ".join(str(error).split())[:120]
    if part is not None and part.d != len(manifest.mean):
        trouble = f"its tokens have {part.d} numbers instead of {len(manifest.mean)}"
    elif part is not None and part.ntotal < 0:
        trouble = f"it says {part.ntotal} tokens"
    if trouble:
        raise RecordError(
            f"Expected a part of an index; {path} is damaged ({trouble}). Delete {path.parent} and run "
            "napari-sslmaps index again."
        )
    return part


def _damage(path: Path, check: PartCheck | None) -> str:
    """Say what is wrong with a file, as far as can be told before it is read; empty for nothing."""
    kind = special_kind(path)
    if kind:
        return f"it is {kind}"
    if check is None:
        return ""
    try:
        same = PartCheck.of(path, check.head) == check
    except OSError as error:
        return error.strerror or "it cannot be read"
    return "" if same else "it is not what was written"


def _write(index: Any, path: Path) -> PartCheck:
    import faiss

    with written_whole(path) as temporary:
        faiss.write_index(index, str(temporary))
    codes = index.ntotal * (faiss.extract_index_ivf(index).code_size + _BYTES_OF_A_NUMBER)
    return PartCheck.of(path, path.stat().st_size - codes)

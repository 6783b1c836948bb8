"""Parts of an index: each made of some images by itself, whole or not at all, by whoever is asked to.

A part is called after what it is made of, so that one that was finished before everything was killed is found
again. It is the same, bit by bit, whoever makes it.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.batch.store import About, check_comparable, read_about, read_tokens
from napari_sslmaps.core.results import Float32
from napari_sslmaps.errors import InvalidOptionError, RecordError
from napari_sslmaps.files import special_kind, written_whole
from napari_sslmaps.search.manifest import QUANTISER, IndexedImage, Manifest, PartCheck
from napari_sslmaps.serialise import dump

_BYTES_OF_A_NUMBER = 8
"""Beside its code, each token has its number in the index."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is to be made.

    Parameters
    ----------
    store, folder
        Folder of the batch, and that of the index.
    name
        Name of the file.
    images
        Images whose tokens it holds.
    manifest
        Manifest of the index, without images: what has been learnt.
    """

    store: Path
    folder: Path
    name: str
    images: tuple[IndexedImage, ...]
    manifest: Manifest


def plan_parts(
    store: Path, folder: Path, manifest: Manifest, todo: Mapping[str, About], size: int
) -> tuple[Part, ...]:
    """Divide outputs among parts of at least so many tokens, but for the last.

    Parameters
    ----------
    store, folder
        Folder of the batch, and that of the index.
    manifest
        Manifest of what is indexed already.
    todo
        Output → what is known of it.
    size
        Least number of tokens of a part.
    """
    checks = {name: check for name, check in manifest.checks.items() if name == QUANTISER}
    learnt = Manifest(manifest.encoder, manifest.mean, checks=checks)
    parts: list[Part] = []
    waiting: list[IndexedImage] = []
    first, last = manifest.tokens, next(reversed(list(todo)), "")
    for output, about in todo.items():
        row, region = about.row, about.provenance.region
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
        waiting.append(image)
        first += image.count
        if first - waiting[0].first >= size or output == last:
            images = tuple(waiting)
            name = _name(len(manifest.segments) + len(parts), images, learnt)
            parts.append(Part(store, folder, name, images, learnt))
            waiting.clear()
    return tuple(parts)


def _name(number: int, images: tuple[IndexedImage, ...], learnt: Manifest) -> str:
    made_of = json.dumps([dump(learnt), [[one.output, one.key, one.first] for one in images]], sort_keys=True)
    return f"segment-{number:05d}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}.faiss"


def make_part(part: Part, on_image: Callable[[], None] | None = None) -> PartCheck:
    """Make a part, unless it is there.

    Parameters
    ----------
    part
        The part.
    on_image
        Callback, called after every image; what it raises stops the work.

    Returns
    -------
    PartCheck
        Facts of its file.

    Raises
    ------
    InvalidOptionError
        If an output is no longer what it was when the parts were planned.
    UnsupportedImageError
        If an output is damaged.
    RecordError
        If what the index has learnt is damaged.
    ExportError
        If the part cannot be written.
    """
    path = part.folder / part.name
    try:
        check = check_of(read_part(path, part.manifest, mapped=True), path)
    except RecordError:  # not there, or left half written by a machine that stopped
        check = None
    if check is not None:
        for _ in part.images if on_image is not None else ():
            on_image()  # type: ignore[misc]  # not None
        return check
    index = read_part(part.folder / QUANTISER, part.manifest)
    with _one_thread():
        for image in part.images:
            output = part.store / image.output
            tokens = read_tokens(output, _as_planned(output, image)).reshape(image.count, -1)
            _as_planned(output, image)
            known = np.flatnonzero(np.isfinite(tokens[:, 0]))
            chosen = tokens if len(known) == len(tokens) else tokens[known]
            check_comparable(output, chosen, len(part.manifest.mean))
            index.add_with_ids(part.manifest.prepared(chosen), known + image.first)
            if on_image is not None:
                on_image()
    return write_part(index, path)


def _as_planned(output: Path, image: IndexedImage) -> About:
    about = read_about(output)
    if about is None or about.key != image.key:
        raise InvalidOptionError(
            f"Expected {image.output} to stay as it is while it is indexed; a batch has written it "
            "again. Run index again when the batch is done."
        )
    return about


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let faiss compute on one thread: on several, sums come out otherwise in their last digit."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


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


def ask_ahead(path: Path, part: Any, vector: Float32) -> None:
    """Let the system read what a search of a mapped part will look into, all at once.

    faiss touches its pages one after the other, each of which costs a cold disk a visit.

    Parameters
    ----------
    path, part
        The file, and the part that was read from it.
    vector
        (dim,) direction that is searched in.
    """
    import faiss

    if not hasattr(os, "posix_fadvise"):
        return
    whole: Any = faiss.downcast_index(part)
    ivf: Any = faiss.downcast_index(faiss.extract_index_ivf(part))
    chain, point = whole.chain, vector[None]
    for at in range(chain.size()):
        point = faiss.downcast_VectorTransform(chain.at(at)).apply(point)
    inverted: Any = faiss.downcast_InvertedLists(ivf.invlists)
    with path.open("rb") as file:
        for number in ivf.quantizer.search(point, min(ivf.nprobe, ivf.nlist))[1][0].tolist():
            one = inverted.lists.at(number)
            length = one.capacity * (ivf.code_size + _BYTES_OF_A_NUMBER)
            os.posix_fadvise(file.fileno(), one.offset, length, os.POSIX_FADV_WILLNEED)


def search_part(
    part: Any, vector: Float32, many: int, left_out: Iterable[tuple[int, int]] = ()
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Search a part.

    Parameters
    ----------
    part
        Part that was read.
    vector
        (dim,) direction.
    many
        Number of tokens, at most.
    left_out
        Ranges of tokens that are not looked at, from a number to below another.

    Returns
    -------
    scores, numbers
        (1, n) cosines and numbers of tokens, -1 for none.
    """
    import faiss

    kinds: Any = faiss  # its own types know no keywords
    wanted: Any = None
    for low, high in _joined(left_out):
        kept = kinds.IDSelectorNot(kinds.IDSelectorRange(low, high))
        wanted = kept if wanted is None else kinds.IDSelectorAnd(wanted, kept)
    asked: Any = None
    if wanted is not None:
        probes = faiss.extract_index_ivf(part).nprobe
        within = kinds.SearchParametersIVF(sel=wanted, nprobe=probes)
        asked = kinds.SearchParametersPreTransform(index_params=within)
    found: tuple[NDArray[np.float32], NDArray[np.int64]] = part.search(
        vector[None], min(many, part.ntotal), params=asked
    )
    return found


def _joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join ranges that follow each other, as those of a clip's frames do."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if joined and joined[-1][1] == low:
            joined[-1] = joined[-1][0], high
        else:
            joined.append((low, high))
    return joined


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


def is_as_written(path: Path, check: PartCheck | None) -> bool:
    """Whether a file of an index is there, and is what was written as far as its facts tell."""
    return path.is_file() and not _damage(path, check)


def write_part(index: Any, path: Path) -> PartCheck:
    """Write a part of an index, whole or not at all; raises `ExportError` if it cannot be written."""
    import faiss

    with written_whole(path) as temporary:
        faiss.write_index(index, str(temporary))
    return check_of(index, path)


def tokens_in(folder: Path, manifest: Manifest) -> NDArray[np.intp]:
    """Count the tokens of each image that are in the parts of an index.

    Parameters
    ----------
    folder, manifest
        Folder of the index, and its manifest.

    Returns
    -------
    numpy.ndarray
        (images,) numbers of tokens.

    Raises
    ------
    RecordError
        If a part is damaged.
    """
    import faiss

    parts = [read_part(folder / name, manifest, mapped=True) for name in manifest.segments]
    counts = np.array([image.count for image in manifest.images], np.intp)
    if sum(part.ntotal for part in parts) == counts.sum():  # without a look at each
        return counts
    firsts, counts = np.array([image.first for image in manifest.images]), np.zeros_like(counts)
    for part in parts:
        lists: Any = faiss.extract_index_ivf(part).invlists
        for number in range(lists.nlist):
            size = lists.list_size(number)
            if size:
                numbers = faiss.rev_swig_ptr(lists.get_ids(number), size)
                at = np.searchsorted(firsts, numbers, side="right") - 1
                counts += np.bincount(at, minlength=len(counts))
    return counts


def check_of(index: Any, path: Path) -> PartCheck:
    """Return the facts of a part that lies in a file."""
    import faiss

    codes = index.ntotal * (faiss.extract_index_ivf(index).code_size + _BYTES_OF_A_NUMBER)
    return PartCheck.of(path, path.stat().st_size - codes)

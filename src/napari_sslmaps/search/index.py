"""An index over the tokens that a batch has stored: built a part at a time, brought up to date by hash.

Tokens are centred on the mean of a sample, brought to length 1 and kept by faiss as an inverted file: up to
128 principal components, turned at random so that all matter alike, brought to length 1 again for what the
others would have been, in eight bits each (`IndexIVFScalarQuantizer`). A search looks into the lists nearest
to the query alone, mapped from the file, so that it reads a few megabytes of gigabytes.
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.batch.cluster import Workers
from napari_sslmaps.batch.dispatch import answers_of
from napari_sslmaps.batch.store import About, check_comparable, read_about, read_tokens, tokens_at
from napari_sslmaps.core.results import Float32
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.extras import has_extra, require_extra
from napari_sslmaps.files import alone_in
from napari_sslmaps.search.manifest import (
    MANIFEST,
    PART_NAME,
    QUANTISER,
    IndexedImage,
    Manifest,
    PartCheck,
)
from napari_sslmaps.search.parts import (
    Part,
    is_as_written,
    make_part,
    plan_parts,
    tokens_in,
    write_part,
)

FOLDER = ".index"
_MOST_COMPONENTS = 128
_LISTS = 1024
_PER_LIST = 39
_SAMPLE, _LEAST_OF_ONE = 65_536, 16
"""Tokens that are learnt from, and of an image of which any are."""
_PARTS, _SMALLEST_PART, _LARGEST_PART = 8, 500_000, 4_000_000
"""Parts of a large archive, and tokens of one: a search asks them all, a stop loses the one that is made."""
_MOST_DEAD = 0.3
_TOKENS_OF_A_PROCESS = 2_000_000
"""Tokens that a process of its own is worth starting for, which takes seconds."""
_OWN_BLOCK = "the encoder's own block"
OnOutput = Callable[[int, int], None]
"""Called with outputs done and their number; may raise `Cancelled`."""


@dataclass(frozen=True, slots=True)
class IndexReport:
    """Report on what building an index did.

    Parameters
    ----------
    folder
        Folder of the index.
    added, kept, dropped
        Number of images that were added, kept and dropped.
    tokens, masked
        Numbers of tokens that can be found now, and of those that cannot, as they lie outside a mask.
    """

    folder: Path
    added: int
    kept: int
    dropped: int
    tokens: int
    masked: int = 0


def index_folder(store: Path, encoder: str = "") -> Path:
    """Return where the index of an encoder's outputs lies; of the only one if none is named.

    Raises
    ------
    InvalidOptionError
        If there is no such folder or encoder, or none is named of several.
    """
    if not store.is_dir():
        raise InvalidOptionError(
            f"Expected a folder that napari-sslmaps batch wrote; there is no folder {store}. Check its path."
        )
    there = encoders_of(store)
    if not there:
        raise InvalidOptionError(
            f"Expected a folder that napari-sslmaps batch wrote; there are no tokens of it in {store}. Check "
            "its path, or run batch first."
        )
    if (encoder or len(there) > 1) and encoder not in there:
        raise InvalidOptionError(
            f"Expected one of the encoders whose tokens are in {store}, {', '.join(there)}; got "
            f"{repr(encoder) if encoder else 'none'}. Name one with --encoder."
        )
    return store / FOLDER / (encoder or there[0])


def index_version(store: Path, encoder: str = "") -> tuple[int, int]:
    """Return what is another as soon as an index was written again; zeros where there is none."""
    try:
        status = (index_folder(store, encoder) / MANIFEST).stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


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
    indexed
        Names of those that have an index.
    images, tokens
        Numbers of images and tokens that can be found.
    waiting
        Number of images that are not in the index yet.
    masked
        Number of tokens of those images that cannot be found, as they lie outside a mask.
    """

    encoder: str
    encoders: tuple[str, ...]
    indexed: tuple[str, ...]
    images: int
    tokens: int
    waiting: int
    masked: int = 0


def index_state(store: Path, encoder: str = "") -> IndexState:
    """Say what can be found in a store; of several encoders, in the first indexed one's unless one is named.

    Raises
    ------
    InvalidOptionError
        If there is no such store or encoder.
    RecordError
        If the index is damaged.
    """
    encoders = encoders_of(store)
    indexed = tuple(name for name in encoders if (index_folder(store, name) / MANIFEST).exists())
    folder = index_folder(store, encoder or next(iter((*indexed, *encoders)), ""))
    there = {path.relative_to(store).as_posix() for path in (store / folder.name).rglob("*.zarr")}
    manifest = Manifest.read(folder)
    found = [one for one in manifest.images if one.alive and one.output in there] if manifest else []
    waiting = there - {one.output for one in found}
    tokens, masked = _tokens(found)
    return IndexState(folder.name, encoders, indexed, len(found), tokens, len(waiting), masked)


def build_index(
    store: Path, encoder: str = "", on_output: OnOutput | None = None, *, workers: Workers | None = None
) -> IndexReport:
    """Bring the index of a store up to date: new images are added, changed ones replaced, gone ones dropped.

    Finished parts are written whole, so that a call that was stopped, or killed, is taken up there. An index
    is the same, whoever makes its parts. In a script, call it below ``if __name__ == "__main__":``, since
    worker processes import the script.

    Parameters
    ----------
    store
        Folder of a batch.
    encoder
        Name of the outputs' folder; the only one if empty.
    on_output
        Callback, called after every image, or every half second if others do the work, and before the first
        while the sample that is learnt from is read.
    workers
        Workers that make the parts; if None as many processes here as there are cores, where there is enough
        to do and Dask is installed.

    Raises
    ------
    MissingExtraError
        If faiss is not installed, or Dask, where workers are asked for.
    InvalidOptionError
        If there is no such store, it holds no tokens, or those of several weights or blocks; no scheduler
        answers; or a batch writes an output meanwhile.
    UnsupportedImageError
        If an output is damaged.
    ExportError
        If the index cannot be written, or another process is building it.
    """
    require_extra("search")
    folder = index_folder(store, encoder)
    with alone_in(folder):
        return _brought_up_to_date(store, folder, on_output, workers)


def _brought_up_to_date(
    store: Path, folder: Path, on_output: OnOutput | None, workers: Workers | None
) -> IndexReport:
    found = dict(_outputs(store, folder.name))
    _check_alike(store / folder.name, found.values())
    manifest = _without(Manifest.read(folder), found, folder)
    known = {image.output for image in manifest.images if image.alive} if manifest else set()
    todo = {output: about for output, about in found.items() if output not in known}
    dropped = sum(not image.alive for image in manifest.images) if manifest else 0
    if manifest is None:
        manifest = _train_index(store, folder, todo, on_output)
    parts = plan_parts(store, folder, manifest, todo, _part_size(found.values()))
    manifest.write(folder)
    waiting: dict[str, PartCheck] = {}
    with closing(_made(parts, _who(workers, parts), on_output)) as made:
        for part, check in made:
            waiting[part.name] = check
            manifest = _with_parts(manifest, parts, waiting)
    for path in folder.iterdir():  # of a plan that was given up before its time
        if PART_NAME.fullmatch(path.name) and path.name not in manifest.segments:
            path.unlink(missing_ok=True)
    manifest = _with_counts(manifest, folder)
    return IndexReport(folder, len(todo), len(known), dropped, *_tokens(manifest.images))


def _with_counts(manifest: Manifest, folder: Path) -> Manifest:
    """Count what is in the index of images of which that is not known yet, and write it down."""
    if all(image.known is not None for image in manifest.images):
        return manifest
    counts = tokens_in(folder, manifest).tolist()
    images = tuple(replace(image, known=count) for image, count in zip(manifest.images, counts, strict=True))
    counted = replace(manifest, images=images)
    counted.write(folder)
    return counted


def _tokens(images: Iterable[IndexedImage]) -> tuple[int, int]:
    """Return how many tokens can be found, and how many lie outside a mask."""
    alive = [image for image in images if image.alive]
    found = sum(image.found for image in alive)
    return found, sum(image.count for image in alive) - found


def _part_size(found: Iterable[About]) -> int:
    tokens = sum(about.grid.rows * about.grid.cols for about in found)
    return min(_LARGEST_PART, max(_SMALLEST_PART, -(-tokens // _PARTS)))


def _who(workers: Workers | None, parts: Sequence[Part]) -> Workers | None:
    """Return who makes the parts; None for this process."""
    if workers is None and has_extra("batch"):
        from dask.system import CPU_COUNT

        tokens = sum(image.count for part in parts for image in part.images)
        workers = Workers(min(CPU_COUNT, tokens // _TOKENS_OF_A_PROCESS) or 1)
    count = 1 if workers is None else min(workers.count or 1, len(parts))
    if workers is None or (not workers.scheduler and count <= 1):
        return None
    require_extra("batch")
    return workers if workers.scheduler else Workers(count, workers.threads or 1)


def _made(
    parts: Sequence[Part], workers: Workers | None, on_output: OnOutput | None
) -> Generator[tuple[Part, PartCheck], None, None]:
    """Have parts made, and yield each as it comes."""
    done, total = 0, sum(len(part.images) for part in parts)

    def tell(images: int = 0) -> None:
        nonlocal done
        done += images
        if on_output is not None:
            on_output(done, total)

    if workers is None:
        for part in parts:
            yield part, make_part(part, partial(tell, 1))
        return
    with closing(answers_of(make_part, parts, workers, tell)) as answers:
        for part, check in answers:
            yield part, check
            tell(len(part.images))


def _with_parts(manifest: Manifest, parts: Sequence[Part], made: Mapping[str, PartCheck]) -> Manifest:
    """Take up the parts that are made, in their order, and write it down."""
    taken = manifest
    for part in parts[sum(part.name in manifest.segments for part in parts) :]:
        if part.name not in made:
            break
        taken = replace(
            taken,
            images=(*taken.images, *part.images),
            segments=(*taken.segments, part.name),
            checks={**taken.checks, part.name: made[part.name]},
        )
    if taken is not manifest:
        taken.write(parts[0].folder)
    return taken


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
    """Mark what is gone or changed; None where the index is to be made anew.

    It is deleted where that is too much to carry along. Of an index with a file that is missing or damaged
    the others stay, to be taken as they are if they are made of the same images again.
    """
    if manifest is None:
        return None
    files = (QUANTISER, *manifest.segments)
    lost = [name for name in files if not is_as_written(folder / name, manifest.checks.get(name))]
    if lost:
        for name in (MANIFEST, *(one for one in lost if not (folder / one).is_dir())):
            (folder / name).unlink(missing_ok=True)
        return None
    images = tuple(
        replace(image, alive=image.alive and image.output in found and found[image.output].key == image.key)
        for image in manifest.images
    )
    dead = sum(image.count for image in images if not image.alive)
    if dead > _MOST_DEAD * max(1, manifest.tokens):
        for name in (MANIFEST, QUANTISER, *manifest.segments):  # nothing of anybody else
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
    every = max(1, len(todo) * _LEAST_OF_ONE // _SAMPLE)
    chosen = dict(islice(todo.items(), 0, None, every))
    each = max(_LEAST_OF_ONE, _SAMPLE // len(chosen))
    samples: dict[str, Float32] = {}
    for output, about in chosen.items():
        samples[output] = _sampled(store / output, about, each)
        if on_output is not None:
            on_output(0, len(todo))
    ((dim, _),) = Counter(tokens.shape[1] for tokens in samples.values()).most_common(1)
    for output, tokens in samples.items():
        check_comparable(store / output, tokens, dim)
    sample = np.concatenate(list(samples.values()))
    manifest = Manifest(folder.name, tuple(float(value) for value in sample.mean(axis=0, dtype=np.float64)))
    unit = manifest.prepared(sample)
    components = min(unit.shape[1], _MOST_COMPONENTS, len(unit))
    lists = max(1, min(_LISTS, len(unit) // _PER_LIST))
    kind = f"PCAR{components},L2norm,IVF{lists},SQ8"
    index = faiss.index_factory(unit.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    index.train(unit)
    manifest = replace(manifest, checks={QUANTISER: write_part(index, folder / QUANTISER)})
    manifest.write(folder)
    return manifest


def _sampled(output: Path, about: About, most: int) -> Float32:
    grid = about.grid
    count = grid.rows * grid.cols
    if about.provenance.mask_sha256:
        flat = read_tokens(output, about).reshape(count, -1)
        known = np.flatnonzero(np.isfinite(flat[:, 0]))
        return flat[known[_spread(len(known), most)]]
    return tokens_at(output, grid, np.stack(np.divmod(_spread(count, most), grid.cols), axis=1))


def _spread(count: int, most: int) -> NDArray[np.intp]:
    """Return whole numbers below `count`, at most so many, evenly apart."""
    return np.linspace(0, max(0, count - 1), min(count, most)).round().astype(np.intp)

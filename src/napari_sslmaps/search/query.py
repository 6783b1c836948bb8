"""A question to an index: the places most like some, least like others, not crowded in one."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import hypot
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np

from napari_sslmaps.batch.store import check_comparable, key_of, read_about, read_embedding, tokens_at
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding, Float32, Provenance
from napari_sslmaps.core.tiling import FITTED, Stitching, Tiling
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import (
    EncoderNotFoundError,
    InvalidAnchorError,
    InvalidOptionError,
    RecordError,
    UnsupportedImageError,
)
from napari_sslmaps.files import user_path
from napari_sslmaps.inputs.images import open_named
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.records.anchors import AnchorSet
from napari_sslmaps.search.images import check_as_embedded, image_file, is_background
from napari_sslmaps.search.index import index_folder
from napari_sslmaps.search.manifest import IndexedImage, Manifest
from napari_sslmaps.search.parts import ask_ahead, read_part, search_part

_PROBES = 24
_FIRST, _MOST = 512, 16_384
_SPARE = 2
"""Places that are looked at in the store, to one that is wanted: what the index has is not exact."""
Scored: TypeAlias = tuple[float, int]
"""Similarity of a token, and its number in the index."""


@dataclass(frozen=True, slots=True)
class Like:
    """A place to search for.

    Parameters
    ----------
    image
        Name or path of an image of the store, or path of another one.
    pixel_yx
        (row, column) of level 0; the first of a rectangle if it has a size.
    size_yx
        Height and width of a rectangle, whose mean token is searched for; None for one token.
    """

    image: str
    pixel_yx: tuple[float, float]
    size_yx: tuple[float, float] | None = None

    @classmethod
    def parse(cls, text: str) -> "Like":
        """Understand ``image@y,x`` or ``image@y,x,height,width``.

        Raises
        ------
        InvalidOptionError
            If it is written otherwise.
        """
        image, _, place = text.rpartition("@")
        try:
            numbers = [float(part) for part in place.split(",")]
        except ValueError:
            numbers = []
        if not image or len(numbers) not in (2, 4):
            raise InvalidOptionError(
                f"Expected a place as image@y,x or image@y,x,height,width; got {text!r}. Write it in one "
                "of these forms."
            )
        size = (numbers[2], numbers[3]) if len(numbers) == 4 else None
        return cls(image, (numbers[0], numbers[1]), size)


@dataclass(frozen=True, slots=True)
class Place:
    """A place that was found.

    Parameters
    ----------
    name, image
        Name of the item, and path of its image.
    y, x
        Centre of the token, in pixels of level 0.
    similarity
        Cosine to what was searched for, in [−1, 1].
    token_px
        Height and width of the token, in pixels of level 0.
    level, frame
        Level and frame of the region that was embedded.
    """

    name: str
    image: str
    y: float
    x: float
    similarity: float
    token_px: tuple[float, float]
    level: int = 0
    frame: int = 0


_Tokens: TypeAlias = tuple[int, int, int, int]
"""First row and column, last row and column."""


@dataclass(frozen=True, slots=True)
class _Limits:
    """Limits of what is found: distance and number in one image, and what is searched for."""

    apart: float | None
    per_image: int
    own: Mapping[int, Sequence[_Tokens]]


class TokenIndex:
    """An index, opened to be asked; its parts are mapped from their files.

    Parameters
    ----------
    store
        Folder of a batch with an index.
    encoder
        Name of the outputs' folder; the only one if empty.
    weights
        Weight file of the encoder, to embed images that the store has not; not needed for one that is known
        by its name.
    roots
        Folders that the images of the store may lie in, besides where the batch found them.

    Raises
    ------
    InvalidOptionError
        If there is no index.
    """

    def __init__(
        self,
        store: Path,
        encoder: str = "",
        weights: Path | None = None,
        *,
        roots: Sequence[Path] = (),
    ) -> None:
        import faiss

        folder = index_folder(store, encoder)
        manifest = Manifest.read(folder)
        if manifest is None or not manifest.segments:
            raise InvalidOptionError(
                f"Expected an index of {store}; there is none of {folder.name}. Run: napari-sslmaps index "
                f"{store} --encoder {folder.name}"
            )
        self.store, self.manifest, self._weights = store, manifest, weights
        self._roots = (store, *roots)
        self._firsts = np.array([image.first for image in manifest.images])
        self._segments: list[Any] = []
        self._files: list[Path] = []
        for name in manifest.segments:
            segment = read_part(folder / name, manifest, mapped=True)
            if not segment.ntotal:  # of images that were masked whole
                continue
            faiss.extract_index_ivf(segment).nprobe = _PROBES
            self._segments.append(segment)
            self._files.append(folder / name)

    def vector(
        self,
        like: Sequence[Like],
        unlike: Sequence[Like] = (),
        *,
        known: Mapping[str, Embedding] | None = None,
    ) -> Float32:
        """Return the direction to search in: the mean of what is sought less that of what is not.

        Parameters
        ----------
        like, unlike
            Places whose tokens are wanted, and those to be unlike.
        known
            Embeddings of images that the places name, which are neither looked for nor made then.

        Raises
        ------
        InvalidOptionError
            If there is nothing to search for, an image is neither in the store nor a file, or what is known
            of it was made otherwise than the store's tokens.
        InvalidAnchorError
            If a place lies outside what was embedded of its image.
        """
        if not like:
            raise InvalidOptionError(
                "Expected at least one place to search for; got none. Give --like or --anchors."
            )
        known = known or {}
        sought: Float32 = np.mean([self._token(one, known) for one in like], axis=0)
        if unlike:
            sought = sought - np.mean([self._token(one, known) for one in unlike], axis=0)
        length = np.linalg.norm(sought)
        unit: Float32 = sought / (length if length > 0 else 1.0)
        return unit

    def likes_of(self, anchors: AnchorSet) -> tuple[list[Like], list[Like]]:
        """Return what is sought and what is not by the first group of a set that has an anchor.

        Parameters
        ----------
        anchors
            Set of anchors on an image of the store, which is found by its name, with or without its suffix.

        Raises
        ------
        InvalidOptionError
            If the set has no anchor, or the store not exactly one such image.
        """
        group = next((one for one in anchors.groups if one.anchors), None)
        names = {one.name for one in self.manifest.images if one.alive}
        fitting = [one for one in names if anchors.image in (one, Path(one).name, Path(one).stem)]
        if group is None or len(fitting) != 1:
            what = "no anchor" if group is None else f"{len(fitting)} images called {anchors.image!r}"
            raise InvalidOptionError(
                f"Expected a set of anchors on an image of the store; got {what}. Name the places with "
                "--like."
            )
        found, away = ([Like(fitting[0], yx) for yx in one] for one in (group.anchors, group.negative))
        return found, away

    def search(
        self,
        vector: Float32,
        count: int = 50,
        *,
        apart: float | None = None,
        per_image: int = 5,
        asked: Sequence[Like] = (),
        other_images: bool = False,
    ) -> tuple[Place, ...]:
        """Return the places most like a direction, the most alike first.

        The index says which may be; their order and similarity are those of the tokens in the store.

        Parameters
        ----------
        vector
            Direction to compare with, from `vector`.
        count
            Number of places, at most.
        apart
            Least distance of two places of one image, in pixels of level 0; four tokens if None.
        per_image
            Most places of one image.
        asked
            Places that are searched for: neither they nor what is nearer to them than `apart` is found.
        other_images
            Whether nothing is found in the images that these lie in.

        Raises
        ------
        InvalidAnchorError
            If a place that is searched for lies outside what was embedded of its image.
        """
        own, images = self._own(asked)
        left_out = images if other_images else frozenset[int]()
        limits = _Limits(apart, per_image, own)
        many, wanted = _FIRST, _SPARE * count
        while True:
            nearest = self._nearest(vector, many, left_out)
            found = self._apart(nearest, wanted, replace(limits, per_image=_SPARE * per_image))
            if len(found) >= wanted or many >= min(_MOST, self.manifest.tokens):
                break
            many *= 4
        return tuple(
            self._place(score, number)
            for score, number in self._apart(self._exact(vector, found), count, limits)
        )

    @property
    def held(self) -> tuple[int, int]:
        """Images and tokens that can be found."""
        alive = [one for one in self.manifest.images if one.alive]
        return len(alive), sum(one.found for one in alive)

    def doubts(self, asked: Sequence[Like], *, file: Path | None = None, frame: int = 0) -> tuple[str, ...]:
        """Say which places are background, where masks have left that out of the store.

        Those of the store's own images are refused by `vector`.

        Parameters
        ----------
        asked
            Places that are searched for.
        file
            File of their image; each like's own path if None.
        frame
            Number of a frame of a clip.
        """
        images = [one for one in self.manifest.images if one.alive]
        if all(one.found == one.count for one in images):
            return ()
        said = []
        for like in asked:
            path, size = file or user_path(like.image), like.size_yx or images[0].grid.stride_yx
            corner = (
                like.pixel_yx if like.size_yx else np.subtract(like.pixel_yx, np.divide(size, 2)).tolist()
            )
            if self._number_of(like.image) is not None or not path.exists():
                continue
            with suppress(UnsupportedImageError):
                if is_background(path, (corner[0], corner[1]), size, frame):
                    said.append(
                        f"({like.pixel_yx[0]:g}, {like.pixel_yx[1]:g}) of {Path(like.image).name} looks like "
                        "background, which the masks of the batch have left out: what is found is the most "
                        "alike of the rest."
                    )
        return tuple(said)

    def _own(self, asked: Sequence[Like]) -> tuple[dict[int, list[_Tokens]], frozenset[int]]:
        """Return the tokens that are searched for, by the number of an image, and all of those images."""
        own: dict[int, list[_Tokens]] = {}
        for like in asked:
            at = self._number_of(like.image)
            if at is not None:
                own.setdefault(at, []).append(_tokens_of(like, self.manifest.images[at].grid))
        files = {self.manifest.images[at].image for at in own}
        images = enumerate(self.manifest.images)
        return own, frozenset(at for at, one in images if at in own or (one.image and one.image in files))

    def _exact(self, vector: Float32, found: Sequence[Scored]) -> list[Scored]:
        """Compare with the tokens of the store themselves; an output that cannot be read keeps its scores."""
        exact = dict[int, float]()
        by_image: dict[int, list[int]] = {}
        for score, number in found:
            exact[number] = score
            by_image.setdefault(self._image_at(number), []).append(number)
        for at, numbers in by_image.items():
            image = self.manifest.images[at]
            output = self.store / image.output
            if key_of(output) != image.key:
                continue
            places = np.stack(np.divmod(np.subtract(numbers, image.first), image.grid.cols), axis=1)
            try:
                tokens = tokens_at(output, image.grid, places)
                check_comparable(output, tokens, len(self.manifest.mean))
            except UnsupportedImageError:  # a click on it says what is wrong
                continue
            scores = self.manifest.prepared(tokens) @ vector
            if np.isfinite(scores).all():
                exact.update(zip(numbers, map(float, scores), strict=True))
        return sorted(((score, number) for number, score in exact.items()), key=_best_first)

    def _nearest(self, vector: Float32, many: int, left_out: Collection[int]) -> list[Scored]:
        for path, segment in zip(self._files, self._segments, strict=True):
            ask_ahead(path, segment, vector)
        ranges = [
            (one.first, one.first + one.count) for one in map(self.manifest.images.__getitem__, left_out)
        ]
        found = [search_part(segment, vector, many, ranges) for segment in self._segments]
        scores, numbers = (
            np.concatenate([np.empty(0), *(one[which][0] for one in found)]) for which in (0, 1)
        )
        if (numbers >= self.manifest.tokens).any():
            folder = index_folder(self.store, self.manifest.encoder)
            raise RecordError(
                f"Expected tokens of the index in its parts; one in {folder} names token "
                f"{numbers.max():.0f} of {self.manifest.tokens}. Delete that folder and run napari-sslmaps "
                "index again."
            )
        best = np.lexsort((numbers, -scores))[:many]
        pairs = zip(scores[best].tolist(), numbers[best].astype(np.int64).tolist(), strict=True)
        return [pair for pair in pairs if pair[1] >= 0]

    def _apart(self, pairs: Sequence[Scored], count: int, limits: "_Limits") -> list[Scored]:
        """Leave out what lies too near to something better in its image, or is too much of one image."""
        kept: dict[int, list[tuple[float, float]]] = {}
        found: list[Scored] = []
        for score, number in pairs:
            at = self._image_at(number)
            image, there = self.manifest.images[at], kept.setdefault(at, [])
            if not image.alive or len(there) >= limits.per_image:
                continue
            token, stride = divmod(number - image.first, image.grid.cols), image.grid.stride_yx
            y, x = np.multiply(token, stride).tolist()
            least = 4 * max(stride) if limits.apart is None else limits.apart
            if any(hypot(y - other_y, x - other_x) < least for other_y, other_x in there):
                continue
            if any(not 0 < _distance(token, box, stride) >= least for box in limits.own.get(at, ())):
                continue
            there.append((y, x))
            found.append((score, number))
            if len(found) == count:
                break
        return found

    def _image_at(self, number: int) -> int:
        return int(np.searchsorted(self._firsts, number, side="right")) - 1

    def _place(self, score: float, number: int) -> Place:
        image = self.manifest.images[self._image_at(number)]
        y, x = image.grid.token_to_pixel(divmod(number - image.first, image.grid.cols)).tolist()
        cosine = min(1.0, max(-1.0, score))  # of tokens in 8 bits it may be a little more
        return Place(image.name, image.image, y, x, cosine, image.grid.stride_yx, image.level, image.frame)

    def _token(self, like: Like, known: Mapping[str, Embedding]) -> Float32:
        """Return what is at a place, as the index has tokens."""
        given = known.get(like.image)
        embedding = self._embedding(like.image) if given is None else self._checked(like.image, given)
        top, left, bottom, right = _tokens_of(like, embedding.grid)
        tokens = embedding.tokens[top : bottom + 1, left : right + 1]
        tokens = tokens.reshape(-1, tokens.shape[-1])
        finite = tokens[np.isfinite(tokens[:, 0])]
        if not len(finite):
            raise InvalidOptionError(
                f"Expected a place of {like.image} that was embedded; ({like.pixel_yx[0]:g}, "
                f"{like.pixel_yx[1]:g}) lies outside its mask. Choose another."
            )
        if finite.shape[1] != len(self.manifest.mean) or not np.isfinite(finite).all():
            raise InvalidOptionError(
                f"Expected {len(self.manifest.mean)} finite numbers of each token of {like.image}; its "
                "output is damaged. Delete that from the store and run the batch again."
            )
        mean: Float32 = self.manifest.prepared(finite).mean(axis=0)
        return mean

    @property
    def made(self) -> Provenance:
        """How the tokens of the store were made."""
        some = next((one for one in self.manifest.images if one.alive), None)
        about = None if some is None else read_about(self._indexed(some))
        return Provenance() if about is None else about.provenance

    def _checked(self, image: str, embedding: Embedding) -> Embedding:
        """Return an embedding, if it can be compared with the store's tokens."""
        made, given = self.made, embedding.provenance
        alike = (made.encoder, made.weights_sha256, made.depth) == (
            given.encoder,
            given.weights_sha256,
            given.depth,
        )
        if not alike or embedding.tokens.shape[-1] != len(self.manifest.mean):
            said = [f"{one.encoder}{one.depth and f' ({one.depth})'}" for one in (made, given)]
            raise InvalidOptionError(
                f"Expected tokens of {image} by {said[0]} with the store's weights; got those of {said[1]}. "
                "Embed it in the same way as the batch."
            )
        return embedding

    def stored(self, output: str) -> Embedding:
        """Read the embedding of one of the store's outputs."""
        alive = (one for one in self.manifest.images if one.alive)
        return read_embedding(self._indexed(next(one for one in alive if one.output == output)))

    def output_of(self, file: Path, roots: Sequence[Path], frame: int = 0) -> str:
        """Return the output of an image file, in a frame; empty if the store has none of it.

        Parameters
        ----------
        file
            The image.
        roots
            Folders that the images of the store lie in.
        frame
            Number of a frame of a clip.
        """
        for one in self.manifest.images:
            named = file.name in (Path(one.image).name, Path(one.name).name)
            if one.alive and one.frame == frame and named:
                found = image_file(one.name, one.image, roots)
                if found is not None and found.samefile(file):
                    return one.output
        return ""

    def _embedding(self, image: str) -> Embedding:
        path, at = str(user_path(image).absolute()), self._number_of(image)
        if at is not None:
            output = self._indexed(self.manifest.images[at])
            if Path(path).exists():
                check_as_embedded(image, Path(path), output)
            return read_embedding(output)
        if not Path(path).exists():
            names = ", ".join(one.name for one in self.manifest.images[:3])
            raise InvalidOptionError(
                f"Expected an image of the store, such as {names}, or the path of another; got {image!r}. "
                "Check its name."
            )
        return self._checked(image, self._embedded(path))

    def _number_of(self, image: str) -> int | None:
        """Return which image of the index has a name, or lies at a path; None if it has none such."""
        alive = [(at, one) for at, one in enumerate(self.manifest.images) if one.alive]
        named = next((at for at, one in alive if one.name == image), None)
        path = user_path(image).absolute()
        if named is not None or not path.exists():
            return named
        output = self.output_of(path, self._roots)
        return next((at for at, one in alive if one.output == output), None)

    def _embedded(self, path: str) -> Embedding:
        """Embed an image as the batch embedded those of the store."""
        made = self.made
        try:
            encoder = load_encoder(self._weights or made.encoder, **made.overrides)
        except EncoderNotFoundError as error:
            raise InvalidOptionError(
                f"Expected the weights of {made.encoder} to embed {path}, which the store has not; no "
                "encoder is known by that name. Name their file with --weights."
            ) from error
        encoder = encoder.at_block(made.token_block or None, norm=made.token_norm)
        tiling = Tiling(made.tile or FITTED, made.overlap, cast("Stitching", made.stitching))
        with open_named(path) as source:
            level = min(made.region.level if made.region else 0, len(source.levels) - 1)
            return embed(
                source,
                encoder,
                region=Region(0, 0, *source.levels[level].shape_yx, level),
                tiling=tiling,
                resolution=made.resolution or "native",
                stride=made.stride or None,
            )

    def _indexed(self, image: IndexedImage) -> Path:
        """Return the output of an image, which has to be the one that was indexed."""
        output = self.store / image.output
        about = read_about(output)
        if about is not None and about.key != image.key:
            raise InvalidOptionError(
                f"Expected {image.output} as it was indexed; the batch has written it again since. Run: "
                f"napari-sslmaps index {self.store}"
            )
        return output


def embedding_of(place: Place, store: Path, encoder: str) -> Embedding:
    """Read what the store has of the image that a place lies in.

    Raises
    ------
    InvalidOptionError
        If it has nothing of it any more.
    UnsupportedImageError
        If it is damaged.
    """
    output = output_of(place, store, encoder)
    if output is None:
        raise InvalidOptionError(f"Expected tokens of {place.name} in {store}; there are none. Search again.")
    return read_embedding(output)


def output_of(place: Place, store: Path, encoder: str) -> Path | None:
    """Return what a store has of the image that a place lies in; None where that is nothing."""
    manifest = Manifest.read(index_folder(store, encoder))
    wanted = (place.name, place.image, place.frame)
    alive = (one for one in manifest.images if one.alive) if manifest else iter(())
    found = next((one for one in alive if (one.name, one.image, one.frame) == wanted), None)
    return None if found is None else store / found.output


def _tokens_of(like: Like, grid: TokenGrid) -> _Tokens:
    """Return the tokens that a place covers; raises `InvalidAnchorError` if it reaches beyond the grid."""
    far = like.pixel_yx if like.size_yx is None else np.add(like.pixel_yx, like.size_yx) - 1
    for corner in (like.pixel_yx, far):
        if not grid.contains(corner):
            (top, left), (height, width) = grid.origin_yx, grid.extent_yx
            raise InvalidAnchorError(
                f"Expected a place inside what was embedded of {like.image}, rows {top:g} to "
                f"{top + height - 1:g} and columns {left:g} to {left + width - 1:g}; got ({corner[0]:g}, "
                f"{corner[1]:g}). Give a row and a column within these."
            )
    return *grid.token_at(like.pixel_yx), *grid.token_at(far)


def _distance(token: tuple[int, int], box: _Tokens, stride_yx: tuple[float, float]) -> float:
    """Return how far a token lies from some others, in pixels; 0 among them."""
    beyond = (max(box[axis] - token[axis], 0, token[axis] - box[axis + 2]) for axis in (0, 1))
    return hypot(*np.multiply(tuple(beyond), stride_yx))


def _best_first(scored: Scored) -> tuple[float, int]:
    return -scored[0], scored[1]

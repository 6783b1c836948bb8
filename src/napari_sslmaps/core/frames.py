"""Several frames of one image: which, and what was computed of each."""

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from napari_sslmaps.core.results import Embedding, Float32, TokenMap
from napari_sslmaps.errors import InvalidOptionError, RegionError

FramesLike = str | range | slice | Sequence[int]
"""``all``, numbers, a range, or text: ``0:20:2`` as a slice, ``0,5,9`` as numbers."""


def chosen_frames(requested: FramesLike, count: int) -> tuple[int, ...]:
    """Return the numbers of the frames that are asked for.

    Parameters
    ----------
    requested
        Frames that are wanted: ``all``, numbers, a range, or text such as ``0:20:2``.
    count
        Number of frames that there are.

    Raises
    ------
    InvalidOptionError
        If the text is none of these, or no frame is asked for.
    RegionError
        If the image has no such frame.
    """
    numbers = _numbers(requested, count)
    if not numbers:
        raise InvalidOptionError(f"Expected at least one of {count} frames; {requested!r} asks for none.")
    beyond = [number for number in numbers if not 0 <= number < count]
    if beyond:
        raise RegionError(f"Expected frames below {count}; got {', '.join(map(str, beyond[:6]))}.")
    return numbers


def _numbers(requested: FramesLike, count: int) -> tuple[int, ...]:
    try:
        if isinstance(requested, slice):
            return tuple(range(count)[requested])
        if not isinstance(requested, str):
            return tuple(map(operator.index, requested))
        text = requested.strip()
        if text == "all":
            return tuple(range(count))
        if ":" in text:
            parts = [int(part) if part.strip() else None for part in text.split(":")]
            return tuple(range(count)[slice(*parts)])
        return tuple(int(part) for part in text.split(","))
    except (TypeError, ValueError) as error:
        raise InvalidOptionError(
            "Expected frames as all, 0:20:2 (from, to, step) or 0,5,9, or as a list of numbers; got "
            f"{requested!r}."
        ) from error


@dataclass(frozen=True, eq=False, slots=True)
class FrameEmbeddings(Sequence[Embedding]):
    """Embeddings of frames of one image by one encoder; `pca_map` fits one basis to all of them.

    Parameters
    ----------
    frames
        Numbers of the frames.
    embeddings
        Embeddings, one per frame.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> clip = np.random.default_rng(0).integers(0, 255, (3, 32, 48), dtype=np.uint8)
    >>> encoder = ssl.load_encoder("mae-demo", device="cpu", precision="float32")
    >>> with ssl.open_image(clip, frames=True) as source:
    ...     embedded = ssl.embed(source, encoder, frames="all")
    >>> len(embedded), embedded.frames, embedded[2].provenance.region.frame
    (3, (0, 1, 2), 2)
    >>> ssl.frame_maps(embedded, anchors=[(16, 20)], anchor_frame=1)["similarity"].values.shape
    (3, 4, 6)
    """

    frames: tuple[int, ...]
    embeddings: tuple[Embedding, ...]

    def __len__(self) -> int:
        return len(self.embeddings)

    @overload
    def __getitem__(self, index: int) -> Embedding: ...

    @overload
    def __getitem__(self, index: slice) -> "FrameEmbeddings": ...

    def __getitem__(self, index: int | slice) -> "Embedding | FrameEmbeddings":
        if isinstance(index, slice):
            return FrameEmbeddings(self.frames[index], self.embeddings[index])
        return self.embeddings[index]

    def __iter__(self) -> Iterator[Embedding]:
        return iter(self.embeddings)

    def of_frame(self, frame: int) -> Embedding:
        """Return the embedding of a frame, by its number in the image; raise `RegionError` if it has none."""
        if frame not in self.frames:
            raise RegionError(
                f"Expected a frame among those embedded ({', '.join(map(str, self.frames[:8]))}"
                f"{', …' * (len(self.frames) > 8)}); got {frame}."
            )
        return self.embeddings[self.frames.index(frame)]


@dataclass(frozen=True, eq=False, slots=True)
class FrameMap:
    """A map of each of several frames, made alike: of one basis, to one anchor.

    Parameters
    ----------
    frames
        Numbers of the frames.
    maps
        Maps, one per frame.
    """

    frames: tuple[int, ...]
    maps: tuple[TokenMap, ...]

    @property
    def values(self) -> Float32:
        """(frames, rows, cols) or (frames, rows, cols, 3) float32."""
        return np.stack([one.values for one in self.maps])

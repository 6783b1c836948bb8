"""State of one image layer: its embeddings, and what makes similarity quick."""

from collections.abc import Collection
from dataclasses import dataclass, field
from threading import Lock
from typing import Literal

from napari.layers import Image

from napari_sslmaps.core.placed_mask import PlacedMask
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.core.scale import TokenScale
from napari_sslmaps.maps.attention import AttentionStack
from napari_sslmaps.maps.similarity_pyramid import SimilarityPyramid
from napari_sslmaps.pipeline.attention_field import AttentionField
from napari_sslmaps.viewer.state.workspace import Anchor, RegionChoice


@dataclass(eq=False)
class Embedded:
    """An embedding and its token pyramids, built when first needed.

    `stack` is attention that was computed besides what the embedding holds, the last that was asked for;
    `around` what the tile under the last anchor attends with.

    Hold `lock` while a pyramid is used: its levels are built by whoever comes first, the thread that
    repaints or a drag.
    """

    embedding: Embedding
    complete: bool = True
    stack: AttentionStack | None = None
    around: AttentionField | None = None
    lock: Lock = field(default_factory=Lock)
    _pyramids: dict[bool, SimilarityPyramid] = field(default_factory=dict)

    def pyramid(self, *, centred: bool, scale: TokenScale | None = None) -> SimilarityPyramid:
        """Return the pyramid of these tokens, or of these tokens less their mean; of the latest scale alone.

        Raises
        ------
        InvalidOptionError
            If the image does not tell what the scale needs.
        """
        sigma = 0.0 if scale is None else scale.pixels(self.embedding)
        kept = self._pyramids.get(centred)
        if kept is None or kept.scale != sigma:
            kept = self._pyramids[centred] = SimilarityPyramid(self.embedding, centred=centred, scale=sigma)
        return kept

    @property
    def megabytes(self) -> float:
        """Size of the tokens (10⁶ bytes)."""
        return self.embedding.tokens.nbytes / 1e6


@dataclass(frozen=True, eq=False)
class ClipEmbeddings:
    """Embeddings of the frames of a clip, all alike.

    Parameters
    ----------
    key
        Region, whatever the frame, and all else that decides the tokens.
    frames
        Embeddings by the number of a frame, and then by encoder.
    """

    key: tuple[object, ...]
    frames: dict[int, dict[str, Embedding]] = field(default_factory=dict)

    def of_frame(self, frame: int, names: Collection[str]) -> dict[str, Embedding] | None:
        """Return a frame's embeddings by these encoders; None unless all are there."""
        found = self.frames.get(frame, {})
        return {name: found[name] for name in names} if names and found.keys() >= set(names) else None


@dataclass(eq=False)
class Session:
    """State of one image layer.

    Parameters
    ----------
    region
        Region that was embedded; None before the first run.
    mask
        Mask of the wanted tokens; None for all.
    embedded
        Embeddings by name of the encoder.
    anchors, spacing_um
        Anchors and pixel size, kept while another image is shown.
    requested
        State of its maps when another image was turned to.
    clip
        Embeddings of its frames, made ahead; None if there are none.
    choice
        Choice of its region when another image was turned to; empty before.
    areas_shown
        Whether its areas were shown when another image was turned to.
    """

    region: Region | None = None
    embedded: dict[str, Embedded] = field(default_factory=dict)
    anchors: tuple[Anchor, ...] = ()
    requested: tuple[object, ...] | None = None
    spacing_um: float | None = None
    mask: PlacedMask | None = None
    clip: ClipEmbeddings | None = None
    choice: RegionChoice | Literal[""] = ""
    areas_shown: bool = False

    def covers(self, region: Region, mask: PlacedMask | None) -> bool:
        """Whether this is what was embedded."""
        ours, theirs = (None if item is None else item.sha256 for item in (self.mask, mask))
        return region == self.region and ours == theirs

    def forget(self) -> None:
        """Drop what was computed, because pixels or region changed."""
        self.region = self.mask = None
        self.embedded.clear()


class Sessions:
    """Sessions of all image layers, and which of them is shown."""

    def __init__(self) -> None:
        self._sessions: dict[Image, Session] = {}
        self.image: Image | None = None

    @property
    def here(self) -> tuple[Image, Session] | None:
        """The image that is shown and its session; None if there is no image."""
        if self.image is None:
            return None
        return self.image, self._sessions.setdefault(self.image, Session())

    def of(self, image: Image) -> Session:
        """Return the session of an image, empty if it was never shown."""
        return self._sessions.get(image) or Session()

    def begin(self, image: Image, anchors: tuple[Anchor, ...]) -> None:
        """Let an image that comes have anchors."""
        self._sessions[image] = Session(anchors=anchors)

    def elsewhere(self) -> dict[str, list[Embedding]]:
        """Embeddings, by encoder, of all images but the one that is shown."""
        found: dict[str, list[Embedding]] = {}
        for image, session in self._sessions.items():
            if image is not self.image:
                for name, item in session.embedded.items():
                    found.setdefault(name, []).append(item.embedding)
        return found

    def drop(self, image: Image) -> None:
        """Forget an image that is gone."""
        self._sessions.pop(image, None)
        if image is self.image:
            self.image = None

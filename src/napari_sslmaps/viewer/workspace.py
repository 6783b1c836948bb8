"""The one mutable state, one per viewer; every change is announced."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from psygnal import SignalGroupDescriptor

from napari_sslmaps.core.attention import Reduction
from napari_sslmaps.core.results import Combine, Rendering
from napari_sslmaps.core.tiling import TILED, Tiling
from napari_sslmaps.encoders.catalog import ALIASES
from napari_sslmaps.encoders.spec import EncoderSpec

if TYPE_CHECKING:
    from napari.layers import Image

MapKind = Literal["attention", "pca", "similarity"]
RegionChoice = Literal["whole", "view", "rectangle"]
Display = Literal["fixed", "shared", "each"]
Task = Literal["maps", "pretext"]
PretextTool = Literal["", "paint", "move"]
Fit = Literal["crop", "resize", "whole"]
Distortion = Literal["trained", "cutout", "outer-cutout", "shuffle", "none"]
TASKS: tuple[Task, ...] = ("maps", "pretext")
MAP_KINDS: tuple[MapKind, ...] = ("similarity", "attention", "pca")


@dataclass(frozen=True, slots=True)
class Anchor:
    """A pixel of level 0, (row, column), that tokens are compared with."""

    pixel_yx: tuple[float, float]
    negative: bool = False


@dataclass(frozen=True, slots=True)
class AttentionOptions:
    """One head, or all of them reduced."""

    head: int | None = None
    reduction: Reduction = "mean"


@dataclass(frozen=True, slots=True)
class SimilarityOptions:
    """How similarity is computed and shown.

    Parameters
    ----------
    centred
        Subtract the region's mean token first.
    combine
        Of several anchors: their mean direction, or the maximum of their maps.
    display
        Contrast ``fixed`` at the range of the cosine, stretched and ``shared`` by all encoders, or
        stretched for ``each`` by itself.
    """

    centred: bool = True
    combine: Combine = "mean"
    display: Display = "shared"


@dataclass(frozen=True, slots=True)
class PretextOptions:
    """How a pretext view is made; see `pretext_view`.

    Parameters
    ----------
    encoder
        Its name; empty while none is chosen.
    fit
        How the region becomes what the encoder was trained on.
    ratio
        Share of patches hidden at random; None as the method trains.
    seed
        Of what is drawn.
    distortion
        DiRA's.
    """

    encoder: str = ""
    fit: Fit = "crop"
    ratio: float | None = None
    seed: int = 0
    distortion: Distortion = "trained"


@dataclass(frozen=True, slots=True)
class MapRequest:
    """What is to be shown of every embedding; a snapshot that threads may read."""

    maps: tuple[MapKind, ...]
    attention: AttentionOptions
    pca_rendering: Rendering
    similarity: SimilarityOptions
    anchors: tuple[Anchor, ...]

    @property
    def positive_yx(self) -> list[tuple[float, float]]:
        """Pixels of the anchors to be like."""
        return [anchor.pixel_yx for anchor in self.anchors if not anchor.negative]

    @property
    def negative_yx(self) -> list[tuple[float, float]]:
        """Pixels of the anchors to be unlike."""
        return [anchor.pixel_yx for anchor in self.anchors if anchor.negative]


@dataclass(frozen=True, slots=True)
class Status:
    """A sentence for the status line, and whether it reports a failure."""

    text: str = ""
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Parameters
    ----------
    label
        What is being done.
    fraction
        In [0, 1].
    seconds_left
        Estimate, or None while there is none.
    """

    label: str
    fraction: float
    seconds_left: float | None = None


@dataclass(eq=False)
class WorkspaceModel:
    """What the person chose, and how the computation is doing.

    Each field has a signal of its name in `events`.

    Parameters
    ----------
    image
        The image layer that is looked at.
    region, level
        Which part of it, at which resolution level.
    target_um
        Micrometres per pixel that choose the level, the nearest finer one; None to go by `level`.
    spacing_um
        Micrometres per pixel, typed by hand for an image that does not tell; None if not known.
    tiling
        How the region is cut.
    keep
        Whether what is computed is kept on disk, for the next time.
    available, chosen
        Encoders in the list, and the names of those that are ticked.
    maps, attention, pca_rendering, similarity
        Which maps, and how.
    anchors
        Positive and negative, in the order they were set.
    anchor_mode, negative_mode
        Whether a click sets an anchor, and of which kind.
    shown, front, side_by_side
        The map in view; of which encoder when stacked; or of all of them in grid cells.
    task
        Whether maps or a pretext view are on the canvas.
    pretext, pretext_tool
        How the pretext view is made, and what a person holds to change it.
    panels, panel, notes
        Names of the pictures of the pretext view, the one in view, and what is to be known of them.
    heads
        Number of attention heads among the embeddings; 0 while unknown.
    touched
        Whether a person has chosen anything; before, no network is loaded to say how long a run will take.
    plan
        What a run will do, in a line.
    status, progress
        The last message; None while nothing runs.
    """

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    touched: bool = False
    image: "Image | None" = None
    region: RegionChoice = "whole"
    level: int = 0
    target_um: float | None = None
    spacing_um: float | None = None
    tiling: Tiling = TILED
    keep: bool = True
    available: tuple[EncoderSpec, ...] = ()
    chosen: tuple[str, ...] = ()
    maps: tuple[MapKind, ...] = MAP_KINDS
    attention: AttentionOptions = AttentionOptions()
    pca_rendering: Rendering = "stretch"
    similarity: SimilarityOptions = SimilarityOptions()
    anchors: tuple[Anchor, ...] = ()
    anchor_mode: bool = False
    negative_mode: bool = False
    shown: MapKind = "similarity"
    front: str = ""
    side_by_side: bool = False
    task: Task = "maps"
    pretext: PretextOptions = PretextOptions()
    pretext_tool: PretextTool = ""
    panels: tuple[str, ...] = ()
    panel: str = ""
    notes: tuple[str, ...] = ()
    heads: int = 0
    plan: Status = Status()
    status: Status = Status()
    progress: Progress | None = None

    @property
    def specs(self) -> tuple[EncoderSpec, ...]:
        """The ticked encoders, in the order of the list; an alias ticks what it stands for."""
        listed = {spec.name for spec in self.available}
        wanted = {name if name in listed else ALIASES.get(name, name) for name in self.chosen}
        return tuple(spec for spec in self.available if spec.name in wanted)

    @property
    def request(self) -> MapRequest:
        """A snapshot of what is to be shown."""
        return MapRequest(self.maps, self.attention, self.pca_rendering, self.similarity, self.anchors)

    def say(self, text: str, *, failed: bool = False) -> None:
        """Put a sentence into the status line."""
        self.status = Status(text, failed)

    def add_anchor(self, anchor: Anchor, *, keep: bool) -> None:
        """Add an anchor; unless `keep`, it replaces the others of its kind."""
        kept = tuple(other for other in self.anchors if keep or other.negative != anchor.negative)
        self.anchors = (*kept, anchor)

    def move_anchor(self, index: int, pixel_yx: tuple[float, float]) -> None:
        """Move the anchor of that index."""
        moved = Anchor(pixel_yx, self.anchors[index].negative)
        self.anchors = (*self.anchors[:index], moved, *self.anchors[index + 1 :])

    def remove_last_anchor(self) -> None:
        """Remove the anchor that was set last."""
        self.anchors = self.anchors[:-1]

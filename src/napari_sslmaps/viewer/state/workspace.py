"""The one mutable state, one per viewer; every change is announced."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal, TypedDict

from psygnal import SignalGroupDescriptor

from napari_sslmaps.core.results import Embedding
from napari_sslmaps.core.scale import TokenScale
from napari_sslmaps.core.segments import SegmentOptions
from napari_sslmaps.core.tiling import TILED, Tiling
from napari_sslmaps.encoders.catalog import ALIASES
from napari_sslmaps.encoders.controls import Control, controls_of
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.maps.attention import AttentionOptions
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.maps.make import NO_ANCHORS, MapRequest
from napari_sslmaps.maps.pca import ComponentBasis, PcaOptions
from napari_sslmaps.maps.registry import MapOptions, standard
from napari_sslmaps.maps.similarity import COSINES, SimilarityOptions
from napari_sslmaps.pretext.options import PretextOptions

if TYPE_CHECKING:
    from napari.layers import Image

RegionChoice = Literal["whole", "view", "rectangle", "mask"]
Task = Literal["maps", "pretext", "compare", "readers", "search"]
PretextTool = Literal["", "paint", "move"]
TASKS: tuple[Task, ...] = ("maps", "pretext", "compare", "readers", "search")
GROUP_COLOURS = ("#ff1a1a", "#ffb000", "#12c48b", "#00b4ff", "#b366ff", "#ff6fd8", "#c8e000", "#ffffff")
"""Colours of the first groups of anchors, apart for most kinds of colour vision; later ones begin again."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A pixel of level 0, (row, column), that tokens are compared with; `group` is the key of a `Group`."""

    pixel_yx: tuple[float, float]
    negative: bool = False
    group: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """Anchors that stand for one thing.

    Parameters
    ----------
    key
        Number that tells it from the others, whatever its name.
    name, colour
        Name as it is shown; ``#rrggbb``.
    """

    key: int = 0
    name: str = "group 1"
    colour: str = GROUP_COLOURS[0]


@dataclass(frozen=True, slots=True)
class Status:
    """A sentence for the status line, and whether it reports a failure."""

    text: str = ""
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Caption:
    """Line under the map in view: how it was made, and what has to be known of it besides."""

    text: str = ""
    caution: str = ""


@dataclass(frozen=True, slots=True)
class RunProgress:
    """Progress of a run.

    Parameters
    ----------
    label
        Words for what is being done.
    fraction
        Share of the work that is done, in [0, 1].
    seconds_left
        Estimate, or None while there is none.
    """

    label: str
    fraction: float
    seconds_left: float | None = None


class Choices(TypedDict, total=False):
    """Fields of the workspace that a user sets by one control each, with the types that they have there."""

    image: "Image | None"
    region: RegionChoice
    level: int
    target_um: float | None
    spacing_um: float | None
    tiling: Tiling
    resolution: str
    detail: int
    token_block: int | None
    token_norm: bool
    follow_zoom: bool
    keep: bool
    chosen: tuple[str, ...]
    controls: tuple[Control, ...]
    maps: tuple[str, ...]
    options: MapOptions
    anchors: tuple[Anchor, ...]
    group: int
    track: bool
    reference: "Image | None"
    anchor_mode: bool
    negative_mode: bool
    shown: str
    front: str
    against: str
    side_by_side: bool
    difference: bool
    task: Task
    pretext: PretextOptions
    pretext_tool: PretextTool
    panel: str
    panels_side_by_side: bool
    live: bool
    area_options: SegmentOptions
    areas_shown: bool


@dataclass(eq=False)
class WorkspaceModel:
    """Choices of the user, and the state of the computation.

    Each field has a signal of its name in `events`.

    Parameters
    ----------
    image
        The image layer that is shown.
    region, level
        Chosen part of it, and its resolution level.
    target_um
        Micrometres per pixel that choose the level, the nearest finer one; None to go by `level`.
    spacing_um
        Micrometres per pixel, typed by hand for an image that does not tell; None if not known.
    tiling
        Tiles that the region is cut into.
    resolution
        Resolution that the image is read at: ``trained``, ``native``, or a text that `Resolution.of` takes.
    detail
        Tokens along each axis of a patch, where it divides by so many; 1 for one token per patch.
    token_block, token_norm
        Block or stage, from 0, whose features the tokens are, None for each encoder's own; and whether they
        pass the final norm, where there is one.
    follow_zoom, scale_text
        Whether the scale of comparison follows the zoom; and that scale in words.
    keep
        Whether what is computed is kept on disk, for the next time.
    available, chosen
        Encoders in the list, and the names of those that are ticked.
    controls
        Controls of the ticked encoders that are embedded too, to be compared with them.
    maps, options
        Keys of the maps that are wanted, and how they are made.
    bases
        Principal components that were kept, one of an encoder at most.
    anchors
        Positive and negative, in the order they were set.
    groups, group
        Groups that anchors stand for, and the key of the active one: a click adds to it, and similarity is to
        its anchors.
    track
        Whether anchors go along with what is under them when the frame changes.
    reference
        Image whose anchors are looked for in this one; None for this one's own.
    anchor_mode, negative_mode
        Whether a click sets an anchor, and of which kind.
    dragging
        Whether an anchor is being moved at this moment.
    shown, front, side_by_side
        The map in view; of which encoder when stacked; or of all of them in grid cells.
    against, difference
        The encoder that the one in front is compared with; and whether their difference is in view.
    task
        The page that is open; what is on the canvas follows.
    pretext, pretext_tool
        Options of the pretext view, and the tool that a user holds to change it.
    showing
        Whether a pretext view is being computed.
    panels, panel, notes
        Names of the pictures of the pretext view, the one in view, and what is to be known of them.
    panels_side_by_side
        Whether all those pictures are in view, in grid cells.
    in_view
        The map that is on the canvas: the one that is `shown`, or the first there is.
    live
        Whether similarity follows the pointer without a click.
    area_options, area_range, areas_shown, areas_text
        Options of areas of similarity, the lowest and highest value that its map can have, whether areas are
        in view, and a text on what was found.
    heads, blocks
        Number of attention heads and of blocks among the embeddings; 0 while unknown.
    touched
        Whether a user has chosen anything; before, no network is loaded to say how long a run will take.
    loading
        Whether libraries are being loaded, which the first run needs.
    plan
        Line on what a run will do.
    caption
        Line on how the map in view was made, for the method in front.
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
    resolution: str = "trained"
    detail: int = 1
    token_block: int | None = None
    token_norm: bool = True
    follow_zoom: bool = False
    scale_text: str = ""
    keep: bool = True
    available: tuple[EncoderSpec, ...] = ()
    chosen: tuple[str, ...] = ()
    controls: tuple[Control, ...] = ()
    maps: tuple[str, ...] = field(default_factory=standard)
    options: MapOptions = field(default_factory=MapOptions)
    bases: tuple[ComponentBasis, ...] = ()
    anchors: tuple[Anchor, ...] = ()
    groups: tuple[Group, ...] = (Group(),)
    group: int = 0
    track: bool = False
    reference: "Image | None" = None
    anchor_mode: bool = False
    dragging: bool = False
    negative_mode: bool = False
    shown: str = "similarity"
    front: str = ""
    against: str = ""
    side_by_side: bool = False
    difference: bool = False
    task: Task = "maps"
    pretext: PretextOptions = field(default_factory=PretextOptions)
    pretext_tool: PretextTool = ""
    showing: bool = False
    panels: tuple[str, ...] = ()
    panel: str = ""
    panels_side_by_side: bool = False
    notes: tuple[str, ...] = ()
    in_view: str = ""
    live: bool = False
    area_options: SegmentOptions = field(default_factory=SegmentOptions)
    area_range: tuple[float, float] = COSINES
    areas_shown: bool = False
    areas_text: str = ""
    heads: int = 0
    blocks: int = 0
    loading: bool = False
    plan: Status = Status()
    caption: Caption = Caption()
    status: Status = Status()
    progress: RunProgress | None = None

    @property
    def specs(self) -> tuple[EncoderSpec, ...]:
        """The ticked encoders, in the order of the list; an alias ticks what it stands for."""
        listed = {spec.name for spec in self.available}
        wanted = {name if name in listed else ALIASES.get(name, name) for name in self.chosen}
        return tuple(spec for spec in self.available if spec.name in wanted)

    @property
    def requested(self) -> tuple[EncoderSpec | Control, ...]:
        """All that is compared: each ticked encoder, and then its ticked controls; each name once."""
        methods: dict[str, EncoderSpec | Control] = {}
        for spec in self.specs:
            methods.setdefault(spec.name, spec)
            for control in controls_of(spec):
                if control in self.controls:
                    methods.setdefault(control.name, control)
        return tuple(methods.values())

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of all that is compared, in order."""
        return tuple(method.name for method in self.requested)

    @property
    def attention(self) -> AttentionOptions:
        """Options of attention."""
        return self.options.attention

    @attention.setter
    def attention(self, options: AttentionOptions) -> None:
        self.options = replace(self.options, attention=options)

    @property
    def pca(self) -> PcaOptions:
        """Options of principal components."""
        return self.options.pca

    @pca.setter
    def pca(self, options: PcaOptions) -> None:
        self.options = replace(self.options, pca=options)

    @property
    def similarity(self) -> SimilarityOptions:
        """Options of similarity and groups."""
        return self.options.similarity

    @similarity.setter
    def similarity(self, options: SimilarityOptions) -> None:
        self.options = replace(self.options, similarity=options)

    @property
    def scale(self) -> TokenScale:
        """Neighbourhood that tokens are averaged over."""
        return self.options.scale

    @scale.setter
    def scale(self, scale: TokenScale) -> None:
        self.options = replace(self.options, scale=scale)

    @property
    def request(self) -> MapRequest:
        """A snapshot of what is to be shown."""
        return self.request_for(self.anchors)

    def request_for(
        self, anchors: Sequence[Anchor], reference: Mapping[str, Embedding] | None = None
    ) -> MapRequest:
        """Return what is to be shown with these anchors, which may lie in another image.

        Parameters
        ----------
        anchors
            Anchors of all groups.
        reference
            Embeddings by encoder, of the image that they lie in; None if it is this one.
        """
        groups = self._groups_of(anchors)
        by_key = {group.key: found for group, found in zip(self.groups, groups, strict=True)}
        apart = len(groups) > 1 and any(group.anchors for group in groups)
        kept = self.pca.basis == "kept"
        return MapRequest(
            self.maps,
            self.options,
            by_key.get(self.group, NO_ANCHORS),  # of a group that is being removed
            groups if apart else (),
            {basis.encoder: basis for basis in self.bases} if kept else {},
            reference,
        )

    @property
    def anchor_groups(self) -> tuple[AnchorGroup, ...]:
        """All groups with their anchors."""
        return self._groups_of(self.anchors)

    def _groups_of(self, anchors: Sequence[Anchor]) -> tuple[AnchorGroup, ...]:
        return tuple(_anchor_group(group, anchors) for group in self.groups)

    @property
    def appearance(self) -> tuple[object, ...]:
        """Options that decide what maps look like, but for anchors: others ask for other maps."""
        return self.maps, self.options, self.bases, self.groups, self.group

    def say(self, text: str, *, failed: bool = False) -> None:
        """Put a sentence into the status line."""
        self.status = Status(text, failed)

    def add_anchor(self, anchor: Anchor, *, keep: bool) -> None:
        """Add an anchor; unless `keep`, it replaces the only other of its kind and group; a set stays."""
        kind = (anchor.group, anchor.negative)
        keep = keep or sum((other.group, other.negative) == kind for other in self.anchors) > 1
        kept = tuple(other for other in self.anchors if keep or (other.group, other.negative) != kind)
        self.anchors = (*kept, anchor)

    def move_anchor(self, index: int, pixel_yx: tuple[float, float]) -> None:
        """Move the anchor of that index."""
        moved = replace(self.anchors[index], pixel_yx=pixel_yx)
        self.anchors = (*self.anchors[:index], moved, *self.anchors[index + 1 :])

    def remove_anchor(self, index: int = -1) -> None:
        """Remove the anchor of that index; the one that was set last, if omitted."""
        if self.anchors:
            index %= len(self.anchors)
            self.anchors = (*self.anchors[:index], *self.anchors[index + 1 :])


def _anchor_group(group: Group, anchors: Sequence[Anchor]) -> AnchorGroup:
    own = [anchor for anchor in anchors if anchor.group == group.key]
    positive = tuple(anchor.pixel_yx for anchor in own if not anchor.negative)
    negative = tuple(anchor.pixel_yx for anchor in own if anchor.negative)
    return AnchorGroup(group.name, group.colour, positive, negative)


def add_group(workspace: WorkspaceModel) -> None:
    """Add a group of anchors, with the next colour, and make it the active one."""
    key = 1 + max(group.key for group in workspace.groups)
    names = {group.name for group in workspace.groups}
    name = next(name for n in range(1, len(names) + 2) if (name := f"group {n}") not in names)
    workspace.groups = (*workspace.groups, Group(key, name, GROUP_COLOURS[key % len(GROUP_COLOURS)]))
    workspace.group = key


def change_group(workspace: WorkspaceModel, changed: Group) -> None:
    """Give the group of that key another name or colour; a name that is none, or taken, is refused."""
    taken = {group.name for group in workspace.groups if group.key != changed.key}
    if not changed.name.strip() or changed.name in taken:
        name = changed.name.strip()
        workspace.say(f"Another group is called {name} already." if name else "A group needs a name.")
        return
    workspace.groups = tuple(changed if group.key == changed.key else group for group in workspace.groups)


def remove_group(workspace: WorkspaceModel, key: int) -> None:
    """Remove a group with its anchors, unless it is the only one."""
    left = tuple(group for group in workspace.groups if group.key != key)
    if not left:
        return
    workspace.groups = left
    if workspace.group == key:
        workspace.group = left[-1].key
    workspace.anchors = tuple(anchor for anchor in workspace.anchors if anchor.group != key)

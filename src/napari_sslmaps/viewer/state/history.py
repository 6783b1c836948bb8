"""Undo and redo of what a user set on the image: anchors, their groups, the region, and its painted mask."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

from napari.components import ViewerModel
from napari.layers import Image

from napari_sslmaps.viewer.state.connections import Connections
from napari_sslmaps.viewer.state.workspace import Anchor, Group, RegionChoice, WorkspaceModel

UNDO_KEY, REDO_KEY = "Control-Z", "Control-Shift-Z"
DEPTH = 200
"""Number of steps that are kept."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State that one step of the history puts back.

    Parameters
    ----------
    anchors, groups, group, region
        Values of the workspace's fields of these names.
    mask
        Pixels that are painted in the region's mask, as `Masks.content` returns them; None without one.
    """

    anchors: tuple[Anchor, ...]
    groups: tuple[Group, ...]
    group: int
    region: RegionChoice
    mask: bytes | None = None

    @property
    def whole(self) -> bool:
        """Whether all groups are there; not so halfway through the removal of one."""
        keys = {group.key for group in self.groups}
        return self.group in keys and keys.issuperset(anchor.group for anchor in self.anchors)


class Masks(Protocol):
    """The painted mask of an image."""

    @property
    def painted(self) -> Any:
        """Signal that a stroke has ended."""
        ...

    def content(self, image: Image | None) -> bytes | None:
        """Return what is painted; None without a mask."""
        ...

    def put_back(self, image: Image | None, content: bytes) -> None:
        """Paint what `content` returned."""
        ...


class History:
    """Remembers what a user set, and puts it back.

    A drag is one step, and so is the removal of a group with its anchors; to choose the active group is none.

    Parameters
    ----------
    viewer
        Viewer whose keys are bound; a layer in which one paints has the same keys for its own strokes, and
        takes them first.
    workspace
        Workspace whose anchors, groups and region are remembered.
    masks
        Masks that are painted in the region.
    """

    def __init__(self, viewer: ViewerModel, workspace: WorkspaceModel, masks: Masks) -> None:
        self._viewer = viewer
        self._masks = masks
        self._workspace = workspace
        self._held = self._dragged = False
        self._done: list[Snapshot] = []
        self._undone: list[Snapshot] = []
        self._now = self._snapshot()
        self._connections = Connections()
        for name in ("anchors", "groups", "group", "region"):
            self._connections.add(getattr(workspace.events, name), self._on_changed)
        self._connections.add(masks.painted, self._on_changed)
        viewer.bind_key(UNDO_KEY, lambda _: self.undo(), overwrite=True)
        viewer.bind_key(REDO_KEY, lambda _: self.redo(), overwrite=True)

    def close(self) -> None:
        """Undo every connection and give the keys back."""
        self._connections.undo()
        for key in (UNDO_KEY, REDO_KEY):
            self._viewer.bind_key(key, None)

    def restart(self) -> None:
        """Begin anew: another image is shown."""
        self._done, self._undone = [], []
        self._now = self._snapshot()

    def undo(self) -> None:
        """Put back what was before the last step."""
        self._turn(self._done, self._undone, "undo")

    def redo(self) -> None:
        """Do again what was undone last."""
        self._turn(self._undone, self._done, "redo")

    def replace_anchors(self, anchors: tuple[Anchor, ...]) -> None:
        """Set anchors that no user moved: no step of its own."""
        self._held = True
        try:
            self._workspace.anchors = anchors
        finally:
            self._held = False
        self._now = self._snapshot()

    def _turn(self, source: list[Snapshot], target: list[Snapshot], word: str) -> None:
        if not source:
            self._workspace.say(f"Nothing to {word}.")
            return
        target.append(self._now)
        self._now = source.pop()
        self._put_back(self._now)

    def _put_back(self, wanted: Snapshot) -> None:
        workspace = self._workspace
        self._held = True
        try:
            workspace.region = wanted.region
            workspace.groups = wanted.groups
            workspace.group = wanted.group
            workspace.anchors = wanted.anchors
            if wanted.mask is not None and wanted.mask != self._masks.content(workspace.image):
                self._masks.put_back(workspace.image, wanted.mask)
        finally:
            self._held = False

    def _on_changed(self) -> None:
        if self._held:
            return
        before, now = self._now, self._snapshot()
        dragged = self._workspace.dragging and self._dragged
        self._dragged = self._workspace.dragging
        self._now = now
        active_alone = replace(before, group=now.group) == now
        if active_alone or dragged or not before.whole:
            return
        self._done = [*self._done, before][-DEPTH:]
        self._undone = []

    def _snapshot(self) -> Snapshot:
        workspace = self._workspace
        content = self._masks.content(workspace.image) if workspace.region == "mask" else None
        return Snapshot(workspace.anchors, workspace.groups, workspace.group, workspace.region, content)

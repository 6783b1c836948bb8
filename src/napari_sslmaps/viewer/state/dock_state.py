"""State that a dock leaves behind when it is closed, for the next one in the same viewer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from napari.components import ViewerModel
from napari.layers import Image

from napari_sslmaps.records.session import SessionSearch
from napari_sslmaps.viewer.state.session import Sessions
from napari_sslmaps.viewer.state.workspace import WorkspaceModel

FIELDS = (
    "region",
    "level",
    "target_um",
    "spacing_um",
    "tiling",
    "keep",
    "chosen",
    "controls",
    "token_block",
    "token_norm",
    "maps",
    "options",
    "bases",
    "groups",
    "group",
    "anchors",
    "shown",
    "front",
    "against",
    "area_range",
    "area_options",
    "areas_shown",
    "anchor_mode",
    "side_by_side",
)
"""Fields of the workspace that are taken over, in the order in which they are set."""


@dataclass(frozen=True, eq=False)
class DockState:
    """State that the next dock takes over.

    Parameters
    ----------
    sessions
        Sessions with what was computed of each image.
    layer_manager
        Layers that hold the present maps, also those that nobody has seen.
    values
        `FIELDS` of the workspace; none where there was no dock before.
    image
        Image that was shown.
    search
        Archive of the page Search; None where none was open.
    """

    sessions: Sessions
    layer_manager: Any
    values: Mapping[str, Any]
    image: Image | None = None
    search: SessionSearch | None = None


_LEFT: WeakKeyDictionary[ViewerModel, DockState] = WeakKeyDictionary()


def leave(
    viewer: ViewerModel,
    workspace: WorkspaceModel,
    sessions: Sessions,
    layer_manager: Any,
    search: SessionSearch | None,
) -> None:
    """Leave what was done for the next dock of a viewer, as long as the viewer lives."""
    values = {name: getattr(workspace, name) for name in FIELDS}
    _LEFT[viewer] = DockState(sessions, layer_manager, values, sessions.image, search)


def take(viewer: ViewerModel) -> DockState | None:
    """Take what an earlier dock of a viewer left; None if there was none."""
    return _LEFT.pop(viewer, None)

"""Rings around anchors: the neighbourhood that tokens are averaged over there; drawn without layers.

A layer of shapes took half a second of the GUI thread at the first anchor, a fifth at each later one, and a
line of the layer list.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from napari.components import ViewerModel
from numpy.typing import NDArray

from napari_sslmaps.viewer.canvas.anchor_layers import colour_of
from napari_sslmaps.viewer.canvas.image_layer import lead_index, pixel_to_world
from napari_sslmaps.viewer.state.workspace import WorkspaceModel

REACH = 2.0
"""Radius of a ring in standard deviations: 86 % of a Gaussian's weight lies inside."""
_CORNERS = 64
_ANGLES = np.arange(_CORNERS) * (2 * np.pi / _CORNERS)
_CIRCLE = np.column_stack([np.sin(_ANGLES), np.cos(_ANGLES)])
"""Corners of a circle of radius 1, (64, 2) as (y, x)."""


@dataclass(frozen=True, eq=False)
class Ring:
    """A closed line around an anchor.

    Parameters
    ----------
    corners_xy
        (64, 2) positions in the world.
    colour
        Colour as ``#rrggbb``.
    words
        The scale as people read it, beside the first ring; empty beside the others.
    """

    corners_xy: NDArray[np.float64]
    colour: str
    words: str = ""


class ScaleRings:
    """Gives a ring around each anchor, while tokens are averaged.

    Parameters
    ----------
    viewer
        Viewer in whose world the rings lie.
    workspace
        Workspace whose anchors have rings.
    sigma_px
        Function that returns the standard deviation in pixels of the image; 0 for single patches.
    words
        Function that returns the scale as people read it.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: WorkspaceModel,
        sigma_px: Callable[[], float],
        words: Callable[[], str],
    ) -> None:
        self._viewer = viewer
        self._workspace = workspace
        self._sigma_px = sigma_px
        self._words = words

    def rings(self) -> list[Ring]:
        """Return the rings of now; none without a scale, anchors or an image."""
        workspace = self._workspace
        image = workspace.image
        elsewhere = workspace.reference is not None or workspace.task == "pretext"
        if image is None or elsewhere or not workspace.anchors:
            return []
        radius = REACH * self._sigma_px()
        if not radius:
            return []
        lead = lead_index(self._viewer, image)
        origin, down, right = (
            pixel_to_world(self._viewer, image, [*lead, *pixel_yx])[-2:]
            for pixel_yx in ((0, 0), (radius, 0), (0, radius))
        )
        around = _CIRCLE @ np.array([down - origin, right - origin])
        found = []
        for place, anchor in enumerate(workspace.anchors):
            centre = pixel_to_world(self._viewer, image, [*lead, *anchor.pixel_yx])[-2:]
            words = "" if place else self._words()
            found.append(Ring((around + centre)[:, ::-1], colour_of(anchor, workspace), words))
        return found

"""Rings around anchors: the neighbourhood that tokens are averaged over there."""

from collections.abc import Callable

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Shapes

from napari_sslmaps.viewer.canvas.anchor_layers import placed_on
from napari_sslmaps.viewer.canvas.image_layer import OWN, frame_of, lead_of_frame
from napari_sslmaps.viewer.canvas.map_layers import keeping_selection
from napari_sslmaps.viewer.state.workspace import WorkspaceModel

REACH = 2.0
"""Radius of a ring in standard deviations: 86 % of a Gaussian's weight lies inside."""
WIDTH = 1.5
"""Width of a ring's line in canvas pixels."""
ROLE = "scale"


class ScaleRings:
    """Keeps a Shapes layer with a ring around each anchor, while tokens are averaged and nothing is dragged.

    Parameters
    ----------
    viewer
        Where the layer is.
    workspace
        Whose anchors have rings.
    sigma_px
        Gives the standard deviation in pixels of the image; 0 for single patches.
    words
        Gives the scale as people read it, which stands beside the first ring.
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
        self._layer: Shapes | None = None
        self._image: Image | None = None

    @property
    def layer(self) -> Shapes | None:
        """The layer, if there is one."""
        return self._layer

    def update(self) -> None:
        """Draw the rings of now; without a scale, anchors or an image there is no layer."""
        image, radius = self._workspace.image, REACH * self._sigma_px()
        if self._layer not in self._viewer.layers:
            self._layer = None
        if image is not self._image:
            self.remove()
            self._image = image
        own = self._workspace.reference is None and self._workspace.task == "maps"
        anchors = self._workspace.anchors if own else ()
        if image is None or not anchors or not radius:
            self.remove()
            return
        if self._workspace.dragging:
            if self._layer is not None:
                self._layer.visible = False
            return
        colours = {group.key: group.colour for group in self._workspace.groups}
        lead = lead_of_frame(image, frame_of(self._viewer, image))
        corners = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)], float) * radius
        shapes = [
            np.column_stack([np.tile(lead, (4, 1)), corners + anchor.pixel_yx])
            if len(lead)
            else corners + anchor.pixel_yx
            for anchor in anchors
        ]
        self.remove()
        self._layer = Shapes(
            shapes,
            shape_type="ellipse",
            name="scale",
            edge_color=[colours.get(anchor.group, "#808080") for anchor in anchors],
            face_color="transparent",
            edge_width=self._width(image),
            features={"words": [self._words(), *[""] * (len(anchors) - 1)]},
            text={"string": "{words}", "color": "white", "size": 9, "anchor": "lower_left"},
            opacity=0.9,
            blending="translucent_no_depth",
            metadata={OWN: {"role": ROLE, "image": str(image.unique_id)}},
            **placed_on(image),
        )
        with keeping_selection(self._viewer):
            self._viewer.layers.append(self._layer)
        self._layer.editable = False

    def follow_zoom(self) -> None:
        """Keep the width of the lines on the canvas when the zoom changes."""
        if self._layer is not None and self._image is not None:
            self._layer.edge_width = [self._width(self._image)] * len(self._layer.data)

    def remove(self) -> None:
        """Remove the layer."""
        layer, self._layer = self._layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _width(self, image: Image) -> float:
        return float(WIDTH / self._viewer.scene.camera.zoom / abs(image.scale[-1]))

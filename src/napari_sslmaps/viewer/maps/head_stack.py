"""All heads of one method's attention as a layer with a slider."""

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from napari.utils.transforms import Affine

from napari_sslmaps.core.results import Embedding, Float32
from napari_sslmaps.maps.attention import ATTENTION
from napari_sslmaps.maps.contrast import robust_limits
from napari_sslmaps.viewer.canvas.image_layer import OWN
from napari_sslmaps.viewer.canvas.map_layers import (
    LayerManager,
    keeping_selection,
    placement,
    set_visible,
)
from napari_sslmaps.viewer.state.session import Session
from napari_sslmaps.viewer.state.workspace import WorkspaceModel

HEADS = "heads"
"""Role of the layer."""


class HeadStack:
    """Adds the heads of the method in front as one layer; napari's slider goes through them.

    Parameters
    ----------
    viewer
        Viewer that gets the layer.
    workspace
        Workspace that says which method, and whose attention.
    layer_manager
        Layers that hold the maps, which go out of view.
    """

    def __init__(self, viewer: ViewerModel, workspace: WorkspaceModel, layer_manager: LayerManager) -> None:
        self._viewer = viewer
        self._layer_manager = layer_manager
        self._workspace = workspace

    def show(self, image: Image, session: Session) -> None:
        """Add the layer, or draw into the one there is; only the attention that is shown has heads."""
        workspace, name = self._workspace, self._workspace.front
        item = session.embedded.get(name)
        heads = None
        if item is not None:
            kept = workspace.attention.is_kept
            heads = item.embedding.attention if kept or item.stack is None else item.stack.heads
        if item is None or heads is None:
            workspace.say(
                f"There is no attention of {name or 'the method in front'}: run a transformer, and put it in "
                "front.",
            )
            return
        self._drop(image, name)
        layer = _layer(image, heads, item.embedding, name)
        with keeping_selection(self._viewer):
            self._viewer.layers.insert(self._layer_manager.place_of(layer), layer)
        for drawn in self._layer_manager.maps_of(image):
            set_visible(drawn, visible=False)
        self._viewer.dims.set_current_step(0, 0)
        workspace.say(f"{len(heads)} heads of {name}: slide below the canvas. Remove the layer to go back.")

    def _drop(self, image: Image, name: str) -> None:
        for layer in list(self._viewer.layers):
            mark = layer.metadata.get(OWN, {})
            same = mark.get("role") == HEADS and mark["encoder"] == name
            if same and mark["image"] == str(image.unique_id):
                self._viewer.layers.remove(layer)


def _layer(image: Image, heads: Float32, embedding: Embedding, name: str) -> Image:
    """Lay (heads, rows, cols) on the image, with one more axis in front."""
    region = embedding.provenance.region
    place = placement(image, embedding.grid, 0 if region is None else region.frame)
    own = Affine(
        scale=place["scale"], translate=place["translate"], rotate=place["rotate"], shear=place["shear"]
    )
    whole = np.asarray(place["affine"].affine_matrix) @ np.asarray(own.affine_matrix)
    lifted = np.eye(len(whole) + 1)
    lifted[1:, 1:] = whole
    lead = (None,) * (image.ndim - 2)
    return Image(
        heads[(slice(None), *lead)],
        name=f"{image.name} / attention heads / {name}",
        affine=lifted,
        units=("pixel", *place["units"]),
        axis_labels=("head", *(f"-{axis}" for axis in range(image.ndim, 0, -1))),
        colormap=ATTENTION.colormap,
        contrast_limits=robust_limits([heads]),
        interpolation2d="linear",
        opacity=0.65,
        blending="translucent_no_depth",
        metadata={OWN: {"role": HEADS, "encoder": name, "image": str(image.unique_id)}},
    )

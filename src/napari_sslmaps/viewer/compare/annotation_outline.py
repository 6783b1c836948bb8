"""Outline of an annotation that is not seen otherwise: a mask in a file, or one opened as an image."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
from napari.layers import Image, Labels

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.viewer.canvas.map_layers import ANNOTATION, LayerManager, LayerSpec
from napari_sslmaps.viewer.compare.model import ComparisonModel
from napari_sslmaps.viewer.state.connections import Connections
from napari_sslmaps.viewer.state.workspace import GROUP_COLOURS, WorkspaceModel

_MOST = 16_000_000
"""Pixels of an outline; of a larger mask every second, third, … is drawn."""
_WIDTH = 2


class AnnotationOutline:
    """Shows on the page Compare where the classes of the chosen mask lie.

    Parameters
    ----------
    workspace, model
        Workspace with the page that is open, and model with the annotation that is chosen.
    layer_manager
        Layers to draw in.
    """

    def __init__(
        self, workspace: WorkspaceModel, model: ComparisonModel, layer_manager: LayerManager
    ) -> None:
        self._workspace = workspace
        self._model = model
        self._layer_manager = layer_manager
        self._connections = Connections()
        self._connections.add(workspace.events.task, self._arrange)

    def show(self, image: Image, annotation: Annotation | None) -> None:
        """Draw the annotation of an image, or nothing where it is a layer that the user sees anyway."""
        chosen = self._model.annotation
        drawn = None
        if annotation is not None and isinstance(chosen, Path | Image):
            drawn = self._layer_manager.show(image, _drawing(annotation, chosen.name))
            if isinstance(drawn, Labels):
                drawn.contour = _WIDTH
        others = self._layer_manager.layers_of(image, ANNOTATION)
        self._layer_manager.drop(layer for layer in others if layer is not drawn)
        self._arrange()

    def close(self) -> None:
        """Undo the connection."""
        self._connections.undo()

    def _arrange(self) -> None:
        image, seen = self._workspace.image, self._workspace.task == "compare"
        for layer in () if image is None else self._layer_manager.layers_of(image, ANNOTATION):
            self._layer_manager.bring(layer, visible=seen)


def _drawing(annotation: Annotation, name: str) -> LayerSpec:
    labels, (height, width) = annotation.labels, annotation.shape_yx
    step = max(1, int(np.ceil((labels.size / _MOST) ** 0.5)))
    shown = labels[::step, ::step].astype(np.int64)
    count = len(GROUP_COLOURS)
    values = np.where(shown > 0, (shown - 1) % count + 1, 0).astype(np.int32)
    stride = (step * height / labels.shape[0], step * width / labels.shape[1])
    extent = (values.shape[0] * stride[0], values.shape[1] * stride[1])
    grid = TokenGrid(values.shape[0], values.shape[1], stride, (0.0, 0.0), extent)
    record = {"grid": asdict(grid)}
    return LayerSpec(
        ANNOTATION,
        ANNOTATION,
        name,
        values,
        grid,
        None,
        record,
        role=ANNOTATION,
        opacity=1.0,
        palette=GROUP_COLOURS,
    )

"""Outline of an annotation that is not seen otherwise: a mask in a file, or one opened as an image."""

from dataclasses import asdict
from pathlib import Path
from typing import TypeGuard

import numpy as np
from napari.layers import Image, Labels, Shapes

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
    """Shows where the classes of the chosen mask lie: on the page Compare, and on Maps after a comparison.

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
        for signal in (workspace.events.task, model.events.findings):
            self._connections.add(signal, self._arrange)

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

    def layer(self, image: Image) -> Labels | Shapes | None:
        """Return the layer that tells where the classes lie, unless a user has hidden it: ours, or theirs."""
        chosen, drawn = self._model.annotation, self._layer_manager.layers_of(image, ANNOTATION)
        return next((layer for layer in (*drawn, chosen) if _is_seen(layer)), None)

    def close(self) -> None:
        """Undo the connections."""
        self._connections.undo()

    def _arrange(self) -> None:
        image, task = self._workspace.image, self._workspace.task
        seen = task == "compare" or (task == "maps" and bool(self._model.findings))
        for layer in () if image is None else self._layer_manager.layers_of(image, ANNOTATION):
            self._layer_manager.bring(layer, visible=seen)


def _is_seen(layer: object) -> TypeGuard[Labels | Shapes]:
    """Whether a layer is one of labels or shapes in view, of a single plane."""
    if not isinstance(layer, Labels | Shapes) or not layer.visible:
        return False
    return isinstance(layer, Shapes) or not (
        layer.multiscale or np.prod(layer.data.shape[:-2], dtype=int) > 1
    )


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
